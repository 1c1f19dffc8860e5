"""Maps for the picture: which are kept, and that they come back from the file."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from invariance_probe.plane.transforms import Rotation, Scaling, described
from invariance_probe.results.strips import (
    load_strips,
    save_strips,
    shown_transforms,
    shrinking,
    stored,
)
from tests.results.planted import strip


def test_the_largest_of_the_milder_half_of_each_family_is_shown() -> None:
    """Of 0, 10, 20, 30 and 40 degrees it is 20: neither hardly visible nor beyond recognition."""
    turns = [Rotation(degrees) for degrees in (40, 0, 10, 30, 20)]
    assert shown_transforms(described(turns)) == [4]
    assert shown_transforms(described([Scaling(0.5), *turns, Scaling(0.9)])) == [6, 5]
    assert shown_transforms(described([Rotation(0)])) == []


def test_strips_come_back_as_they_were(tmp_path: Path) -> None:
    """Maps, regions and what they are of survive the file bit for bit, pixels to half a shade."""
    before = [strip("a.0", 0, seed=1), strip("b", 0, seed=1), strip("a.0", 3, seed=2)]
    before.append(replace(before[0], image=1, images=3 * before[0].images - 1))
    save_strips(tmp_path / "maps.npz", before)
    after = load_strips(tmp_path / "maps.npz")
    assert [(s.layer, s.transform, s.image) for s in after] == [
        ("a.0", 0, 0),
        ("b", 0, 0),
        ("a.0", 3, 0),
        ("a.0", 0, 1),
    ]
    for mine, theirs in zip(before, after, strict=True):
        assert mine.channels == theirs.channels
        for name in ("maps", "region"):
            np.testing.assert_array_equal(getattr(mine, name), getattr(theirs, name))
        shade = max(1.0, float(np.ptp(mine.images))) / 255
        np.testing.assert_allclose(mine.images, theirs.images, atol=0.51 * shade)


def test_large_maps_are_shrunk_to_a_picture() -> None:
    """A photograph's 224 cells become 112; what fits stays as it is, overflow stays a number."""
    assert [shrinking((n, 7)) for n in (7, 112, 113, 224, 225)] == [1, 1, 2, 2, 3]
    assert np.isfinite(stored(np.array([1e30, -1e30]))).all()


def test_a_run_without_the_file_has_no_strips(tmp_path: Path) -> None:
    """A missing file is no strips."""
    assert load_strips(tmp_path / "maps.npz") == []
