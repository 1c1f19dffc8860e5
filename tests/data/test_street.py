"""Synthetic house numbers."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

import invariance_probe as ip
from invariance_probe.data import datasets, openers, street
from invariance_probe.data.street import StreetDigits


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache folder of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def test_numbers_are_rendered_deterministically() -> None:
    """The same seed gives the same pictures, a smaller set is the beginning of a larger one."""
    images, labels = street.render(StreetDigits(count=12))
    again, again_labels = street.render(StreetDigits(count=5))
    assert images.shape == (12, 3, 64, 64)
    assert images.dtype == torch.uint8
    assert torch.equal(images[:5], again)
    assert torch.equal(labels[:5], again_labels)
    other, other_labels = street.render(StreetDigits(count=12, seed=1))
    assert not torch.equal(other_labels, labels)
    assert not torch.equal(other, images)
    _, test_labels = street.render(StreetDigits(count=12, split="test"))
    assert not torch.equal(test_labels, labels)


def test_labels_are_digits_then_none() -> None:
    """One to five digits from the left, the first not 0, then 10; lengths as often as asked."""
    labels = np.full((4000, 5), 10)
    for i in range(4000):
        digits = street._digits(np.random.default_rng(i))
        labels[i, : len(digits)] = digits
    lengths = (labels != 10).sum(1)
    assert np.allclose(np.bincount(lengths, minlength=6)[1:] / 4000, street.LENGTHS, atol=0.03)
    assert all((row[:n] <= 9).all() for row, n in zip(labels, lengths, strict=True))
    assert set(labels[:, 0]) == set(range(1, 10))
    assert set(labels[:, 1]) == set(range(11))
    _, rendered = street.render(StreetDigits(count=30))
    none = rendered == street.NO_DIGIT
    assert bool((none[:, 1:] >= none[:, :-1]).all())
    assert not bool(none[:, 0].any())


@pytest.mark.parametrize("font", street.FONTS)
def test_every_font_draws_ten_different_digits(font: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each font holds all digits: ten shapes, none empty, no two alike."""
    monkeypatch.setattr(street, "FONTS", (font,))
    shapes = set()
    for digit in range(10):
        drawn = street._lettering([digit], np.random.default_rng(0))
        assert min(drawn.size) > 8
        shapes.add((drawn.size, drawn.tobytes()))
    assert len(shapes) == 10


def test_digits_are_drawn_from_left_to_right(monkeypatch: pytest.MonkeyPatch) -> None:
    """The lettering of 17 is that of 1, and that of 7 to its right, neither over the other."""
    monkeypatch.setattr(street, "FONTS", ("DejaVuSans",))
    rng = np.random.default_rng
    for seed in range(8):
        one, seven, both = (
            np.asarray(street._lettering(digits, rng(seed))) for digits in ([1], [7], [1, 7])
        )
        assert both.shape[1] >= one.shape[1] + seven.shape[1]
        for alone, part in ((one, both[:, : one.shape[1]]), (seven, both[:, -seven.shape[1] :])):
            rows = part.any(1)
            assert np.abs(part[rows].astype(int) - alone).mean() < 12  # advances are fractions


def test_numbers_are_turned_within_the_tilt() -> None:
    """Without perspective a number lies in a rectangle, turned by at most the tilt either way."""
    config = StreetDigits(perspective=0, tilt=15)
    turns = []
    for i in range(100):
        corners = street._corners((60, 30), config, np.random.default_rng(i))
        top, right = corners[1] - corners[0], corners[2] - corners[1]
        assert abs(top @ right) < 1e-9
        turns.append(np.degrees(np.arctan2(top[1], top[0])))
    assert -15 <= min(turns) < -12
    assert 12 < max(turns) <= 15


