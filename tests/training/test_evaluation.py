"""Poses are read where they act: a map that covers less than the image is no source of error."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from invariance_probe.network.features import find_layers
from invariance_probe.perturbations.parsing import parse_perturbation
from invariance_probe.perturbations.perturbation import Perturbation
from invariance_probe.plane import motions
from invariance_probe.stn.networks import ARCHITECTURES, Classifier, Frame
from invariance_probe.stn.variants import Prediction, VariantNetwork, parse_variant
from invariance_probe.training import evaluation
from invariance_probe.training.batches import Batch
from tests.training import tiny


def network(variant: str, *, side: int, architecture: str = "mnist") -> VariantNetwork:
    """A narrow network whose localizers' weights do not matter."""
    torch.manual_seed(0)
    classifier = Classifier(
        ARCHITECTURES[architecture], channels=1, side=side, classes=3, width=0.1
    )
    return VariantNetwork(classifier, parse_variant(variant), localizer="fc").eval()


@pytest.mark.parametrize(
    ("architecture", "side"),
    [("mnist", 28), ("mnist", 60), ("mnist-deep", 28)],
)
def test_frames_are_what_the_engine_measures(architecture: str, side: int) -> None:
    """Strides and offsets read from the architecture are those measured on the network."""
    net = network("cnn", side=side, architecture=architecture).classifier
    listed = {layer.name: layer for layer in find_layers(net, torch.rand(1, 1, side, side))}
    for depth in range(1, len(net.layers) + 1):
        layer, frame, cells = listed[f"layers.{depth - 1}"], net.frames[depth], net.sizes[depth][1]
        assert layer.measured
        assert frame.share * side == pytest.approx(layer.stride_x * cells)
        middle = layer.offset_x + layer.stride_x * (cells - 1) / 2 - (side - 1) / 2
        assert frame.centre * side / 2 == pytest.approx(middle)


def test_warps_of_maps_and_of_images_are_the_same_in_other_coordinates() -> None:
    """A point of the map, read through either matrix, comes from the same place."""
    torch.manual_seed(1)
    frame = Frame(share=0.7, centre=-0.1)
    own = torch.eye(3).double() + 0.3 * torch.randn(4, 3, 3).double()
    own[:, 2] = torch.tensor([0.0, 0, 1])
    point = torch.tensor([0.4, -0.8, 1]).double()
    placed = torch.tensor([frame.share, frame.share, 1], dtype=torch.float64) * point
    placed[:2] += frame.centre
    read = own @ point
    wanted = torch.cat([frame.share * read[:, :2] + frame.centre, read[:, 2:]], dim=1)
    torch.testing.assert_close(frame.to_image(own) @ placed, wanted, rtol=1e-12, atol=1e-12)
    there = frame.from_image(frame.to_image(own))
    torch.testing.assert_close(there, own, rtol=1e-12, atol=1e-12)
    assert torch.equal(Frame().to_image(own), own)


TRANSLATED = tiny.config(perturbation="translation=clean", alignment="true")


