"""Maps for the picture: which are kept, and that they come back from the file."""

from pathlib import Path

import numpy as np

from invariance_probe.plane.transforms import Rotation, Scaling
from invariance_probe.results.strips import load_strips, save_strips, shown_transforms
from tests.results.planted import strip


def test_the_largest_of_the_milder_half_of_each_family_is_shown() -> None:
    """Of 0, 10, 20, 30 and 40 degrees it is 20: neither hardly visible nor beyond recognition."""
    turns = [Rotation(degrees) for degrees in (40, 0, 10, 30, 20)]
    assert shown_transforms(turns) == [4]
    assert shown_transforms([Scaling(0.5), *turns, Scaling(0.9)]) == [6, 5]
    assert shown_transforms([Rotation(0)]) == []


def test_strips_come_back_as_they_were(tmp_path: Path) -> None:
    """Maps, regions, images and what they are of survive the file bit for bit."""
    before = [strip("a.0", 0, seed=1), strip("b", 0, seed=1), strip("a.0", 3, seed=2)]
    save_strips(tmp_path / "maps.npz", before)
    after = load_strips(tmp_path / "maps.npz")
    assert [(s.layer, s.transform, s.channels) for s in after] == [
        ("a.0", 0, [3, 1]),
        ("b", 0, [3, 1]),
        ("a.0", 3, [3, 1]),
    ]
    for mine, theirs in zip(before, after, strict=True):
        for name in ("maps", "region", "images"):
            np.testing.assert_array_equal(getattr(mine, name), getattr(theirs, name))


def test_a_run_without_the_file_has_no_strips(tmp_path: Path) -> None:
    """A missing file is no strips."""
    assert load_strips(tmp_path / "maps.npz") == []
