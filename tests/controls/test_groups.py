"""The group networks: equivariance, the permutation of channels, and its recovery."""

import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

import invariance_probe as ip
from invariance_probe import controls
from invariance_probe.controls import C4, D4, SquareGroup
from tests.controls.measuring import (
    EXACT,
    QUARTER_TURNS,
    oracle_warped,
    relative_gap,
    residuals,
)
from tests.tolerances import ROUNDED, rounded

GROUPS = {"C4": C4, "D4": D4}
NETWORKS = {"C4": controls.c4_network, "D4": controls.d4_network}
POOLED = {"C4": controls.c4_pooled_network, "D4": controls.d4_pooled_network}
# every element of each group but the identity
MOVES = [
    (name, group.transform(element))
    for name, group in GROUPS.items()
    for element in range(1, group.order)
]


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


@pytest.mark.parametrize("group", GROUPS.values(), ids=GROUPS)
def test_products_and_inverses_are_those_of_the_motions(group: SquareGroup) -> None:
    """The table of the group says what moving a picture twice does; so do the transforms."""
    picture = torch.arange(9.0).view(3, 3)  # no two of its eight poses are alike
    elements = range(group.order)
    assert len({tuple(group.move(picture, e).flatten().tolist()) for e in elements}) == group.order
    for second, first in itertools.product(elements, elements):
        product = group.product(second, first)
        assert torch.equal(
            group.move(picture, product), group.move(group.move(picture, first), second)
        )
        both = group.transform(second) @ group.transform(first)
        assert group.element(both) == product
    for e in elements:
        assert group.product(group.inverse(e), e) == group.product(e, group.inverse(e)) == 0
        assert group.element(group.transform(e)) == e
        moved = group.transform(e)(picture[None, None])[0, 0]
        assert torch.equal(moved, group.move(picture, e))


@pytest.mark.parametrize("group", GROUPS.values(), ids=GROUPS)
def test_banks_are_those_of_the_definition(group: SquareGroup) -> None:
    """Lifting and group convolution sum over poses as Cohen and Welling's formulas say, by loops.

    Pose g of a filter at y is the filter at g^-1 y; its input pose h has the weight of g^-1 h.
    """
    generator = torch.Generator().manual_seed(3)
    lifting = controls.LiftingConv2d(group, 2, 1, kernel_size=3, generator=generator)
    conv = controls.GroupConv2d(group, 1, 1, kernel_size=3, generator=generator)
    matrices = [
        group.transform(e).matrix[:2, :2].inverse().round().int() for e in range(group.order)
    ]
    with torch.no_grad():
        banks = lifting.kernel(), conv.kernel()
        for g, y, x in itertools.product(range(group.order), (-1, 0, 1), (-1, 0, 1)):
            at_x, at_y = (matrices[g] @ torch.tensor([x, y], dtype=torch.int32)).tolist()
            weight = lifting.weight[0, :, at_y + 1, at_x + 1]
            assert torch.equal(banks[0][g, :, y + 1, x + 1], weight)
            for h in range(group.order):
                relative = next(r for r in range(group.order) if group.product(g, r) == h)
                weight = conv.weight[0, 0, relative, at_y + 1, at_x + 1]
                assert banks[1][g, h, y + 1, x + 1] == weight


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
def test_a_warp_alone_fails_and_the_permutation_is_recovered(name: str, canvases: Tensor) -> None:
    """The engine finds no warp; an assignment of channels is the known one, for all elements.

    Fitted on two images, it leaves nothing of the residual on a third.
    """
    network = NETWORKS[name]()
    moves = [move for group, move in MOVES if group == name]
    got = residuals(network, canvases, moves, crop=40, methods=("affine",))
    assert got["affine"].min() > 0.5
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