def shifted_map(architecture: str, depth: int, side: int, cells: int) -> tuple[Tensor, Tensor]:
    """The map that CX hands on under a shift and true poses, and that of the unmoved image."""
    net = network(f"c{depth}", side=side, architecture=architecture)
    stride = round(net.classifier.frames[depth].share * side / net.classifier.sizes[depth][1])
    image = torch.zeros(1, 1, side, side)
    image[..., side // 2 - 5 : side // 2 + 5, side // 2 - 5 : side // 2 + 5] = torch.rand(10, 10)
    shift = stride * cells
    moved = torch.roll(image, (-shift, shift), (2, 3))
    poses = torch.tensor([[float(shift), float(-shift)]])
    seen: list[Tensor] = []

    def catch(_module: nn.Module, given: tuple[Tensor, ...]) -> None:
        seen.append(given[0].detach().clone())

    after = net.classifier.layers[depth] if depth < len(net.classifier.layers) else None
    (after if after is not None else net.classifier.head).register_forward_pre_hook(catch)
    for images, placed in ((image, torch.zeros(1, 2)), (moved, poses)):
        batch = Batch(images=images, labels=torch.zeros(1, 1, dtype=torch.long), poses=placed)
        with torch.no_grad():
            evaluation.predict(net, batch, TRANSLATED)
    return seen[0], seen[1]


@pytest.mark.parametrize(
    ("architecture", "depth", "side", "cells", "edge"),
    # padded convolutions darken the map's edge; only cells that no border reaches are compared
    [("mnist", 1, 60, 3, 0), ("mnist", 2, 60, 1, 0), ("mnist-deep", 7, 92, 1, 3)],
)
def test_true_poses_realign_the_map_of_a_layer_that_moves_with_its_input(
    architecture: str, depth: int, side: int, cells: int, edge: int
) -> None:
    """A shift by whole cells, undone at the map by the true pose, leaves no residual there."""
    still, realigned = shifted_map(architecture, depth, side, cells)
    inside = slice(cells + edge, -(cells + edge))
    left = (realigned - still)[..., inside, inside]
    spread = (still - still.mean((2, 3), keepdim=True))[..., inside, inside]
    assert float(spread.square().sum()) > 0
    # coordinates are rounded to single precision, some 1e-5 of a cell
    assert float(left.square().sum() / spread.square().sum()) < 1e-6


def read(
    net: VariantNetwork, perturbation: Perturbation, poses: Tensor, side: int
) -> dict[str, float]:
    """Statistics of a network that is given the true poses."""
    count = len(poses)
    images = torch.rand(count, 1, side, side)
    labels = torch.arange(count)[:, None] % 3
    batch = Batch(images=images, labels=labels, poses=poses)
    with torch.no_grad():
        found = evaluation.predict(net, batch, replace(TRANSLATED, perturbation=perturbation))
    frame = evaluation.describe(batch, found, perturbation)
    return evaluation.condensed(frame, perturbation.pose_names)


@pytest.mark.parametrize(
    ("variant", "architecture", "name", "unit"),
    [
        ("c1", "mnist", "translation=clean", 1.0),
        ("c2", "mnist", "translation=clean", 1.0),
        ("c7", "mnist-deep", "translation=clean", 1.0),
        ("c1", "mnist", "rotation", 1.0),
        ("c7", "mnist-deep", "rotation", 1.0),
        ("c1", "mnist", "scaling=clean", 0.1),
        ("c0", "mnist", "translation=clean", 1.0),
    ],
)
def test_a_perfect_prediction_scores_a_slope_of_one(
    variant: str, architecture: str, name: str, unit: float
) -> None:
    """Whatever part of the image the map covers, nothing is left of the applied pose."""
    perturbation = parse_perturbation(name)
    side = perturbation.canvas(28)
    net = network(variant, side=side, architecture=architecture)
    poses = perturbation.draw(40, torch.Generator().manual_seed(3))
    numbers = read(net, perturbation, poses, side)
    for pose_name in perturbation.pose_names:
        assert numbers[f"slope_{pose_name}"] == pytest.approx(1, abs=1e-4)
        assert numbers[f"spread_{pose_name}"] < 1e-3 * unit


def test_a_shift_in_the_maps_coordinates_is_read_in_the_images_pixels() -> None:
    """A map of 26 cells of 2 pixels read 3 cells aside moves content by 6 pixels, of 60."""
    net = network("c1", side=60)
    own = torch.eye(3).repeat(1, 1, 1)
    own[:, 0, 2] = 2 * 3 / 26
    seen = net.classifier.frames[1].to_image(own)
    assert seen[0, 0, 2] == pytest.approx(2 * 6 / 60)
    translation = parse_perturbation("translation=clean")
    applied = torch.tensor([[6.0, 0.0]])
    batch = Batch(
        images=torch.zeros(1, 1, 60, 60), labels=torch.zeros(1, 1, dtype=torch.long), poses=applied
    )
    logits = torch.zeros(1, 1, 3)
    found = evaluation.describe(batch, Prediction(logits, seen), translation)
    assert found["left_x"].item() == pytest.approx(0, abs=1e-5)


def test_transformers_at_several_depths_are_read_in_one_frame() -> None:
    """A shift at the image and one at the map add up in pixels of the image."""
    net = network("c0+c1", side=60)
    numbers = {0: 2 * 4 / 60, 1: 2 * 3 / 26}
    for number, shift in numbers.items():
        # the third of the six numbers; weights begin at 0
        nn.init.constant_(net.get_parameter(f"transformers.{number}.regression.bias")[2:3], shift)
    found = net(torch.rand(1, 1, 60, 60))
    moves = motions.performed_moves(found.pull_backs.detach(), 60, 60)
    assert float(moves[0, 0, 2]) == pytest.approx(-(4 + 6), abs=1e-4)
