"""Stacks and matrices show the parts and the channels' places."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.patches import Rectangle

from invariance_probe.plane.transforms import Rotation, Scaling
from invariance_probe.results.decomposition import PARTS
from invariance_probe.results.methods import Method
from invariance_probe.results.shares import PART_COLOURS, PART_LABELS, plot_channels, plot_parts
from tests.results.planted import EXPLAINED, permuted, planted


def test_a_stack_is_as_high_as_what_the_oracle_leaves() -> None:
    """Bars of each layer lie on each other from 0 to the oracle's mean, the certificate across."""
    figure = plot_parts(planted(EXPLAINED))
    (axes,) = figure.axes
    heights = [bar.get_height() for bar in axes.patches if isinstance(bar, Rectangle)]
    np.testing.assert_allclose(heights[:5], [0.1, 0.3, 0.3, 0.2, 0.1])
    np.testing.assert_allclose(heights[5:], np.array([0.1, 0.3, 0.3, 0.2, 0.1]) / 2)
    tops = [bar.get_y() + bar.get_height() for bar in axes.patches]
    assert [tops[4], tops[9]] == pytest.approx([1.0, 0.5])
    np.testing.assert_allclose([line.get_ydata()[0] for line in axes.lines], [0.2, 0.2, 0.1, 0.1])
    # the certificate lies beside its bar, not over the words in it
    assert all(abs(x - round(x)) > 0.4 for line in axes.lines for x in line.get_xdata())
    assert set(PART_COLOURS) == set(PART_LABELS) == set(PARTS)
    assert len(set(PART_COLOURS.values())) == len(PARTS)


def test_parts_without_a_value_are_said_to_have_none() -> None:
    """A layer of which nothing is known gets words instead of a bar."""
    figure = plot_parts(planted({method: [np.nan] * 3 for method in EXPLAINED}, layers=["a"]))
    assert [text.get_text() for text in figure.axes[0].texts] == ["no value"]


def test_the_quarter_turn_is_drawn_if_there_is_one() -> None:
    """Of several transforms 90 degrees tell most; else the strongest rotation, else the last."""

    def title(*moves: object) -> str:
        places = [permuted([1, 0, 2], transform_number=t) for t in range(len(moves))]
        result = planted(EXPLAINED, moves=moves, permutations=pd.concat(places, ignore_index=True))
        return plot_channels(result).get_suptitle()

    assert "rotation 90," in title(Rotation(45), Rotation(90), Rotation(180), Scaling(0.5))
    assert "rotation -60," in title(Rotation(45), Rotation(-60), Scaling(0.5))
    assert "scaling 0.7," in title(Scaling(0.5), Scaling(0.7))


def test_channels_are_sorted_by_cycle() -> None:
    """What moved is off the diagonal within the frame of its cycle, what stayed is on it."""
    source = [2, 1, 4, 3, 0]  # 0 <- 2 <- 4 <- 0, while 1 and 3 stay
    (axes, _) = plot_channels(planted(EXPLAINED, permutations=permuted(source))).axes
    assert "60 % moved" in axes.get_title()
    assert "gain +0.20" in axes.get_title()
    assert axes.get_xlabel() == "channel"
    stayed, moved = (points.get_offsets().data for points in axes.collections)
    np.testing.assert_array_equal(stayed, [[3, 3], [4, 4]])
    np.testing.assert_array_equal(moved, [[0, 1], [1, 2], [2, 0]])
    (frame,) = axes.patches
    assert (frame.get_width(), frame.get_x()) == (3, -0.5)


def test_each_warp_has_its_row() -> None:
    """Permutations after two warps are drawn below each other."""
    both = pd.concat([permuted([1, 0]), permuted([0, 1], warp="affine")], ignore_index=True)
    figure = plot_channels(planted(EXPLAINED, permutations=both))
    titles = [axes.get_title() for axes in figure.axes[:2]]
    assert [title.split("\n")[0] for title in titles] == ["shallow, oracle", "shallow, affine"]
    assert Method.AFFINE_PERMUTATION in EXPLAINED
