"""A probe gives each control, a network whose answer is known, its known answer."""

import math
from collections.abc import Callable, Sequence

import pandas as pd
import pytest
import torch
from torch import Tensor, nn

import invariance_probe as ip
from invariance_probe import controls
from invariance_probe.controls import weights
from invariance_probe.plane import rendering
from tests.controls.measuring import GROUPS, MOVES, NETWORKS, QUARTER_TURNS, SUBSAMPLING
from tests.tolerances import rounded

Build = Callable[[], nn.Sequential]
TURNING: list[Build] = [
    controls.pointwise_network,
    controls.isotropic_network,
    controls.blur_network,
    controls.four_fold_network,
]
MIRRORING = TURNING[:3]
POOLED = {"C4": controls.c4_pooled_network, "D4": controls.d4_pooled_network}
EXACT = {name: rounded(getattr(torch, name)) ** 2 for name in ("float32", "float64")}
"""Largest fvu that passes as exact: the square of the relative error of a cell."""
PERFECT = (0.5, 1.25)
"""What a perfect layer may leave, in floors."""


def residuals(
    network: nn.Module, images: Tensor, transforms: Sequence[ip.Transform], **options: object
) -> pd.DataFrame:
    """Fvu of the network's output by (transform number, image), one column a method."""
    result = ip.probe(network, images, layers="(model)", transforms=transforms, **options)
    frame = result.frame()
    return frame[frame["metric"] == "fvu"].pivot_table(
        index=["transform_number", "image"], columns="method", values="value", observed=True
    )


def _plain(conv: controls.FourFoldConv2d | controls.IsotropicConv2d) -> nn.Conv2d:
    """The same filters in an ordinary convolution, where they can be disturbed."""
    if isinstance(conv, controls.FourFoldConv2d):
        kernel, stride = conv.kernel(), conv.stride
    else:
        kernel, stride = torch.einsum("oij,jyx->oiyx", conv.weight, conv.basis), 1
    out, into, size, _ = kernel.shape
    plain = nn.Conv2d(into, out, size, stride=stride)
    with torch.no_grad():
        plain.weight.copy_(kernel)
        plain.bias.copy_(conv.bias)
    return plain


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("size", "count", "batch_size"), [(34, 32, 32), (35, 2, 1)])
@pytest.mark.parametrize("build", TURNING)
def test_quarter_turns_are_exact(
    build: Build, size: int, count: int, batch_size: int, dtype: str, crops: Tensor
) -> None:
    """The oracle warp is exact at quarter turns: odd and even sizes, both types, batch 1 and 32."""
    images = crops[:count, :, :size, :size]
    options = {"dtype": dtype, "batch_size": batch_size, "methods": ("identity", "oracle")}
    got = residuals(build(), images, QUARTER_TURNS, **options)
    assert got["oracle"].max() <= EXACT[dtype]
    assert got["identity"].median() > 0.5


@pytest.mark.parametrize("size", [56, 57])
@pytest.mark.parametrize("build", MIRRORING)
def test_isotropic_filters_are_aligned_under_all_rotations_and_reflections(
    build: Build, size: int, canvases: Tensor
) -> None:
    """What the oracle leaves is the floor, give or take a quarter; reflections are exact."""
    moves = [ip.Rotation(20), ip.Rotation(-45), ip.Rotation(110), ip.Reflection(90)]
    got = residuals(build(), canvases[:2], moves, crop=size)
    turned = got.drop(index=3, level="transform_number")
    assert (turned["oracle"] / turned["floor"]).between(*PERFECT).all()
    assert (turned["affine"] <= turned["oracle"]).all()
    assert got.xs(3, level="transform_number")["oracle"].max() <= EXACT["float32"]
    assert got["identity"].min() > 0.2


@pytest.mark.parametrize("size", [56, 57])
def test_pointwise_networks_are_aligned_under_every_transform(size: int, canvases: Tensor) -> None:
    """What sees one pixel leaves the floor under scalings and shears, too."""
    moves = [ip.Scaling(0.7), ip.Scaling(1.4), ip.Scaling(2), ip.Shear(0.3)]
    got = residuals(controls.pointwise_network(), canvases, moves, crop=size)
    # at factor 2 on odd sizes pixels meet pixels, and both are 0
    assert (got["oracle"] <= PERFECT[1] * got["floor"] + EXACT["float32"]).all()
    assert (got["oracle"] >= PERFECT[0] * got["floor"] - EXACT["float32"]).all()
    assert (got["affine"] <= got["oracle"]).all()
    assert got["oracle"].max() < 0.2 * got["identity"].min()


