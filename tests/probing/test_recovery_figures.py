"""Figures of maps that were put back show the summary's means and the answers that were kept."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import nn

import invariance_probe as ip
from invariance_probe.results.figures import kinds, plot
from invariance_probe.results.methods import Method
from invariance_probe.results.recovery_figures import plot_predictions, plot_recovery


def _result(
    head: Sequence[nn.Module] = (nn.Flatten(), nn.Linear(3 * 81, 5)),
    moves: Sequence[ip.Transform] = (ip.Rotation(30), ip.Rotation(80), ip.Scaling(0.8)),
    **options: object,
) -> ip.ProbeResult:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 3, 3, padding=1) for _ in range(4)]
    images = torch.rand(4, 3, 9, 9, generator=torch.Generator().manual_seed(1))
    return ip.recover(
        nn.Sequential(*layers, *head),
        images,
        layers=["0", "1", "2", "3"],
        transforms=moves,
        classes=[f"kind {i}" for i in range(5)],
        **options,
    )


@pytest.fixture(scope="module")
def result() -> ip.ProbeResult:
    """Four layers of a small network under two rotations and a scaling."""
    return _result()


def test_lines_are_the_means_by_layer(result: ip.ProbeResult) -> None:
    """A row a metric, a column a family; every method's line, anchors without error bars."""
    figure = plot_recovery(result)
    panels = np.array(figure.axes).reshape(2, 2)
    means = result.summary().groupby(["transform", "method", "metric"], observed=True)["mean"]
    assert [axes.get_title() for axes in panels[0]] == ["rotation", "scaling"]
    for line, metric in zip(panels, ("agreement", "kl"), strict=True):
        for axes, family in zip(line, ("rotation", "scaling"), strict=True):
            drawn = {each.get_label(): each for each in axes.lines}
            for method in result.methods:
                np.testing.assert_allclose(
                    drawn[method.label].get_ydata(), means.get_group((family, method, metric))
                )
            anchors = {Method.INPUT, Method.FLOOR, Method.UNRELATED}
            assert len(axes.containers) == len(set(result.methods) - anchors)
    named = [text.get_text() for text in figure.legends[0].get_texts()]
    assert named == [method.label for method in result.methods]


def test_other_outputs_have_their_own_axes() -> None:
    """Of a dense network distance and cosine are drawn, and no answers."""
    dense = _result(head=(), moves=[ip.Rotation(30)], methods=["identity", "input", "oracle"])
    assert kinds(dense) == ["recovery"]
    assert len(plot_recovery(dense).axes) == 2


def test_answers_stand_under_their_pictures(result: ip.ProbeResult) -> None:
    """A row a family: three pictures and the maps of three layers, each above its classes."""
    figure = plot_predictions(result)
    assert len(figure.axes) == 2 * 2 * 6
    titles = [axes.get_title() for axes in figure.axes[:6]]
    assert titles[:3] == ["upright", "rotation 30", "image warped back"]
    assert [title.rpartition("\n")[2] for title in titles[3:]] == ["0", "2", "3"]
    said = result.predictions
    first = said[(said["transform_number"] == 0) & (said["method"] == "")]
    texts = [text.get_text() for text in figure.axes[6].texts]
    assert texts == [
        f"{row['name']} {100 * row['probability']:.0f} %" for _, row in first.iterrows()
    ]


def test_the_answers_are_those_of_the_table(result: ip.ProbeResult) -> None:
    """The image is one of the run; where its likeliest class is the upright one, they agree."""
    said = result.predictions
    (image,) = set(said["image"])
    best = said[said["rank"] == 1].set_index(["transform_number", "layer", "method"])["class"]
    table = result.frame()
    table = table[(table["image"] == image) & (table["metric"] == "agreement")]
    checked = 0
    for row in table.itertuples():
        key = (row.transform_number, row.layer, row.method)
        if key in best.index:
            upright = best[row.transform_number, "", ""]
            assert (best[key] == upright) == bool(row.value)
            checked += 1
    assert checked == 2 * 4 * 6  # one transform of each family, four layers, six methods


def test_what_is_kept_is_loaded_again(result: ip.ProbeResult, tmp_path: object) -> None:
    """A folder gives the same answers and figures."""
    loaded = ip.ProbeResult.load(result.save(f"{tmp_path}/run"))
    numbers = ["transform_number", "rank", "class"]
    assert loaded.predictions[numbers].equals(result.predictions[numbers])
    assert (loaded.predictions["method"] == result.predictions["method"]).all()
    assert kinds(loaded) == kinds(result) == ["recovery", "predictions"]
    assert len(plot(loaded, "predictions").axes) == 24


def test_where_nothing_moves_there_is_nothing_to_draw() -> None:
    """The identity alone has no figure, and says so."""
    still = _result(moves=[ip.Rotation(0)])
    assert kinds(still) == []
    with pytest.raises(ip.InvalidInputError, match="every transform of this run is the identity"):
        plot_recovery(still)
