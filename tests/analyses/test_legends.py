"""Legends: one for all panels."""

from matplotlib import pyplot as plt

from analyses.legends import shared_legend


def test_one_legend_stands_for_all_panels() -> None:
    """The figure bears the labels of one panel, and no panel a legend of its own."""
    figure, axes = plt.subplots(ncols=2, layout="constrained")
    for axis in axes:
        axis.plot([0, 1], label="residual")
        axis.plot([1, 0], label="floor")
    shared_legend(figure, axes[0], ncols=2)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["residual", "floor"]
    assert all(axis.get_legend() is None for axis in axes)
    plt.close(figure)
