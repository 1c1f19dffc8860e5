"""What every perturbation does with a batch."""

import pytest
import torch
from torch import Tensor

import invariance_probe as ip
from invariance_probe.perturbations.parsing import parse_perturbation
from tests.perturbations.drawn import ALL, seeded


def test_every_image_of_a_batch_has_its_own_pose(digits: Tensor) -> None:
    """A batch is perturbed as its images are one by one."""
    for text in ALL:
        perturbation = parse_perturbation(text)
        poses = perturbation.draw(len(digits), seeded(3))
        batch = perturbation.apply(digits, poses)
        for i in (0, 17, 39):
            alone = perturbation.apply(digits[i : i + 1], poses[i : i + 1])
            torch.testing.assert_close(batch[i : i + 1], alone, atol=1e-6, rtol=0)


def test_values_stay_in_range_and_images_as_they_were(digits: Tensor) -> None:
    """Bytes and floats give the same values in [0, 1], and neither is written to."""
    before = digits.clone()
    floats = digits.float() / 255
    copy = floats.clone()
    for text in ALL:
        perturbation = parse_perturbation(text)
        poses = perturbation.draw(len(digits), seeded(6))
        choices = perturbation.draw_clutter(torch.arange(40), 40, 28, seeded(7))
        layer = perturbation.clutter_layer(choices, digits) if perturbation.pieces else None
        from_bytes = perturbation.apply(digits, poses, clutter=layer)
        from_floats = perturbation.apply(floats, poses, clutter=layer)
        torch.testing.assert_close(from_bytes, from_floats)
        assert from_bytes.dtype == torch.float32
        assert 0 <= float(from_bytes.min()) <= float(from_bytes.max()) <= 1 + 1e-6
        assert torch.equal(digits, before)
        assert torch.equal(floats, copy)


def test_clutter_needs_other_images_and_a_black_background(digits: Tensor) -> None:
    """One image alone, and a white background, are refused with the way out."""
    perturbation = parse_perturbation("translation")
    with pytest.raises(ip.InvalidInputError, match=r"\(1\); give at least 2.*translation=clean"):
        perturbation.draw_clutter(torch.tensor([0]), 1, 28, seeded())
    layer = torch.zeros(1, 1, 60, 60)
    pose = torch.zeros(1, 2)
    for background, word in ((1.0, "is 1;"), (None, "is its border;")):
        with pytest.raises(ip.InvalidInputError, match=f"{word} use 'translation=clean'"):
            perturbation.apply(digits[:1], pose, clutter=layer, background=background)


def test_drawing_depends_on_its_generator_alone() -> None:
    """The same generator gives the same poses and clutter, and the global one is not touched."""
    perturbation = parse_perturbation("scaling")
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = (
        perturbation.draw(20, seeded(4)),
        perturbation.draw_clutter(torch.arange(20), 20, 28, seeded(4)),
    )
    torch.manual_seed(2)
    again = (
        perturbation.draw(20, seeded(4)),
        perturbation.draw_clutter(torch.arange(20), 20, 28, seeded(4)),
    )
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    torch.manual_seed(1)
    perturbation.draw(20, seeded(4))
    assert torch.equal(torch.get_rng_state(), state)
