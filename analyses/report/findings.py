"""Findings 1 to 4 of the papers, judged on the trainings of a report.

All differences are between runs of one setup with the same seed. Diverged runs have no error; in
finding 2, which is about them, they count as `DIVERGED`.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import NamedTuple

import numpy as np
import pandas as pd

from analyses.report.paired import (
    CONFIRMED,
    NOT_CONFIRMED,
    Contrast,
    contrast,
    together,
    unpaired,
)
from invariance_probe.report.blocks import Item, Section
from invariance_probe.report.trainings import SETUP
from invariance_probe.stn.variants import parse_variant

DIVERGED = 1.0
"""Error of a run that diverged: nothing is right."""
STABLE = 0.1
"""Share by which the error of a shared localizer may rise from its shallowest to its deepest form
and still count as stable."""
TURNING = ("rotation", "scaling")
"""Perturbations of which a feature map cannot be relieved by a warp."""

_PAPERS = "auto"
"""The classifier that the papers use for the data."""
_STATEMENTS = {
    1: "Transforming the input beats transforming a feature map under rotation and scaling, and "
    "less so under translation.",
    2: "Deeper localization networks that share no parameters become hard to train; shared ones "
    "stay stable as they grow deeper, and win.",
    3: "Iterating helps, mostly the weak localization networks; it does not replace rich features.",
    4: "A network that may only transform a feature map compensates the pose less: a smaller slope "
    "of predicted against applied pose, and more spread left within the classes.",
}
_TONES = {CONFIRMED: "yes", NOT_CONFIRMED: "no"}


class Task(NamedTuple):
    """Trainings that differ in variant and seed alone.

    Attributes:
        words: Data and perturbation, and the classifier where it is another than the papers'.
        kind: Of the perturbation, without its range.
        numbers: By variant and seed, a column each number.
    """

    words: str
    kind: str
    numbers: pd.DataFrame

    def of(self, variant: str, name: str) -> pd.Series:
        """Look a number up.

        Args:
            variant: Which network.
            name: Which number.

        Returns:
            By seed.
        """
        found: pd.Series = self.numbers.loc[variant][name]
        return found

    @property
    def variants(self) -> list[str]:
        """Networks that were trained."""
        return list(dict.fromkeys(self.numbers.index.get_level_values("variant")))

    def plain(self, kind: str) -> dict[int, str]:
        """Look networks with one transformer and one step up.

        Args:
            kind: ``"c"``, ``"dl"`` or ``"sl"``.

        Returns:
            Names by depth, from 1.
        """
        out = {}
        for name in self.variants:
            places = parse_variant(name).placements
            if len(places) == 1 and places[0].steps == 1 and places[0].kind == kind:
                out[places[0].depth] = name
        return {depth: out[depth] for depth in sorted(out) if depth > 0}

    def at_input(self, depth: int) -> list[str]:
        """Networks that move the image, to set against one that moves the map at a depth."""
        return [name for name in ("c0", f"sl{depth}") if name in self.variants]


def gathered(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Put trainings of several sources under each other, each training once.

    Args:
        tables: A row a training, with ``data``, ``perturbation``, ``variant``, ``seed``, ``error``,
            ``outcome`` and what there is of the setup.

    Returns:
        All of them, with ``setup``: the same for runs that may be compared.
    """
    frames = []
    for table in tables:
        known = [name for name in (*SETUP, "steps", "preset") if name in table]
        labels = [repr(row) for row in table[known].itertuples(index=False, name=None)]
        frames.append(table.assign(setup=labels if known else ""))
    whole = pd.concat(frames, ignore_index=True)
    if "alignment" in whole:
        whole = whole[whole["alignment"].isna() | (whole["alignment"] == "predicted")]
    # an analysis's table repeats the runs it read; seconds tell two equal runs apart
    same = ["data", "perturbation", "variant", "seed", "error", "seconds"]
    return whole.drop_duplicates([name for name in same if name in whole], ignore_index=True)


def tasks(trained: pd.DataFrame) -> list[Task]:
    """Split trainings into what can be compared.

    Args:
        trained: What `gathered` returned.

    Returns:
        One for each data set, perturbation and setup.
    """
    out: list[Task] = []
    if trained.empty:
        return out
    for key, rows in trained.groupby(["data", "perturbation", "setup"], sort=False):
        data, perturbation, _ = key
        once = rows.drop_duplicates(["variant", "seed"], keep="last")
        numbers = once.set_index(["variant", "seed"]).sort_index()
        kind = str(perturbation).partition("=")[0]
        words = f"{data} under {perturbation}"
        network = once["network"].iloc[0] if "network" in once else _PAPERS
        if network != _PAPERS:
            words += f" ({network} network)"
        out.append(Task(words=words, kind=kind, numbers=numbers))
    return out


