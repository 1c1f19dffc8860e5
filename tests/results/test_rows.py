"""What was measured lands in the row that it belongs to."""

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from invariance_probe.alignment import metrics
from invariance_probe.alignment.outcomes import Outcome
from invariance_probe.plane.transforms import Rotation, Scaling
from invariance_probe.results.methods import Method
from invariance_probe.results.rows import Block, Layout, wide_table
from tests.results.planted import block, layer

MOVES = [Rotation(90), Scaling(0.5), Rotation(-90)]
METHODS = [Method.FLOOR, Method.ORACLE]
"""In another order than in tables."""


def _table(blocks: list[Block]) -> pd.DataFrame:
    config = {"model": "m", "images": ["x", "y"], "methods": METHODS}
    fractions = [[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]]
    layers = [layer("1", 3), layer("0", 5)]
    wide = wide_table(blocks, [one.name for one in layers])
    layout = Layout(
        config=config,
        layers=layers,
        transforms=MOVES,
        region_frac=fractions,
        filled_frac=[0.0, 0.7, 0.8],
    )
    return layout.tidy(wide)


def _blocks() -> list[Block]:
    """One a layer, transform and method; each fvu spells where it belongs."""
    return [
        block(name, method, [place + 0.01, place + 0.02], t, outcome)
        for a, name in enumerate(["1", "0"])
        for t in range(3)
        for b, (method, outcome) in enumerate([
            (Method.ORACLE, None),
            (Method.FLOOR, Outcome.ONE_IMAGE),
        ])
        for place in [100 * a + 10 * t + b]
    ]


@settings(max_examples=20)
@given(st.permutations(range(12)))
def test_rows_stand_in_their_order_whatever_the_order_of_blocks(order: list[int]) -> None:
    """Layers as in the network, then transforms, images, methods and metrics."""
    blocks = _blocks()
    table = _table([blocks[i] for i in order])
    assert len(table) == 2 * 3 * 2 * 2 * len(metrics.METRICS)
    expected = [
        (name, t, image, method, metric, 100 * a + 10 * t + b + 0.01 * (1 + i))
        for a, name in enumerate(["1", "0"])
        for t in range(3)
        for i, image in enumerate("xy")
        for b, method in enumerate(["oracle", "floor"])
        for metric in metrics.METRICS
    ]
    keys = ["layer", "transform_number", "image", "method", "metric"]
    assert table[keys].astype(object).values.tolist() == [list(row[:-1]) for row in expected]
    fvu = (table["metric"] == "fvu").to_numpy()
    np.testing.assert_allclose(
        table["value"][fvu], [row[-1] for row in expected if row[4] == "fvu"]
    )


def test_each_row_carries_the_facts_of_its_layer_and_transform() -> None:
    """Shape and stride are the layer's, parameter and fractions the transform's."""
    table = _table(_blocks())
    row = table[(table["layer"] == "0") & (table["transform_number"] == 1)].iloc[0]
    said = row[["transform", "parameter", "region_frac", "filled_frac", "stride", "channels"]]
    assert said.tolist() == ["scaling", 0.5, 0.5, 0.7, 2.0, 5]
    assert row[["n_iter", "theta_00", "theta_01", "theta_11"]].tolist() == [7, 1, 0, 1]
    assert list(table["transform"].cat.categories) == ["rotation", "scaling"]


def test_outcomes_are_written_as_their_texts() -> None:
    """A table holds plain text, and an empty one where there is nothing to be said."""
    table = _table(_blocks())
    said = table.groupby("method", observed=True)["outcome"].unique()
    assert said["floor"].tolist() == ["one_image"]
    assert said["oracle"].tolist() == [""]
    assert all(type(text) is str for text in table["method"].cat.categories)
