"""Sampling grids are drawn where they read."""

import numpy as np

from invariance_probe.results import grids


def reading(parts: int, side: int) -> np.ndarray:
    """Parts that read a picture of 20 pixels as it is."""
    places = np.linspace(0, 19, side)
    one = np.stack(np.meshgrid(places, places), axis=-1)
    return np.broadcast_to(one, (parts, side, side, 2))


def test_a_row_an_operation_and_a_column_a_view() -> None:
    """One grid has nine lines along each axis, boxes their outlines, and what is absent says so."""
    rows = [
        grids.Readings(title="one", positions=[reading(1, 17), None]),
        grids.Readings(title="boxes", positions=[reading(3, 17), reading(20, 17)]),
    ]
    pictures = [np.zeros((20, 20, 3)), np.ones((20, 20, 1))]
    figure = grids.plot(rows, pictures, ["as it is", "rotation 90"])
    axes = np.array(figure.axes).reshape(2, 2)
    assert [ax.get_title() for ax in axes[0]] == ["as it is", "rotation 90"]
    assert [ax.get_ylabel() for ax in axes[:, 0]] == ["one", "boxes"]
    # a light line below each dark one, and a dot for each part
    assert len(axes[0, 0].lines) == 2 * (9 + 9) + 1
    assert [text.get_text() for text in axes[0, 1].texts] == ["absent"]
    assert len(axes[1, 0].lines) == 3 * (2 * 4 + 1)
    assert len(axes[1, 1].lines) == 12 * (2 * 4 + 1)  # not all of twenty


def test_the_dot_is_at_the_first_position() -> None:
    """What is returned at the upper left is read there."""
    figure = grids.plot(
        [grids.Readings(title="one", positions=[reading(1, 5)[:, ::-1]])],
        [np.zeros((20, 20, 1))],
        ["as it is"],
    )
    (dot,) = [line for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert dot.get_xydata().tolist() == [[0.0, 19.0]]
