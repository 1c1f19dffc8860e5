"""Perfect layers leave the floor, and a judge that can say no."""

import pandas as pd
import pytest

from analyses.questions import floor


def test_perfect_layers_leave_the_floor_and_others_more() -> None:
    """At stride 2 all perfect cases hold; a random network, perfect nowhere, stands out."""
    frame = floor.measure(floor.PRESETS["tiny"])
    networks = {*floor.NETWORKS, floor.STRIDED}
    assert set(frame["network"]) == networks
    table = floor.summary(frame)
    perfect = table[table["perfect"]].set_index("network")
    assert (perfect["holds"] == 1).all()
    assert set(perfect.index) == networks - {"random"}
    assert table[~table["perfect"]]["holds"].isna().all()
    assert table.loc[table["network"] == "random", "stands out"].item() > 0.5
    assert floor.plot(frame).axes


@pytest.mark.parametrize(("oracle", "left"), [(1.3, False), (1.2, True), (0.6, True), (0.4, False)])
def test_the_judge_knows_both_ends(oracle: float, left: bool) -> None:
    """From 0.5 to 1.25 floors are a perfect layer's; a floor where nothing is left is none."""
    case = {"network": "pointwise", "stride": "1 x 1", "perfect": True, "size": 48}
    move = {"moves": "quarter turns", "transform": "rotation", "parameter": 90.0}
    frame = pd.DataFrame([{**case, **move, "image": name} for name in ("a", "b")])
    planted = floor.by_transform(frame.assign(floor=0.1, oracle=0.1 * oracle))
    assert (planted["holds"] == left).all()
    nothing = floor.by_transform(frame.assign(floor=0.0, oracle=1e-12))
    assert (nothing["holds"] == 1).all()
    assert (floor.by_transform(frame.assign(floor=0.1, oracle=0.0))["holds"] == 0).all()
