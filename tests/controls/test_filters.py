"""Controls by the symmetry of their filters give the answers their docstrings state."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import invariance_probe as ip
from invariance_probe import controls
from invariance_probe.controls import weights
from invariance_probe.plane import rendering
from tests.controls.measuring import EXACT, QUARTER_TURNS, relative_gap, residuals

Build = Callable[[], nn.Sequential]
TURNING: list[Build] = [
    controls.pointwise_network,
    controls.isotropic_network,
    controls.blur_network,
    controls.four_fold_network,
]
MIRRORING = TURNING[:3]
ALL: list[Build] = [
    *TURNING,
    controls.random_network,
    controls.c4_network,
    controls.d4_network,
    controls.c4_pooled_network,
    controls.d4_pooled_network,
    controls.strided_network,
    controls.antialiased_network,
]


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
    """Oracle and best affine warp stay within the interpolation floor; reflections are exact."""
    moves = [ip.Rotation(20), ip.Rotation(-45), ip.Rotation(110), ip.Reflection(90)]
    got = residuals(build(), canvases[:2], moves, crop=size)
    turned = got.drop(index=3, level="transform_number")
    assert (turned["oracle"] <= turned["floor"]).all()
    assert (turned["affine"] <= turned["floor"]).all()
    assert got.xs(3, level="transform_number")["oracle"].max() <= EXACT["float32"]
    assert got["identity"].min() > 0.2


@pytest.mark.parametrize("size", [56, 57])
def test_pointwise_networks_are_aligned_under_every_transform(size: int, canvases: Tensor) -> None:
    """What sees one pixel stays within the floor under scalings and shears, too."""
    moves = [ip.Scaling(0.7), ip.Scaling(1.4), ip.Scaling(2), ip.Shear(0.3)]
    got = residuals(controls.pointwise_network(), canvases, moves, crop=size)
    # at factor 2 on odd sizes pixels meet pixels, and the floor is 0
    assert (got["affine"] <= got["floor"] + EXACT["float32"]).all()
    assert (got["oracle"] <= got["floor"] + EXACT["float32"]).all()
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


@pytest.mark.parametrize("build", ALL)
def test_strides_and_offsets_are_measured(build: Build) -> None:
    """The engine finds every map of every control on the input, at even sizes too."""
    listing = ip.list_layers(build(), torch.rand(1, 3, 48, 48))
    assert listing["spatial"].all()
    assert listing["measured"].all()
    if build not in {controls.strided_network, controls.antialiased_network}:
        assert (listing["stride"] == 1).all()
        # without padding a map of n cells lies in the middle of the image
        assert (listing["offset"] == (48 - listing["height"]) / 2).all()


@pytest.mark.parametrize("build", [controls.isotropic_network, controls.four_fold_network])
def test_training_keeps_the_symmetry(build: Build, crops: Tensor) -> None:
    """After steps of gradient descent the quarter turns are still exact."""
    network = build()
    before = network[0].weight.detach().clone()
    optimiser = torch.optim.SGD(network.parameters(), lr=1e-2)
    for _ in range(3):
        optimiser.zero_grad()
        network(crops[:1]).square().mean().backward()
        optimiser.step()
    assert not torch.equal(before, network[0].weight)
    got = residuals(network, crops[:2], QUARTER_TURNS, methods=("oracle",))
    assert got["oracle"].max() <= EXACT["float32"]


@pytest.mark.parametrize("build", ALL)
def test_weights_come_from_the_seed_alone(build: Callable[..., nn.Module]) -> None:
    """The same seed gives the same weights, another one others; global randomness is not used."""
    torch.manual_seed(5)
    first = build()
    after = torch.rand(1)
    torch.manual_seed(6)
    again = build()
    torch.manual_seed(5)
    assert torch.equal(torch.rand(1), after)
    states = [network.state_dict() for network in (first, again)]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    if build is not controls.blur_network:
        other = build(seed=1).state_dict()
        assert any(not torch.equal(states[0][key], other[key]) for key in other)


def test_first_layers_look_at_no_mean_brightness(crops: Tensor) -> None:
    """Brighter images give the same maps, but for pointwise networks and blur."""
    for build in ALL:
        network = build()
        with torch.no_grad():
            gap = relative_gap(network(crops[:2]), network(crops[:2] + 0.5))
        assert (gap < 1e-4) == (build not in {controls.pointwise_network, controls.blur_network})


@pytest.mark.parametrize(
    ("build", "change", "message"),
    [
        (controls.pointwise_network, {"depth": 0}, "depth=0: give a positive"),
        (controls.isotropic_network, {"kernel_size": -3}, "kernel_size=-3: give a positive"),
        (controls.four_fold_network, {"stride": 0}, "stride=0: give a positive"),
        (controls.random_network, {"width": 0}, "width=0: give a positive"),
        (controls.blur_network, {"sigma": 0.0}, "sigma=0: give a positive"),
        (controls.blur_network, {"sigma": math.nan}, "sigma=nan: give a positive"),
        (controls.strided_network, {"channels": 0}, "channels=0: give a positive"),
        (controls.antialiased_network, {"taps": 0}, "taps=0: give a positive"),
        (controls.c4_network, {"fields": 0}, "fields=0: give a positive"),
        (controls.d4_pooled_network, {"kind": "sum"}, "kind='sum': choose max or mean"),
    ],
)
def test_impossible_sizes_are_refused(
    build: Callable[..., nn.Module], change: dict[str, object], message: str
) -> None:
    """Each refusal is one line that names the argument and what it may be."""
    with pytest.raises(ip.InvalidInputError, match=message) as caught:
        build(**change)
    assert "\n" not in str(caught.value)
