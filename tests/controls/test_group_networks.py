"""The group networks: equivariance, the permutation of channels, and its recovery."""

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

import invariance_probe as ip
from invariance_probe import controls
from tests.controls.measuring import (
    GROUPS,
    MOVES,
    NETWORKS,
    QUARTER_TURNS,
    oracle_warped,
    relative_gap,
)
from tests.tolerances import ROUNDED, rounded


def recovered(reference: Tensor, warped: Tensor) -> list[int]:
    """The one-to-one assignment of channels with the largest sum of correlations."""
    channels = reference.shape[1]
    rows = (
        np.asarray(maps.double().movedim(1, 0).reshape(channels, -1))
        for maps in (reference, warped)
    )
    correlation = np.corrcoef(*rows)[:channels, channels:]
    found: list[int] = linear_sum_assignment(correlation, maximize=True)[1].tolist()
    return found


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("size", "count"), [(26, 32), (27, 1)])
@pytest.mark.parametrize("name", GROUPS)
def test_every_layer_is_exact_after_warp_and_permutation(
    name: str, size: int, count: int, dtype: torch.dtype, crops: Tensor
) -> None:
    """Odd and even sizes, batch 1 and 32, both types, all elements, all layers."""
    network = NETWORKS[name]().to(dtype)
    images = crops[:count, :, :size, :size].to(dtype)
    moves = [move for group, move in MOVES if group == name]
    for move, reference, warped in oracle_warped(network, images, moves, ("0", "1", "3", "5")):
        shown = network.channel_permutation(move)
        assert relative_gap(warped[:, shown], reference) <= rounded(dtype)
        assert relative_gap(warped, reference) > 0.1


@pytest.mark.parametrize("name", GROUPS)
def test_the_permutation_is_recovered(name: str, canvases: Tensor) -> None:
    """An assignment of channels finds the known one, for all elements.

    Fitted on two images, it leaves nothing of the residual on a third.
    """
    network = NETWORKS[name]()
    moves = [move for group, move in MOVES if group == name]
    for move, reference, warped in oracle_warped(network, canvases, moves, crop=40):
        shown = recovered(reference[:2], warped[:2])
        assert shown == network.channel_permutation(move).tolist()
        assert relative_gap(warped[2:, shown], reference[2:]) <= ROUNDED


@pytest.mark.parametrize("turns", QUARTER_TURNS, ids=lambda move: f"{move.degrees}")
def test_c4_channels_shift_cyclically(turns: ip.Rotation) -> None:
    """For C4 the permutation is a cyclic shift within each field, by the number of turns."""
    shown = controls.c4_network(fields=3).channel_permutation(turns).view(3, 4)
    steps = turns.degrees // 90
    for field in range(3):
        expected = [4 * field + (pose + steps) % 4 for pose in range(4)]
        assert shown[field].tolist() == expected


def test_four_quarter_turns_return_every_channel() -> None:
    """Permutations compose like the motions: four quarter turns, or one reflection twice, rest."""
    network = controls.d4_network()
    for move, times in ((ip.Rotation(90), 4), (ip.Rotation(180), 2), (ip.Reflection(45), 2)):
        shown = network.channel_permutation(move)
        total = torch.arange(len(shown))
        for _ in range(times):
            assert total.tolist() != shown[total].tolist()
            total = shown[total]
        assert total.tolist() == list(range(len(shown)))


class Reversed(controls.GroupConv2d):
    """A group convolution that takes its input poses in the wrong sense."""

    def kernel(self) -> Tensor:
        """Put input pose h where -h belongs."""
        poses = [self.group.inverse(h) for h in range(self.group.order)]
        return super().kernel().unflatten(1, (-1, self.group.order))[:, :, poses].flatten(1, 2)


