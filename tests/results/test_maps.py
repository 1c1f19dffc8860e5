"""The picture of the maps shows the maps."""

from dataclasses import replace

import numpy as np
from matplotlib import colormaps
from matplotlib.image import AxesImage

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
        assert len(axes.images) == 4  # a line for each layer and image
        for line, one in zip(axes.images, strips[4 * t : 4 * t + 4], strict=True):
            cells = _middles(line, 2 + 2 * 5, one.maps.shape[2:])  # four stages and the difference
            for block in range(2):
                stages, difference = in_units(one, block)
                expected = colormaps["viridis"](stages, bytes=True)
                np.testing.assert_array_equal(cells[2 + 5 * block : 6 + 5 * block], expected)
                last = cells[6 + 5 * block]
                blank = np.isnan(difference)
                assert (last[blank] == [127, 127, 127, 76]).all()
                shades = colormaps["RdBu_r"]((difference + 1) / 2, bytes=True)
                np.testing.assert_array_equal(last[~blank], shades[~blank])


def _middles(image: AxesImage, count: int, shape: tuple[int, ...]) -> np.ndarray:
    """Colours in the middle of every cell of all pictures of a line, (picture, row, column, 4)."""
    line = np.asarray(image.get_array())
    left, right, *_ = image.get_extent()
    pixels = line.shape[1] / (right - left)  # a unit of the axes
    side = line.shape[0]
    per_block = 5
    # pictures: two images, then blocks of maps, a gap before each
    starts = [n + (_GAP * (1 + (n - 2) // per_block) if n >= 2 else 0) for n in range(count)]
    rows = ((np.arange(shape[0]) + 0.5) * side / shape[0]).astype(int)
    columns = ((np.arange(shape[1]) + 0.5) * side / shape[1]).astype(int)
    return np.stack([line[rows[:, None], round(at * pixels) + columns] for at in starts])


_GAP = 0.25


def test_all_stages_of_a_channel_have_one_scale() -> None:
    """0 and 1 are percentiles 1 and 99 of the reference; the difference is in the same unit."""
    one = strip("shallow")
    stages, difference = in_units(one, 1)
    np.testing.assert_allclose(np.percentile(stages[0], [1, 99]), [0, 1], atol=1e-12)
    kept = one.maps[:, 1].astype(float)
    width = np.subtract(*np.percentile(kept[0], [99, 1]))
    np.testing.assert_allclose(difference[:, :4], (kept[3] - kept[0])[:, :4] / width)
    assert np.isnan(difference[:, 4:]).all()
