"""The picture of the maps shows the maps."""

import numpy as np

from invariance_probe.plane.transforms import Rotation, Scaling
from invariance_probe.results.maps import STAGES, plot_maps
from invariance_probe.results.methods import Method
from tests.results.planted import planted, strip

MOVES = [Rotation(30), Scaling(0.5)]


def test_every_kept_map_is_shown() -> None:
    """For each transform two images, and for each layer two channels in all stages."""
    strips = [strip(name, t, seed=t) for t in range(2) for name in ("shallow", "deep")]
    figure = plot_maps(planted({Method.ORACLE: [0.5]}, moves=MOVES, strips=strips))
    assert [part.get_suptitle() for part in figure.subfigs] == ["rotation 30", "scaling 0.5"]
    for part, t in zip(figure.subfigs, range(2), strict=True):
        pictures = [image for axes in part.axes for image in axes.images]
        assert len(pictures) == 2 + 2 * 2 * len(STAGES)
        np.testing.assert_array_equal(pictures[2].get_array(), strips[2 * t].maps[0, 0])


def test_the_difference_is_shown_where_maps_were_compared() -> None:
    """Best-warped minus reference inside the region, nothing outside it."""
    one = strip("shallow")
    figure = plot_maps(planted({Method.ORACLE: [0.5]}, layers=["shallow"], strips=[one]))
    pictures = [image for axes in figure.subfigs[0].axes for image in axes.images]
    shown = pictures[2 + STAGES.index("difference")].get_array()
    inside = np.asarray(shown)[:, :4]
    np.testing.assert_allclose(inside, (one.maps[3, 0] - one.maps[0, 0])[:, :4])
    assert np.ma.getmaskarray(shown)[:, 4:].all()
