"""The picture of the maps shows the maps."""

from dataclasses import replace

import numpy as np

from invariance_probe.plane.transforms import Rotation, Scaling
from invariance_probe.results.maps import in_units, plot_maps
from invariance_probe.results.methods import Method
from tests.results.planted import planted, strip

MOVES = [Rotation(30), Scaling(0.5)]


def test_layers_images_and_channels_are_shown() -> None:
    """For each transform a row a layer and image: two pictures, two channels in all stages."""
    named = [(name, t, i) for t in range(2) for name in ("shallow", "deep") for i in range(2)]
    strips = [replace(strip(name, t, seed=t + i), image=i) for name, t, i in named]
    figure = plot_maps(planted({Method.ORACLE: [0.5]}, moves=MOVES, strips=strips))
    panels = figure.axes[:2]
    assert [axes.get_title() for axes in panels] == ["rotation 30", "scaling 0.5"]
    for axes, t in zip(panels, range(2), strict=True):
        pictures = [np.asarray(image.get_array()) for image in axes.images]
        assert len(pictures) == 4 * (2 + 2 * 5)  # four stages and the difference
        np.testing.assert_array_equal(pictures[2], in_units(strips[4 * t], 0)[0][0])


def test_all_stages_of_a_channel_have_one_scale() -> None:
    """0 and 1 are percentiles 1 and 99 of the reference; the difference is in the same unit."""
    one = strip("shallow")
    stages, difference = in_units(one, 1)
    np.testing.assert_allclose(np.percentile(stages[0], [1, 99]), [0, 1], atol=1e-12)
    kept = one.maps[:, 1].astype(float)
    width = np.subtract(*np.percentile(kept[0], [99, 1]))
    np.testing.assert_allclose(difference[:, :4], (kept[3] - kept[0])[:, :4] / width)
    assert np.isnan(difference[:, 4:]).all()
