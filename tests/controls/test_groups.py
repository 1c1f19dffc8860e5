"""The groups, their filter banks, and the permutations of channels they stand for."""

import itertools

import pytest
import torch
from torch import Tensor

import invariance_probe as ip
from invariance_probe import controls
from invariance_probe.controls import C4, D4, SquareGroup
from tests.controls.measuring import GROUPS, QUARTER_TURNS, relative_gap


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
