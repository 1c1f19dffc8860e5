"""How do pretrained networks compare, layer by layer?"""

import math

import pandas as pd
import pytest

from analyses.questions import atlas


def test_the_question_is_answered_for_what_is_installed() -> None:
    """Each network has all its depths, methods and motions; floors lie below, chance above."""
    frame = atlas.measure(atlas.PRESETS["tiny"])
    assert set(frame["network"]) == {"efficientnet-lite0"}
    assert sorted(set(frame["depth"])) == pytest.approx([0, 8 / 15, 1])
    assert len(frame) == 3 * 3 * 2 * len(atlas.METHODS)
    said = atlas.summary(frame)
    wide = said.pivot_table(index=["layer", "transform"], columns="method", values="mean")
    assert (wide["floor"] < wide["affine"]).all()
    assert (wide["affine"] < wide["unrelated"]).all()
    assert len(atlas.plot(frame).axes) == 2


def test_networks_that_are_not_there_are_left_out() -> None:
    """Whether the library is missing, or the package that holds the weights."""
    missing = atlas.Network(model="efficientnet-lite9", blocks="_blocks")
    assert not missing.installed
    assert atlas.Network(model="efficientnet-lite0", blocks="_blocks").installed


def test_means_are_over_motions_then_over_images() -> None:
    """Two motions of three images; intervals of means over images, none for unrelated pairs."""
    rows = [
        {"network": "n", "layer": "l", "depth": 0.0, "image": str(image), "transform": "rotation"}
        | {"parameter": degrees, "method": method, "value": image + degrees / 100}
        for image in range(3)
        for degrees in (10.0, 30.0)
        for method in ("affine", "unrelated")
    ]
    said = atlas.summary(pd.DataFrame(rows)).set_index("method")
    assert said.loc["affine", "mean"] == pytest.approx(1.2)
    # Student's interval of 0.2, 1.2 and 2.2
    assert said.loc["affine", "high"] - 1.2 == pytest.approx(4.303 / math.sqrt(3), rel=1e-3)
    assert math.isnan(said.loc["unrelated", "low"])
