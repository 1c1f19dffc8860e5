"""Clutter is what cutting and pasting by hand gives."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from invariance_probe.perturbations import kinds
from invariance_probe.perturbations.parsing import parse_perturbation
from tests.perturbations.drawn import seeded


def _naive_clutter(perturbation: kinds.Perturbation, choices: Tensor, sources: Tensor) -> Tensor:
    side = perturbation.canvas(28)
    layer = torch.zeros(len(choices), 1, side, side)
    for sample, pieces in enumerate(choices.tolist()):
        for source, column, row, target, left, top in pieces:
            crop = sources[source : source + 1, :, row : row + 6, column : column + 6] / 255
            resized = F.interpolate(
                crop, (target, target), mode="bilinear", antialias=True, align_corners=False
            )
            layer[sample, :, top : top + target, left : left + target] += resized[0]
    return layer


@pytest.mark.parametrize("text", ["translation", "scaling"])
def test_clutter_is_crops_of_other_digits(digits: Tensor, text: str) -> None:
    """Clutter is six crops of other images, resized as chosen, wholly on the canvas, and added."""
    perturbation = parse_perturbation(text)
    samples = torch.arange(40)
    choices = perturbation.draw_clutter(samples, 40, 28, seeded(9))
    assert choices.shape == (40, 6, 6)
    assert not bool((choices[:, :, 0] == samples[:, None]).any())
    sides = {6} if text == "translation" else set(range(2, 19, 2))
    assert set(choices[:, :, 3].flatten().tolist()) == sides
    assert int((choices[:, :, 4:] + choices[:, :, 3:4]).max()) <= perturbation.canvas(28)
    assert int(choices[:, :, 1:3].max()) == 22  # the last place of a crop of 6 in 28
    layer = perturbation.clutter_layer(choices, digits)
    wanted = _naive_clutter(perturbation, choices, digits.float())
    torch.testing.assert_close(layer, wanted, atol=1e-5, rtol=0)
    poses = perturbation.draw(40, seeded(10))
    plain = perturbation.apply(digits, poses)
    cluttered = perturbation.apply(digits, poses, clutter=layer)
    torch.testing.assert_close(cluttered, (plain + layer).clamp(max=1))
    assert float(cluttered.mean()) > float(plain.mean())


def test_clutter_of_a_batch_comes_from_all_sources(digits: Tensor) -> None:
    """Crops for part of the images are cut from the whole set, never from the image itself."""
    samples = torch.tensor([39, 0, 7])
    choices = parse_perturbation("translation").draw_clutter(
        samples.repeat(300), 40, 28, seeded(11)
    )
    assert set(choices[:, :, 0].flatten().tolist()) == set(range(40))
    assert not bool((choices[:, :, 0] == samples.repeat(300)[:, None]).any())