def section(trained: pd.DataFrame) -> Section:
    """Judge the findings.

    Args:
        trained: What `gathered` returned, or an empty frame.

    Returns:
        A part of the page with a verdict for each.
    """
    found = tasks(trained)
    judges: dict[int, Callable[[list[Task]], tuple[list[Contrast], list[str]]]] = {
        1: input_beats_map,
        2: depth_needs_sharing,
        3: iterating_helps,
        4: maps_compensate_less,
    }
    items = []
    for number, judge in judges.items():
        contrasts, missing = judge(found)
        verdict = together(contrasts, complete=not missing)
        items.append(
            Item(
                id=f"finding-{number}",
                title=f"Finding {number}",
                badge=verdict,
                tone=_TONES.get(verdict, "open"),
                text=(_STATEMENTS[number],),
                points=(*map(str, contrasts), *(f"Not in this report: {one}." for one in missing)),
            )
        )
    return Section(
        id="findings",
        title="The papers' findings",
        kind="judged on the trainings of this report",
        lead=(
            "Each line is a difference that the finding says is positive: its mean over seeds, "
            "paired, with a 95 % t interval. Confirmed: the interval lies above 0; not confirmed: "
            "at or below; undecided: it holds 0. A finding is confirmed if all its lines are and "
            "none is missing, and not confirmed if one of them is not.",
        ),
        items=tuple(items),
    )


def _pairs(task: Task) -> Iterator[tuple[str, str]]:
    """A network that moves a map, and one that moves the image."""
    for depth, moved in task.plain("c").items():
        for other in task.at_input(depth):
            yield moved, other


def _less(task: Task, one: str, other: str, name: str) -> list[float]:
    """One number less another, for the seeds that both have."""
    differences = (task.of(one, name) - task.of(other, name)).dropna()
    return [float(value) for value in differences]


def input_beats_map(found: Sequence[Task]) -> tuple[list[Contrast], list[str]]:
    """Judge finding 1: error of CX less that of C0 and SLX, and its share under translation.

    Args:
        found: All tasks.

    Returns:
        Contrasts, in per cent of the images; and what is missing.
    """
    contrasts, missing = [], []
    gains: dict[bool, list[float]] = {True: [], False: []}
    for task in found:
        turning = task.kind in TURNING
        if not turning and task.kind != "translation":
            continue
        for moved, other in _pairs(task):
            if turning:
                words = f"{task.words}, error of {moved} less that of {other}"
                points = [100 * value for value in _less(task, moved, other, "error")]
                contrasts.append(contrast(words, points, " points"))
        gains[turning] += _gains(task)
    for kind in TURNING:
        if not any(task.kind == kind and list(_pairs(task)) for task in found):
            missing.append(f"a map-moving network beside C0 or SLX under {kind}")
    if gains[True] and gains[False]:
        words = (
            "share of CX's error that moving the input saves, under rotation and scaling less "
            "under translation"
        )
        contrasts.append(unpaired(words, gains[True], gains[False]))
    else:
        missing.append("the same networks under translation")
    return contrasts, missing


def _gains(task: Task) -> list[float]:
    """By seed, the mean share of CX's error that moving the input saves."""
    shares = []
    for moved, other in _pairs(task):
        error = task.of(moved, "error").replace(0.0, math.nan)
        shares.append(1 - task.of(other, "error") / error)
    if not shares:
        return []
    mean = pd.concat(shares, axis=1).dropna().mean(axis=1)
    return [float(value) for value in mean]


