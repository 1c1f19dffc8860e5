"""Figures of trainings say what they show."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from analyses import training_figures
from tests.analyses.trainings import planted_runs


@pytest.mark.parametrize(
    ("variant", "kind"),
    [("cnn", "cnn"), ("c0", "c0"), ("c0x2", "c0"), ("c2", "c"), ("dl1", "dl"), ("c1+sl2", "sl")],
)
def test_a_variant_has_the_colour_of_its_first_transformer(variant: str, kind: str) -> None:
    """C0 is a kind of its own, and of several transformers the one nearest the input counts."""
    assert training_figures.kind_of(variant) == kind


def test_seeds_means_and_intervals_are_drawn() -> None:
    """A point a seed, NaN left out; the mean's interval is Student's."""
    axes = Figure().subplots()
    values = [np.array([1.0, 2.0, 3.0]), np.array([5.0, np.nan, 7.0])]
    training_figures.draw_seeds(axes, [0, 1], values, kind="c0", joined=True, label="C0")
    (means,) = [line for line in axes.lines if line.get_label() == "C0"]
    assert means.get_ydata() == pytest.approx([2, 6])
    low, high = axes.collections[0].get_paths()[0].vertices[:, 1]
    half = 4.302653 / np.sqrt(3)  # the quantile for two degrees of freedom
    assert (low, high) == pytest.approx((2 - half, 2 + half), abs=1e-5)


def test_the_caption_tells_what_it_rests_on() -> None:
    """Data, preset, seeds, images and machine; a network only where it is not the papers'."""
    runs = planted_runs({"cnn": [0.2, 0.3], "c0": [0.1, 0.2]})
    said = "mnist, quick preset, 2 seeds, 20 000 images a run; CPU\n"
    assert training_figures.caption(runs).startswith(said)
    runs.loc[0, "images_seen"] = 500
    assert "500 to 20 000 images a run" in training_figures.caption(runs)
    assert "network mnist-deep" in training_figures.caption(runs.assign(network="mnist-deep"))
