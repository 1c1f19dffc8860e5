"""The first screen answers what the numbers answer."""

from dataclasses import replace

import pandas as pd

from invariance_probe.plane.transforms import Rotation, described
from invariance_probe.report import rules
from invariance_probe.report.short import short
from invariance_probe.results.methods import Method
from invariance_probe.results.store import InMemory
from invariance_probe.results.tables import ProbeTables
from tests.results.planted import planted, put_back

MOVES = [Rotation(-30), Rotation(30), Rotation(90)]
FAR = {Method.ORACLE: [0.8] * 4, Method.AFFINE: [0.6, 0.7, 0.8, 0.7], Method.FLOOR: [0.1] * 4}
NEAR = {**FAR, Method.AFFINE: [0.06, 0.07, 0.06, 0.07], Method.FLOOR: [0.06, 0.07, 0.06, 0.07]}


def test_where_no_warp_does_the_image_is_the_place() -> None:
    """One sentence; the nearest layer by name, with how many times the floor it leaves."""
    tables = planted(FAR, moves=MOVES)
    made = short(tables.summary(), tables, None, (), 4)
    assert made.sentence.startswith("The image is the safe place")
    assert (
        "Rotation: of 4 cases (2 layers, by ±30° and 90°) a warp of the map is shown to do in 0; "
        "the best affine warp found leaves too much in 4. Where cells lie close enough, nearest is"
    ) in made.points[0]
    assert "Nothing is proven" in made.points[-1]
    (grid,) = made.grids
    assert grid.columns[:3] == ("layer", "by ±30°", "by 90°")
    cell = grid.rows[0][1]
    assert (cell.answer, cell.tone) == ("no: none found", "no")
    left, times = cell.text.splitlines()
    assert left.startswith("left 0.70")
    assert times.startswith("7 [")  # 0.70 over 0.10


def test_what_is_proven_is_told_from_what_is_left() -> None:
    """A word says that it is proven, and the bound stands beside what the best warp leaves."""
    tables = planted({**FAR, Method.ANY_WARP: [0.55, 0.6, 0.7, 0.6]}, moves=MOVES)
    made = short(tables.summary(), tables, None, (), 4)
    assert "shown to do in 0; any warp leaves too much, by a proven bound, in 4." in made.points[0]
    cell = made.grids[0].rows[0][1]
    assert cell.answer == "no: bound"
    assert cell.text.splitlines()[0].startswith("left 0.70")
    assert cell.text.splitlines()[-1] == "any warp: 0.61 or more"


def test_a_perfect_layer_without_a_residual_is_no_divisor() -> None:
    """What is left beside nothing is over a hundred times it, not a ratio without end."""
    tables = planted({**FAR, Method.FLOOR: [0.0] * 4}, moves=MOVES)
    made = short(tables.summary(), tables, None, (), 4)
    assert made.grids[0].rows[0][1].text.splitlines()[1] == "over 100 × perfect"


def test_where_a_warp_does_the_layer_is_named() -> None:
    """A layer at the floor is a place for a transformer."""
    tables = planted(NEAR, moves=MOVES)
    made = short(tables.summary(), tables, None, (), 4)
    assert made.sentence.startswith("A transformer can sit on the map of shallow, deep")
    assert "shown to do in 4, by ±30° at shallow, deep; by 90° at shallow, deep." in made.points[0]


def test_a_mean_over_strengths_advises_nothing_that_fails_for_one() -> None:
    """A warp that does at one strength, and leaves far more at another, is no place for one."""
    tables = planted(NEAR, moves=MOVES)
    table = tables.frame()
    far = (table["transform_number"] == 2) & (table["method"] == Method.AFFINE)
    table.loc[far, "value"] *= 1.7
    mixed = replace(tables, rows=InMemory(table=table))
    made = short(mixed.summary(), mixed, None, (), 4)
    assert rules.rules_met(next(iter(_means(mixed).values())))[0] == "can live"
    assert "can sit on the map" not in made.sentence
    assert "shown to do in 2, by ±30° at shallow, deep;" in made.points[0]


def _means(tables: ProbeTables) -> dict[tuple[object, ...], rules.Residuals]:
    return rules.residuals(tables.summary(), ["transform", "layer"], tables)


def test_what_is_lost_is_said_where_it_was_measured() -> None:
    """Shares of answers with their intervals, by what was undone."""
    tables = planted(FAR, moves=[Rotation(90)])
    lost = put_back().summary()
    made = short(tables.summary(), tables, lost, described([Rotation(90)]), 4)
    (cost,) = [point for point in made.points if point.startswith("Cost")]
    assert "a rotation by 90°" in cost
    mean = lost.set_index(["layer", "method", "metric"])["mean"]
    share = 100 * mean["shallow", "oracle", "agreement"]
    assert f"if the map is, by the exact inverse, for {share:.0f} % [" in cost
    assert made.grids[0].columns[-1] == "same answer: image warped back"


def test_a_summary_alone_is_enough() -> None:
    """Without the table there are no strengths, and a column for the whole family."""
    made = short(pd.DataFrame(planted(FAR).summary()), None, None, (), 4)
    assert made.grids[0].columns[1] == "would a warp of the map do?"


def test_what_was_not_measured_or_decided_is_not_advised() -> None:
    """Without the best warp nothing is said; two images leave it undecided, without intervals."""
    asked = planted({Method.IDENTITY: [0.5, 0.7, 0.6]})
    made = short(asked.summary(), asked, None, (), 3)
    assert made.sentence.startswith("Not asked")
    assert "search" not in made.points[-1]
    few = planted({method: values[:2] for method, values in FAR.items()}, moves=MOVES)
    made = short(few.summary(), few, None, (), 2)
    assert made.sentence.startswith("Undecided")
    assert "no intervals" in made.points[-1]