@pytest.mark.parametrize("name", GROUPS)
@pytest.mark.parametrize("mutation", ["reversed", "perturbed", "no orbit", "biased"])
def test_mutated_networks_are_seen(name: str, mutation: str, crops: Tensor) -> None:
    """A reversed sense, a disturbed filter, a foreign pose or a bias of its own ends exactness."""
    network = NETWORKS[name]()
    group, move, images = network.group, ip.Rotation(90), crops[:4, :, :26, :26]
    shown = network.channel_permutation(move)
    with torch.no_grad():
        if mutation == "reversed":
            wrong = Reversed(
                group,
                network.fields,
                network.fields,
                kernel_size=5,
                generator=torch.Generator().manual_seed(0),
            )
            wrong.load_state_dict(network[2].state_dict())
            network[2] = wrong
        else:
            lifting = network[0]
            plain = nn.Conv2d(3, network.fields * group.order, 5)
            plain.weight.copy_(lifting.kernel())
            plain.bias.copy_(lifting.bias.repeat_interleave(group.order))
            network[0] = plain
            ((_, reference, warped),) = oracle_warped(network, images, [move])
            assert relative_gap(warped[:, shown], reference) <= ROUNDED
            if mutation == "perturbed":
                plain.weight[1, 0, 1, 3] += plain.weight.abs().max()
            elif mutation == "no orbit":
                plain.weight[2] = plain.weight[1]
            else:
                plain.bias[1] += 0.5
    ((_, reference, warped),) = oracle_warped(network, images, [move])
    assert relative_gap(warped[:, shown], reference) > 1e-3


def test_the_shift_in_the_wrong_direction_is_seen(crops: Tensor) -> None:
    """The inverse permutation does not align, and is not what the assignment recovers."""
    for build in NETWORKS.values():
        network = build()
        ((_, reference, warped),) = oracle_warped(network, crops[:4], [ip.Rotation(90)])
        wrong = network.channel_permutation(ip.Rotation(-90))
        assert relative_gap(warped[:, wrong], reference) > 0.1
        assert recovered(reference, warped) != wrong.tolist()


def test_c4_channels_cannot_make_up_for_a_reflection(canvases: Tensor) -> None:
    """None of C4's own permutations aligns a mirrored image."""
    network = controls.c4_network()
    with torch.no_grad():
        maps, mirrored = network(canvases), network(canvases.flip(-1)).flip(-1)
    for turn in QUARTER_TURNS:
        assert relative_gap(mirrored[:, network.channel_permutation(turn)], maps) > 0.1


def test_no_permutation_aligns_a_random_network(crops: Tensor) -> None:
    """An assignment always finds something; for generic filters it leaves most of the residual."""
    network = controls.random_network()
    ((_, reference, warped),) = oracle_warped(network, crops, [ip.Rotation(90)])
    shown = recovered(reference[:16], warped[:16])
    left = (warped[16:, shown] - reference[16:]).square().sum()
    deviation = reference[16:] - reference.mean((0, 2, 3), keepdim=True)
    assert float(left / deviation.square().sum()) > 0.5


@pytest.mark.parametrize(("size", "kernel_size"), [(45, 5), (44, 6)])
@pytest.mark.parametrize("name", GROUPS)
def test_a_stride_that_keeps_the_centre_is_exact(
    name: str, size: int, kernel_size: int, crops: Tensor
) -> None:
    """Stride 2 in the first layer: odd sizes with an odd kernel, even ones with an even kernel."""
    network = NETWORKS[name](kernel_size=kernel_size, stride=2)
    images = crops[:4, :, :size, :size]
    moves = [move for group, move in MOVES if group == name]
    for move, reference, warped in oracle_warped(network, images, moves):
        assert relative_gap(warped[:, network.channel_permutation(move)], reference) <= ROUNDED


def test_a_stride_that_loses_the_centre_is_exact_about_the_cells(canvases: Tensor) -> None:
    """Stride 2, odd kernel, even size: exact is the turn about the centre of the cells."""
    network = controls.c4_network(stride=2)
    half = torch.eye(3, dtype=torch.float64)
    half[:2, 2] = -0.5
    about_cells = ip.Affine(half @ ip.Rotation(90).matrix @ half.inverse())
    shown = network.channel_permutation(about_cells)
    assert shown.tolist() == network.channel_permutation(ip.Rotation(90)).tolist()
    pairs = oracle_warped(network, canvases, (ip.Rotation(90), about_cells), crop=64)
    gaps = [relative_gap(warped[:, shown], reference) for _, reference, warped in pairs]
    assert gaps[0] > 0.05
    assert gaps[1] <= ROUNDED