def depth_needs_sharing(found: Sequence[Task]) -> tuple[list[Contrast], list[str]]:
    """Judge finding 2: DLX against SLX as X grows.

    Args:
        found: All tasks.

    Returns:
        Contrasts: at the deepest X; the growth of the difference per layer; and that SLX's error
        does not rise by more than `STABLE`, as what is left of that share. And what is missing.
    """
    contrasts, missing = [], []
    grown, single = False, []
    for task in found:
        apart, shared = task.plain("dl"), task.plain("sl")
        depths = sorted(set(apart) & set(shared))
        if not depths:
            continue
        errors = {
            (kind, depth): _with_diverged(task, names[depth])
            for (kind, names), depth in product((("dl", apart), ("sl", shared)), depths)
        }
        gaps = pd.concat(
            [100 * (errors["dl", depth] - errors["sl", depth]) for depth in depths], axis=1
        ).dropna()
        last = depths[-1]
        lost = {
            kind: sum(int((errors[kind, depth] == DIVERGED).sum()) for depth in depths)
            for kind in ("dl", "sl")
        }
        words = (
            f"{task.words}, error of dl{last} less that of sl{last} (diverged: {lost['dl']} of the "
            f"unshared, {lost['sl']} of the shared)"
        )
        contrasts.append(contrast(words, gaps.iloc[:, -1].tolist(), " points"))
        if len(depths) < 2:
            single.append(f"more than one depth of DLX and SLX, {task.words}")
            continue
        grown = True
        growth = [float(np.polyfit(depths, row, 1)[0]) for row in gaps.to_numpy(dtype=float)]
        words = f"{task.words}, growth of that difference from layer {depths[0]} to {last}"
        contrasts.append(contrast(words, growth, " points a layer"))
        rise = (errors["sl", last] / errors["sl", depths[0]].replace(0.0, math.nan) - 1).dropna()
        words = f"{task.words}, {STABLE:g} less the share by which the error of SLX rises with X"
        contrasts.append(contrast(words, [STABLE - float(value) for value in rise]))
    if not contrasts:
        missing.append("DLX and SLX at the same depths")
    # depths of one task are enough to say how the difference grows
    missing += [] if grown else single
    return contrasts, missing


def _with_diverged(task: Task, variant: str) -> pd.Series:
    """Errors by seed; of a run that diverged the worst there is."""
    error = task.of(variant, "error").astype(float)
    return error.mask(task.of(variant, "outcome") != "finished", DIVERGED)


def iterating_helps(found: Sequence[Task]) -> tuple[list[Contrast], list[str]]:
    """Judge finding 3: several steps against one, C0 against SLX.

    Args:
        found: All tasks.

    Returns:
        Contrasts: error of one step less that of several, for C0; the share that C0 gains less the
        share that SLX gains; and the error of the iterated C0 less that of SLX. And what is
        missing.
    """
    contrasts, missing = [], []
    for task in found:
        weak = _iterated(task, "c0")
        if not weak:
            continue
        rich = [name for name in task.plain("sl").values() if _iterated(task, name)]
        for many in weak:
            words = f"{task.words}, error of c0 less that of {many}"
            points = [100 * value for value in _less(task, "c0", many, "error")]
            contrasts.append(contrast(words, points, " points"))
        most = weak[-1]
        for name in rich:
            other = f"{name}{most[2:]}"
            if other not in task.variants:
                continue
            words = f"{task.words}, share of its error that c0 gains less that of {name}"
            gain = _share(task, "c0", most) - _share(task, name, other)
            contrasts.append(contrast(words, gain.tolist()))
        for name in task.plain("sl").values():
            words = f"{task.words}, error of {most} less that of {name}"
            points = [100 * value for value in _less(task, most, name, "error")]
            contrasts.append(contrast(words, points, " points"))
        if not rich:
            missing.append(f"an iterated SLX beside a single one, {task.words}")
    if not contrasts:
        missing.append("C0 with one step and with several")
    return contrasts, missing


def _iterated(task: Task, name: str) -> list[str]:
    """The same network with more steps, if it is there with one."""
    if name not in task.variants:
        return []
    many = [each for each in task.variants if each.startswith(f"{name}x") and "+" not in each]
    return sorted(many, key=lambda each: int(each.rpartition("x")[2]))


def _share(task: Task, one: str, many: str) -> pd.Series:
    """Share of its error that a network gains by iterating, by seed."""
    single = task.of(one, "error").replace(0.0, math.nan)
    return 1 - task.of(many, "error") / single


def maps_compensate_less(found: Sequence[Task]) -> tuple[list[Contrast], list[str]]:
    """Judge finding 4: slopes and spreads of CX against C0 and SLX, under rotation and scaling.

    Args:
        found: All tasks.

    Returns:
        Contrasts: slope of C0 or SLX less that of CX, spread of CX less that of C0 or SLX; and
        what is missing.
    """
    contrasts, missing = [], []
    for task in found:
        if task.kind not in TURNING:
            continue
        for moved, other in _pairs(task):
            for column in task.numbers.columns:
                start, _, pose = str(column).partition("_")
                if start not in {"slope", "spread"}:
                    continue
                more, less = (other, moved) if start == "slope" else (moved, other)
                differences = _less(task, more, less, str(column))
                if differences:
                    words = f"{task.words}, {start} ({pose}) of {more} less that of {less}"
                    contrasts.append(contrast(words, differences))
    if not contrasts:
        missing.append("poses of CX beside C0 or SLX under rotation or scaling")
    return contrasts, missing
