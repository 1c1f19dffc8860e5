"""Images are put on canvases pixel by pixel as the naive way puts them."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

import invariance_probe as ip
from invariance_probe.perturbations import kinds
from invariance_probe.perturbations.parsing import parse_perturbation
from tests.perturbations.drawn import seeded


@settings(max_examples=25)
@given(degrees=st.floats(-90, 90, width=32))
def test_rotation_is_bilinear_interpolation(degrees: float) -> None:
    """Every pixel of a turned image is read bilinearly at the place it came from, 0 outside."""
    image = torch.rand(1, 1, 7, 7, generator=seeded(1))
    values = image[0, 0].tolist()
    perturbation = kinds.RandomRotation()
    moved = perturbation.apply(image, torch.tensor([[degrees]]))
    back = torch.linalg.inv(ip.Rotation(degrees).matrix)
    for row in range(7):
        for column in range(7):
            x, y, _ = (back @ torch.tensor([column - 3.0, row - 3.0, 1.0]).double()).tolist()
            total = 0.0
            for i in range(7):
                for j in range(7):
                    weight = max(0, 1 - abs(x + 3 - j)) * max(0, 1 - abs(y + 3 - i))
                    total += weight * values[i][j]
            assert float(moved[0, 0, row, column]) == pytest.approx(total, abs=2e-5)


@given(x=st.integers(-16, 16), y=st.integers(-16, 16))
def test_translation_moves_pixels(x: int, y: int) -> None:
    """The image lies on the canvas as it was, its pose away from the middle, and all of it."""
    image = torch.rand(1, 1, 28, 28, generator=seeded(2))
    moved = parse_perturbation("translation").apply(image, torch.tensor([[float(x), float(y)]]))
    wanted = torch.zeros(1, 1, 60, 60)
    wanted[:, :, 16 + y : 44 + y, 16 + x : 44 + x] = image
    assert torch.equal(moved, wanted)


@pytest.mark.parametrize("target", [14, 18, 42, 112])
def test_scaling_is_an_antialiased_resize(digits: Tensor, target: int) -> None:
    """A scaled digit is what Pillow's bilinear resize makes of it, in the middle of the canvas."""
    images = torch.cat([torch.full_like(digits[:1], 255), digits])  # one is cut off at its edges
    pose = torch.full((len(images), 1), target / 28, dtype=torch.float64).log2()
    moved = parse_perturbation("scaling").apply(images, pose.float())
    side = min(112, 3 * target)  # what Pillow draws, or as much of it as the canvas holds
    ours, theirs = (112 - side) // 2, (3 * target - side) // 2
    for i in range(5):
        # Pillow drops what lies outside an image: black all round tells it what is there.
        framed = Image.fromarray(F.pad(images[i, 0], (28,) * 4).numpy())
        resized = np.array(framed.resize((3 * target,) * 2, Image.Resampling.BILINEAR))
        wanted = torch.from_numpy(resized)[theirs : theirs + side, theirs : theirs + side]
        middle = moved[i, 0, ours : ours + side, ours : ours + side] * 255
        assert float((middle - wanted).abs().max()) < 1.6  # bytes are rounded twice


@pytest.mark.parametrize("text", ["rotation", "translation", "scaling"])
def test_the_background_is_continued(text: str) -> None:
    """Around a white image lies white if the background is white, or is its border, black if 0."""
    white = torch.ones(6, 3, 16, 16)
    perturbation = parse_perturbation(text)
    poses = perturbation.draw(6, seeded(8), 16)
    for background in (1.0, None):
        moved = perturbation.apply(white, poses, background=background)
        torch.testing.assert_close(moved, torch.ones_like(moved))
    assert float(perturbation.apply(white, poses).min()) == 0
    left_black = white.clone()
    left_black[..., :8] = 0
    poses = torch.zeros_like(poses)
    edges = perturbation.apply(left_black, poses, background=None)
    assert float(edges[..., :2].max()) == 0
    assert float(edges[..., -2:].min()) == 1