@pytest.mark.parametrize(("dtype", "kind"), [("float32", "max"), ("float64", "mean")])
@pytest.mark.parametrize(("size", "count", "batch_size"), [(22, 32, 32), (23, 2, 1)])
@pytest.mark.parametrize("name", GROUPS)
def test_pooling_over_the_orbit_makes_a_warp_alone_exact(
    name: str, size: int, count: int, batch_size: int, dtype: str, kind: str, crops: Tensor
) -> None:
    """Maximum and mean: odd and even sizes, both types, batch 1 and 32, all elements."""
    network = POOLED[name](kind=kind, fields=2, depth=2)
    moves = [move for group, move in MOVES if group == name][:: 1 if count < 32 else 3]
    images = crops[:count, :, :size, :size]
    options = {"dtype": dtype, "batch_size": batch_size, "methods": ("identity", "oracle")}
    got = residuals(network, images, moves, **options)
    assert got["oracle"].max() <= EXACT[dtype]
    assert got["identity"].max() > 0.5


@pytest.mark.parametrize(
    ("build", "size"),
    [
        (controls.c4_network, 44),
        (controls.c4_pooled_network, 45),
        (controls.d4_network, 45),
        (controls.d4_pooled_network, 44),
    ],
)
def test_outside_the_group_no_warp_aligns(
    build: Callable[..., nn.Module], size: int, canvases: Tensor
) -> None:
    """Rotations by 45 degrees and scalings, and for C4 reflections, are beyond any warp found."""
    moves = [ip.Rotation(45), ip.Scaling(0.7)]
    if build in {controls.c4_network, controls.c4_pooled_network}:
        moves.append(ip.Reflection(90))
    options = {"crop": size, "methods": ("affine", "floor")}
    got = residuals(build(fields=2, depth=2), canvases[:2], moves, **options)
    assert got["affine"].min() > 0.1
    assert (got["affine"] > 2 * got["floor"]).all()


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


@pytest.mark.parametrize(
    ("group", "move", "message"),
    [
        (C4, ip.Rotation(45), r"Rotation\(degrees=45\) is none of the group's 4 elements"),
        (C4, ip.Reflection(90), r"none of the group's 4 elements; .* multiple of 90 degrees$"),
        (D4, ip.Reflection(20), "none of the group's 8 elements; .* or a reflection"),
        (D4, ip.Scaling(2), r"Scaling\(factor=2\) is none of the group's 8 elements"),
    ],
)
def test_foreign_transforms_are_refused(
    group: SquareGroup, move: ip.Transform, message: str
) -> None:
    """A transform outside the group has no permutation, and the error says which have one."""
    with pytest.raises(ip.InvalidInputError, match=message):
        group.channel_permutation(move, 2)


def test_shifts_make_no_difference_to_the_permutation() -> None:
    """A quarter turn and a shift permute the channels like the quarter turn."""
    move = ip.Translation(3, -2) @ ip.Rotation(90)
    shown = controls.c4_network().channel_permutation(move)
    assert shown.tolist() == controls.c4_network().channel_permutation(ip.Rotation(90)).tolist()


def test_escnn_permutes_its_channels_alike(crops: Tensor) -> None:
    """A layer of escnn with regular fields shifts its channels as our C4 control does."""
    pytest.importorskip(
        "escnn", reason="escnn is not installed; the loops above check the group layers alone"
    )
    from escnn import gspaces
    from escnn import nn as equivariant

    space = gspaces.rot2dOnR2(4)
    image_type = equivariant.FieldType(space, 3 * [space.trivial_repr])
    regular = equivariant.FieldType(space, 4 * [space.regular_repr])
    torch.manual_seed(0)  # escnn draws from the global generator
    layer = equivariant.R2Conv(image_type, regular, kernel_size=5).eval()
    for move in QUARTER_TURNS:
        with torch.no_grad():
            maps, moved = (
                layer(equivariant.GeometricTensor(images, image_type)).tensor
                for images in (crops[:2], move(crops[:2]))
            )
        warped = move.inverse()(moved)
        shown = C4.channel_permutation(move, 4)
        assert relative_gap(warped[:, shown], maps) < 1e-4
        assert relative_gap(warped, maps) > 1e-2