@pytest.mark.parametrize("size", [56, 57])
@pytest.mark.parametrize(
    ("build", "least"),
    [
        (controls.isotropic_network, 0.05),
        (controls.four_fold_network, 0.2),
        (controls.random_network, 0.2),
        (controls.blur_network, 0.002),  # a photograph holds little that a blur takes away
    ],
)
def test_filters_of_more_than_a_pixel_are_not_aligned_under_scaling(
    build: Build, least: float, size: int, canvases: Tensor
) -> None:
    """No affine warp found brings scalings near the floor, nor 45 degrees for 4-fold filters."""
    moves: list[ip.Transform] = [ip.Scaling(0.7), ip.Scaling(1.4)]
    if build in {controls.four_fold_network, controls.random_network}:
        moves += [ip.Rotation(45), ip.Reflection(90)]
    got = residuals(build(), canvases[:2], moves, crop=size)
    assert got["affine"].min() > least
    assert (got["affine"] > 2 * got["floor"]).all()


def test_random_networks_are_not_aligned_at_quarter_turns(canvases: Tensor) -> None:
    """Without symmetry the quarter turns leave much of the variance, whatever the warp."""
    got = residuals(controls.random_network(), canvases, QUARTER_TURNS, crop=48)
    assert got["affine"].min() > 0.5


@pytest.mark.parametrize("build", [controls.isotropic_network, controls.four_fold_network])
def test_one_disturbed_tap_is_seen(build: Build, canvases: Tensor) -> None:
    """A single tap of a single filter, changed by its own size, ends the exactness."""
    network = build()
    options = {"crop": 48, "methods": ("oracle",)}
    network[0] = _plain(network[0])
    sound = residuals(network, canvases, QUARTER_TURNS, **options)
    assert sound["oracle"].max() <= EXACT["float32"]
    with torch.no_grad():
        network[0].weight[0, 0, 1, 3] += network[0].weight[0, 0].abs().max()
    disturbed = residuals(network, canvases, QUARTER_TURNS, **options)
    assert disturbed["oracle"].min() > 1e4 * EXACT["float32"]


def test_a_pointwise_network_with_one_wider_layer_is_seen(canvases: Tensor) -> None:
    """One 3 x 3 layer among the 1 x 1 ones lifts the residual above the floor."""
    network = controls.pointwise_network()
    network[2] = weights.plain_conv(16, 16, 3, generator=torch.Generator().manual_seed(1))
    got = residuals(network, canvases, [ip.Scaling(1.4), ip.Rotation(45)], crop=48)
    assert (got["affine"] > 1.5 * got["floor"]).all()


@pytest.mark.parametrize(("size", "kernel_size"), [(45, 7), (44, 6), (45, 5), (44, 8)])
def test_a_stride_that_keeps_the_centre_is_exact(
    size: int, kernel_size: int, crops: Tensor
) -> None:
    """Stride 2 is exact on odd sizes with an odd kernel, and on even ones with an even kernel."""
    network = controls.four_fold_network(kernel_size=kernel_size, stride=2)
    images = crops[:4, :, :size, :size]
    got = residuals(network, images, QUARTER_TURNS, methods=("oracle",))
    assert got["oracle"].max() <= EXACT["float32"]


def test_a_stride_that_loses_the_centre_leaves_half_a_cell(canvases: Tensor) -> None:
    """Stride 2, odd kernel, even size: not exact, better than uncorrected, exact about the cells.

    The cells' centre lies half a pixel up and left of the image's. The quarter turn about it is the
    one about the image's centre and a shift by a whole pixel.
    """
    network = controls.four_fold_network(kernel_size=5, stride=2)
    half = torch.eye(3, dtype=torch.float64)
    half[:2, 2] = -0.5
    about_cells = ip.Affine(half @ ip.Rotation(90).matrix @ half.inverse())
    moves = [ip.Rotation(90), about_cells]
    got = residuals(network, canvases, moves, crop=64)
    image_centre, cell_centre = (got.xs(i, level="transform_number") for i in range(2))
    assert image_centre["oracle"].min() > 0.01
    assert (image_centre["oracle"] < 0.5 * image_centre["identity"]).all()
    assert cell_centre["oracle"].max() <= EXACT["float32"]
    # the map turned as it stands, as if its cells were centred
    views = [move(canvases, crop=64) for move in (ip.Rotation(0), ip.Rotation(90))]
    with torch.no_grad():
        reference, moved = (network(view) for view in views)
    turned = moved.rot90(-1, (-2, -1))
    deviation = reference - reference.mean((0, 2, 3), keepdim=True)
    bare = (turned - reference).square().sum((1, 2, 3)) / deviation.square().sum((1, 2, 3))
    assert (bare.numpy() > 1.3 * image_centre["oracle"].to_numpy()).all()


