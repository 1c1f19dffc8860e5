"""Figures of maps that were put back show the summary's means and the answers that were kept."""

from pathlib import Path

import numpy as np
import pytest

from invariance_probe.errors import InvalidInputError
from invariance_probe.plane.transforms import Rotation, Scaling
from invariance_probe.results.figures import kinds, plot
from invariance_probe.results.methods import Method
from invariance_probe.results.recovery import OUTPUT_METRICS
from invariance_probe.results.recovery_figures import plot_predictions, plot_recovery
from invariance_probe.results.result import ProbeResult
from tests.results.planted import put_back


@pytest.fixture(scope="module")
def result() -> ProbeResult:
    """Four layers under two rotations and a scaling."""
    return put_back(layers=["0", "1", "2", "3"], moves=[Rotation(30), Rotation(80), Scaling(0.8)])


def test_lines_are_the_means_by_layer(result: ProbeResult) -> None:
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
    dense = put_back(OUTPUT_METRICS)
    assert kinds(dense) == ["recovery"]
    assert len(plot_recovery(dense).axes) == 2


def test_answers_stand_under_their_pictures(result: ProbeResult) -> None:
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


def test_what_is_kept_is_loaded_again(result: ProbeResult, tmp_path: Path) -> None:
    """A folder gives the same answers and figures, whatever numbers its layers are named by."""
    loaded = ProbeResult.load(result.save(tmp_path / "run"))
    texts = ["image", "layer", "method", "transform_number", "rank", "class"]
    assert loaded.predictions[texts].equals(result.predictions[texts])
    assert kinds(loaded) == kinds(result) == ["recovery", "predictions"]
    assert len(plot(loaded, "predictions").axes) == 24


def test_where_nothing_moves_there_is_nothing_to_draw() -> None:
    """The identity alone has no figure, and says so."""
    still = put_back(moves=[Rotation(0)])
    assert kinds(still) == []
    with pytest.raises(InvalidInputError, match="every transform of this run is the identity"):
        plot_recovery(still)