def test_numbers_stand_out_and_lie_in_the_picture() -> None:
    """The whole number is in the picture, and its colour differs enough from the ground's."""
    config = StreetDigits()
    weights = np.array([0.299, 0.587, 0.114])
    for i in range(60):
        rng = np.random.default_rng(i)
        shape = street._lettering(street._digits(rng), rng)
        corners = street._corners(shape.size, config, rng)
        assert 0 < corners.min() < corners.max() < 64
        edges = np.roll(corners, -1, 0) - corners
        turns = (
            edges[:, 0] * np.roll(edges, -1, 0)[:, 1] - edges[:, 1] * np.roll(edges, -1, 0)[:, 0]
        )
        assert (turns > 0).all()  # clockwise and convex: neither mirrored nor folded
        mask = street._in_perspective(shape, corners)
        assert mask[..., 0].sum() > 30
        ground = np.broadcast_to(rng.uniform(0, 1, 3), (64, 64, 3)).astype(np.float32)
        colour = street._colour(ground, mask, config.contrast, rng)
        assert abs(float((colour - ground[0, 0]) @ weights)) >= config.contrast - 1e-3


def test_corners_go_where_they_are_told() -> None:
    """An upright rectangle is filled by the lettering and nothing else is."""
    shape = street.Image.new("L", (40, 20), 255)
    corners = np.array([[10.0, 20.0], [50.0, 20.0], [50.0, 44.0], [10.0, 44.0]])
    mask = street._in_perspective(shape, corners)[..., 0]
    assert mask[22:42, 12:48].min() > 0.99
    mask[19:45, 9:51] = 0
    assert mask.max() == 0


def test_no_texture_is_shared_by_splits() -> None:
    """The regions of the splits do not overlap and the ground is cut from inside them."""
    spans = sorted(street.REGIONS.values())
    assert all(a[1] <= b[0] for a, b in pairwise(spans))
    ramp = np.zeros((100, 300, 3), dtype=np.uint8)
    ramp[:] = np.linspace(0, 255, 300)[:, None]
    texture = (street.Image.fromarray(ramp),)
    for low, high in spans:
        for i in range(50):
            ground = street._ground(texture, (low, high), np.random.default_rng(i))
            assert low - 0.01 <= ground.min() <= ground.max() <= high + 0.01


def test_the_data_set_is_labelled_synthetic(monkeypatch: pytest.MonkeyPatch) -> None:
    """street-digits opens with its three splits, says that it is synthetic, and is cached."""
    monkeypatch.setattr(openers, "STREET_COUNTS", {"train": 9, "validation": 3, "test": 4})
    dataset = datasets.open_dataset("street-digits")
    assert [len(p) for p in (dataset.train, dataset.validation, dataset.test)] == [9, 3, 4]
    assert (dataset.classes, dataset.source.slots, dataset.channels, dataset.side) == (11, 5, 3, 64)
    assert dataset.source.synthetic
    assert any("synthetic" in note for note in dataset.parts.notes)
    assert dataset.source.background is None
    monkeypatch.setattr(street, "render", None)  # what is in the cache is not rendered again
    again = datasets.open_dataset("street-digits")
    assert torch.equal(again.test.images, dataset.test.images)


def test_any_number_of_numbers_is_rendered(monkeypatch: pytest.MonkeyPatch) -> None:
    """train=N renders N numbers to learn from, more than usual too, and tells how far it is."""
    monkeypatch.setattr(openers, "STREET_COUNTS", {"train": 9, "validation": 1, "test": 1})
    told = []
    few = datasets.open_dataset("street-digits", train=4)
    many = datasets.open_dataset("street-digits", train=110, progress=lambda *now: told.append(now))
    assert (len(few.train), len(many.train)) == (4, 110)
    assert torch.equal(many.train.images[:4], few.train.images)
    assert told == [("street digits for train", 100, 110)]


def test_what_cannot_be_rendered_is_refused() -> None:
    """Unknown splits and empty sets are named."""
    with pytest.raises(ip.InvalidInputError, match="no split 'extra'; choose from train, valid"):
        StreetDigits(split="extra")
    with pytest.raises(ip.InvalidInputError, match="count=0; give at least 1"):
        replace(StreetDigits(), count=0)