@pytest.mark.parametrize("factor", [0.7, 1.5])
def test_blur_leaves_what_its_closed_form_says(factor: float) -> None:
    """For a Gaussian blob the residual after scaling is the one between two known Gaussians."""
    size, sigma, variance = 97, 2.0, 9.0
    at = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    square = at[:, None].square() + at.square()
    blob = torch.exp(-square / (2 * variance)).expand(2, 1, -1, -1)
    got = residuals(
        controls.blur_network(sigma=sigma),
        blob,
        [ip.Scaling(factor)],
        dtype="float64",
        methods=("oracle",),
        search=ip.SearchOptions(mode="bicubic"),  # which adds no blur of its own
    )
    # the maps are smaller by the kernel; after growing, their middle is still in sight
    reach = ((size - 2 * math.ceil(4 * sigma)) / 2 - 1) / max(factor, 1)
    inside = (at.abs()[:, None] <= reach) & (at.abs() <= reach)
    inner = square[inside]

    def profile(blur: float) -> Tensor:
        total = variance + blur
        return variance / total * torch.exp(-inner / (2 * total))

    # Lowe's blur before shrinking, in pixels of the original
    before = rendering.NOMINAL_BLUR**2 * max(factor**-2 - 1, 0)
    reference, warped = profile(sigma**2), profile((sigma / factor) ** 2 + before)
    expected = (warped - reference).square().sum() / (reference - reference.mean()).square().sum()
    assert got["oracle"].tolist() == pytest.approx([float(expected)] * 2, rel=0.05)


@pytest.mark.parametrize("name", GROUPS)
def test_a_warp_alone_does_not_align_a_group_network(name: str, canvases: Tensor) -> None:
    """Under no element of its group is a warp found that aligns it."""
    moves = [move for group, move in MOVES if group == name]
    got = residuals(NETWORKS[name](), canvases, moves, crop=40, methods=("affine",))
    assert got["affine"].min() > 0.5


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


@pytest.mark.parametrize("dtype", EXACT)
@pytest.mark.parametrize("size", [64, 65])
@pytest.mark.parametrize("build", SUBSAMPLING)
def test_shifts_by_whole_strides_are_exact(
    build: Callable[[], nn.Module], size: int, dtype: str, canvases: Tensor
) -> None:
    """At stride 4, shifts by 4 and -8 pixels are aligned exactly by the oracle warp."""
    moves = [ip.Translation(4), ip.Translation(0, -8), ip.Translation(-4, 12)]
    got = residuals(build(), canvases, moves, crop=size, dtype=dtype, methods=("oracle",))
    assert got["oracle"].max() <= EXACT[dtype]


@pytest.mark.parametrize("size", [64, 65])
def test_blurring_mends_the_shifts_in_between(size: int, canvases: Tensor) -> None:
    """At shifts of 1 to 3 pixels plain striding leaves much, blur little; both what grids cost."""
    moves = [ip.Translation(1), ip.Translation(2, 1), ip.Translation(0, 3)]
    plain, smooth = (residuals(build(), canvases, moves, crop=size) for build in SUBSAMPLING)
    for got in (plain, smooth):
        means = got.groupby("transform_number").mean()
        assert (means["oracle"] / means["floor"]).between(*PERFECT).all()
    assert (smooth["affine"] < 0.15 * plain["affine"]).all()
    assert (smooth["floor"] < 0.15 * plain["floor"]).all()
    assert plain["affine"].min() > 0.2


def test_a_blur_of_one_tap_mends_nothing(canvases: Tensor) -> None:
    """Subsampling without the blur is as bad as a strided convolution, map for map."""
    moves = [ip.Translation(1), ip.Translation(0, 3)]
    options = {"crop": 64, "methods": ("oracle", "floor")}
    unblurred = residuals(controls.antialiased_network(taps=1), canvases, moves, **options)
    plain = residuals(controls.strided_network(), canvases, moves, **options)
    assert (unblurred["floor"] > 0.2).all()
    assert (unblurred["oracle"] / plain["oracle"] - 1).abs().max() < 0.1
