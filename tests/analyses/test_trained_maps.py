"""Maps of trained networks are probed on what they were tested with."""

import pytest
import torch
import torch.nn.functional as F

import invariance_probe as ip
from analyses import trained_maps
from invariance_probe.perturbations.parsing import parse_perturbation
from invariance_probe.training.batches import TEST, stored_clutter


@pytest.mark.parametrize("name", ["rotation=30", "rotation", "translation=clean", "scaling=clean"])
def test_motions_lie_in_the_range_and_show_nothing_invented(name: str) -> None:
    """No motion goes beyond the perturbation's range, and the canvas covers the crop under all."""
    perturbation = parse_perturbation(name)
    moves = perturbation.sweep(6)
    assert len({move.matrix.numpy().tobytes() for move in moves}) == 6
    canvas = trained_maps.on_canvas(torch.ones(1, 1, 28, 28), perturbation, background=1.0)
    crop = perturbation.canvas(28)
    assert (canvas.shape[-1] - crop) % 2 == 0
    extreme = {
        "rotation": ip.Rotation(45),  # of all turns the one that reaches farthest
        "translation": ip.Translation(16, -16),
        "scaling": ip.Scaling(0.5),
    }[perturbation.name]
    for move in [*moves, extreme]:
        if isinstance(move, ip.Rotation) and move is not extreme:
            assert abs(move.degrees) < perturbation.limit  # type: ignore[attr-defined]  # (a rotation)
        if isinstance(move, ip.Scaling):
            assert 0.5 <= move.factor < 4
        if isinstance(move, ip.Translation):
            assert max(abs(move.dx), abs(move.dy)) <= 16
        shown = move(canvas, crop=crop, fill=0.0)
        torch.testing.assert_close(shown, torch.ones_like(shown), atol=2e-3, rtol=0)


@pytest.mark.parametrize("name", ["translation", "scaling=-1:1", "rotation"])
def test_maps_are_probed_on_what_was_tested(name: str) -> None:
    """The middle of the canvas is the test image that nothing moves, with its clutter."""
    perturbation = parse_perturbation(name)
    images = torch.rand(5, 1, 28, 28)
    canvas = trained_maps.on_canvas(images, perturbation, background=0.0)
    crop = perturbation.canvas(28)
    edge = (canvas.shape[-1] - crop) // 2
    middle = canvas[..., edge : edge + crop, edge : edge + crop]
    margin = (crop - 28) // 2
    wanted = F.pad(images, (margin,) * 4)
    if perturbation.pieces:
        choices = stored_clutter(perturbation, 5, 28, TEST)
        assert choices is not None
        wanted = (wanted + perturbation.clutter_layer(choices, images)).clamp(max=1)
        assert float(wanted[..., :margin, :].max()) > 0
    torch.testing.assert_close(middle, wanted, atol=1e-5, rtol=0)
    assert float(canvas.sum() - middle.sum()) == pytest.approx(0, abs=1e-3)
