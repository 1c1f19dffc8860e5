"""How much one choice changes: the largest change over layers, and their order."""

import pandas as pd
import pytest

from analyses.questions import sensitivity

LAYERS = ("a", "b", "c")


def planted(affine: dict[str, tuple[float, ...]]) -> pd.DataFrame:
    """Residuals of three layers by choice, half of each removed by a permutation."""
    rows = [
        {"choice": choice, "transform": "rotation", "layer": layer, "part": part}
        | {"mean": value, "share": share}
        for choice, values in affine.items()
        for layer, value in zip(LAYERS, values, strict=True)
        for part, share in (("affine", None), ("permutation", value / 2), ("mixing", 0.1))
    ]
    return pd.DataFrame(rows)


def test_changes_are_the_largest_over_layers_and_orders_are_compared() -> None:
    """A choice that turns the order of the layers round has a rank correlation of -1."""
    frame = planted({
        sensitivity.USUAL: (0.1, 0.2, 0.3),
        "shifted": (0.15, 0.25, 0.35),
        "reversed": (0.3, 0.2, 0.1),
    })
    table = sensitivity.summary(frame).set_index("choice")
    assert table["order"].tolist() == pytest.approx([1, 1, -1])
    assert table["affine"].tolist() == pytest.approx([0, 0.05, 0.2])
    assert table["permutation"].tolist() == pytest.approx([0, 0.025, 0.1])
    assert table["mixing"].tolist() == pytest.approx([0, 0, 0])
    assert len(sensitivity.plot(frame).axes) == 2
