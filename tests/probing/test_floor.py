"""The floor is what a perfect layer leaves, whatever its grid, and costs a tenth of the passes."""

from collections.abc import Sequence
from itertools import product

import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import invariance_probe as ip
from invariance_probe import controls
from invariance_probe.data.pictures import open_images
from invariance_probe.network.features import Layer
from invariance_probe.plane import coordinates, regions, rendering
from invariance_probe.probing import floor
from invariance_probe.probing.pairs import View

EXACT = 1e-6
"""A residual below this counts as none, and then so must the floor."""


def _layer(
    stride: tuple[float, float], side: int = 12, offset: tuple[float, float] = (0.0, 0.0)
) -> Layer:
    """A map of 12 x 12 cells; strides and offsets along y and x."""
    return Layer(
        name="a",
        module="a",
        type="Conv2d",
        call=1,
        path="",
        channels=1,
        height=side,
        width=side,
        stride_y=stride[0],
        stride_x=stride[1],
        offset_y=offset[0],
        offset_x=offset[1],
    )


def _factors(layer: Layer, move: ip.Transform, size: int, mode: str = "bilinear") -> Tensor:
    oracle = layer.oracle(move.matrix, size, size)
    (region,) = regions.visible(oracle[None], layer.height, layer.width)
    return floor.factors(layer, oracle, region, mode)


@pytest.fixture(scope="module")
def pictures() -> Tensor:
    """Eight photographs on canvases of 112 x 112 pixels, in [0, 1]."""
    images, _ = open_images("photographs", 112)
    return torch.stack([images[i] for i in range(8)])


class Every(nn.Module):
    """Keeps every so many rows and columns: a grid without filters."""

    def __init__(self, rows: int, columns: int) -> None:
        super().__init__()
        self.steps = (rows, columns)

    def forward(self, maps: Tensor) -> Tensor:
        return nn.functional.max_pool2d(maps, 1, self.steps)


def _strided(network: nn.Module, rows: int, columns: int) -> nn.Module:
    return nn.Sequential(network, Every(rows, columns))


def _pooled_c4(stride: int) -> nn.Module:
    """Perfect at quarter turns about its cells; the stride is the first layer's."""
    network = controls.c4_network(fields=8, stride=stride)
    return nn.Sequential(network, controls.OrbitPool(controls.C4))


def _residuals(result: ip.ProbeResult) -> pd.DataFrame:
    frame = result.frame()
    return frame[frame["metric"] == "fvu"].pivot_table(
        index=["layer", "transform_number", "image"],
        columns="method",
        values="value",
        observed=True,
    )


QUARTERS = [ip.Rotation(90), ip.Rotation(180), ip.Rotation(-90)]
TURNS = [*QUARTERS, ip.Rotation(20), ip.Rotation(-45)]
MOVES = [*TURNS, ip.Scaling(0.7), ip.Scaling(1.4), ip.Shear(0.3)]
STRIDES = [(1, 1), (2, 2), (4, 4), (2, 1), (1, 4)]
PERFECT = [
    *[(lambda s=s: _pooled_c4(s), QUARTERS) for s in (1, 2, 4)],
    *[(lambda s=s: _strided(controls.c4_pooled_network(), *s), QUARTERS) for s in STRIDES[1:]],
    *[(lambda s=s: _strided(controls.four_fold_network(), *s), QUARTERS) for s in STRIDES],
    *[(lambda s=s: _strided(controls.isotropic_network(), *s), TURNS) for s in STRIDES],
    *[(lambda s=s: _strided(controls.pointwise_network(), *s), MOVES) for s in STRIDES],
]
"""Networks without a fault, and the transforms under which they have none."""


@pytest.mark.parametrize(
    ("case", "size"),
    [
        *((case, 64) for case in range(len(PERFECT))),
        *((case, 65) for case in (1, 2, 5, 10, 14, 19)),
    ],
)
def test_a_perfect_layer_leaves_the_floor(case: int, size: int, pictures: Tensor) -> None:
    """Between 0.5 and 1.25 of it, on odd and even sizes, at strides of 1, 2, 4, 1 x 2 and 1 x 4."""
    build, moves = PERFECT[case]
    options = {"crop": size, "methods": ["oracle", "floor"], "device": "cpu"}
    result = ip.probe(build(), pictures, layers="(model)", transforms=MOVES, **options)
    means = _residuals(result).groupby("transform_number").mean()
    means = means.loc[[MOVES.index(move) for move in moves]]
    exact = means["oracle"] < EXACT
    assert (means["floor"][exact] < EXACT).all()
    assert (means["oracle"] / means["floor"])[~exact].between(0.5, 1.25).all()
    assert exact.all() or means["floor"].max() > 100 * EXACT


def test_the_case_that_interpolation_alone_does_not_explain(pictures: Tensor) -> None:
    """A pooled C4 network of stride 2 on 64 pixels leaves more than 0.2, and so says the floor."""
    options = {"crop": 64, "methods": ["oracle", "floor"], "device": "cpu"}
    perfect, faulty = (
        ip.probe(network, pictures, layers="(model)", transforms=QUARTERS, **options)
        for network in (_pooled_c4(2), nn.Conv2d(3, 8, 5, stride=2))
    )
    left, more = (_residuals(result).mean() for result in (perfect, faulty))
    assert left["oracle"] > 0.2
    assert 0.8 < left["oracle"] / left["floor"] < 1.25
    assert more["oracle"] > 2 * more["floor"]  # a layer that is not equivariant stands out


class Counting(nn.Module):
    """Counts the images that pass."""

    passed = 0

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        Counting.passed += len(images)  # a probe's own copy counts here as well
        return self.network(images)


@pytest.mark.parametrize(("images", "moves"), [(1, 1), (3, 1), (3, 2), (5, 8), (8, 20), (20, 3)])
def test_the_floor_adds_a_tenth_of_the_passes_at_most(images: int, moves: int) -> None:
    """Copies are as many as a tenth of the passes; a run of fewer than ten passes makes one."""
    network = Counting(nn.Conv2d(3, 2, 3, stride=2))
    some = torch.rand(images, 3, 24, 24)
    turns = [ip.Rotation(3.0 * degrees + 1) for degrees in range(moves)]
    passed = {}
    for methods in (("oracle",), ("oracle", "floor")):
        Counting.passed = 0
        result = ip.probe(network, some, layers="network", transforms=turns, methods=methods)
        passed[methods] = Counting.passed
        told = result.config.get("floor", {"shifts": []})["shifts"]
    without, with_floor = passed.values()
    added = with_floor - without
    assert added == len(told)
    assert 1 <= added <= max(1, (images * (moves + 2)) // 10)
    assert len({name for name, _, _ in told}) == min(added, images)


def test_without_the_method_nothing_is_shifted() -> None:
    """The configuration has no word of it, either."""
    result = ip.probe(
        nn.Conv2d(3, 2, 3),
        torch.rand(2, 3, 16, 16),
        layers="(model)",
        transforms=[ip.Rotation(20)],
        methods=["identity"],
    )
    assert "floor" not in result.config


@settings(max_examples=60)
@given(
    strides=st.lists(st.sampled_from([0.5, 1.0, 2.0, 3.0, 4.0, 8.0]), min_size=1, max_size=3),
    moves=st.lists(st.sampled_from([*MOVES, ip.Translation(3)]), min_size=1, max_size=3),
    count=st.integers(1, 6),
)
def test_shifts_lead_where_the_transforms_lead_between_cells(
    strides: list[float], moves: list[ip.Transform], count: int
) -> None:
    """Each is how far some transform moves a cell of some layer beside the cells of that layer."""
    size = 48
    views = [
        View(_layer((s, s), round(size / s)), moves, (size, size), 1.0, torch.device("cpu"))
        for s in strides
    ]
    possible = []
    for view, stride in zip(views, strides, strict=True):
        side = view.layer.height
        for oracle, region in zip(view.oracle, view.region, strict=True):
            matrix = coordinates.index_matrix_from_theta(oracle[None], side, side)
            x, y = coordinates.read_positions(matrix, side, side)
            at = torch.stack([x[0][region], y[0][region]], dim=1)
            possible.append((at - at.round()) * stride)
    found = floor.shifts(views, count)
    away = torch.cat(possible)
    if (away.abs() < 1e-5).all():
        assert not found
        return
    assert len(found) == count
    for shift in found:
        pixels = torch.tensor([shift.dx, shift.dy], dtype=torch.float64)
        # up to a quarter turn
        known = torch.cat([away, away.flip(1)]).abs()
        assert float((known - pixels.abs()).amax(1).min()) < 1e-5
        assert float(pixels.abs().max()) > 1e-6


@pytest.mark.parametrize("move", [*QUARTERS, ip.Reflection(45), ip.Reflection(90)])
def test_shifts_lie_on_the_field_as_the_moved_cells_do(move: ip.Transform) -> None:
    """As far beside the cells, and along the same axis of the content, as moved cells lie."""
    side, stride = 12, 4.0
    layer = _layer((stride, stride), side, offset=(0.5, 1.0))
    view = View(layer, [move], (48, 48), 1.0, torch.device("cpu"))
    back = torch.linalg.inv(coordinates.homogeneous(view.oracle))[:, :2]
    matrix = coordinates.index_matrix_from_theta(back, side, side)
    lies = [read[0, 0, 0] for read in coordinates.read_positions(matrix, side, side)]
    beside = [abs(float(at - at.round())) * stride for at in lies]
    (shift,) = floor.shifts([view], 1)
    assert [abs(shift.dx), abs(shift.dy)] == pytest.approx(beside, abs=1e-5)


def test_many_copies_are_shifted_in_many_ways() -> None:
    """Eight copies for a rotation by 30 degrees are shifted in eight ways."""
    view = View(_layer((8.0, 8.0), 12), [ip.Rotation(30)], (96, 96), 1.0, torch.device("cpu"))
    assert len(set(floor.shifts([view], 8))) == 8


def _naive(layer: Layer, move: ip.Transform, size: int, exponent: float) -> tuple[float, float]:
    """What the field and its spline leave, cell by cell, sum by sum."""
    matrix = coordinates.index_matrix_from_theta(
        layer.oracle(move.matrix, size, size)[None], layer.height, layer.width
    )[0]
    back = torch.linalg.inv(matrix)
    (region,) = regions.visible(
        layer.oracle(move.matrix, size, size)[None], layer.height, layer.width
    )
    stride = torch.tensor([layer.stride_x, layer.stride_y], dtype=torch.float64)
    # a wide map with a single 1 in its middle: how a spline spreads a cell
    wide, middle = 41, 20
    delta = torch.zeros(1, 1, wide, wide, dtype=torch.float64)
    delta[0, 0, middle, middle] = 1

    def quadratic(points: Tensor, signed: Tensor) -> float:
        square = (points[:, None] - points).mul(stride).square().sum(2)
        return float(signed @ (square + floor.PIXEL**2).pow(exponent / 2) @ signed)

    field = spline = 0.0
    axis = torch.arange(-14, 15, dtype=torch.float64)
    lattice = torch.cartesian_prod(axis, axis)
    for y, x in region.nonzero().tolist():
        cell = torch.tensor([x, y], dtype=torch.float64)
        at = matrix[:2, :2] @ cell + matrix[:2, 2]
        lags, signed = [torch.zeros(2, dtype=torch.float64)], [-1.0]
        held = torch.zeros(len(lattice), dtype=torch.float64)
        held[(lattice == 0).all(1)] = -1
        for right, down in product((0, 1), repeat=2):
            tap = at.floor() + torch.tensor([right, down])
            weight = float((1 - (at - tap).abs()).prod())
            lag = back[:2, :2] @ tap + back[:2, 2] - cell
            lags.append(lag)
            signed.append(weight)
            away = torch.eye(3, dtype=torch.float64)
            away[:2, 2] = lag
            (kernel,) = rendering.read(delta, [away], (wide, wide), [None])
            # what cell n passes on to the lag is what the spread cell holds at lag - n
            rows, columns = (middle - lattice[:, 1]).long(), (middle - lattice[:, 0]).long()
            held += weight * kernel[0, 0, rows, columns]
        field += quadratic(torch.stack(lags), torch.tensor(signed, dtype=torch.float64))
        spline += quadratic(lattice, held)
    return field, spline


@pytest.mark.parametrize("exponent", [-1.9, 0.5, 1.9])
@pytest.mark.parametrize(
    ("stride", "move"),
    [((2.0, 2.0), ip.Rotation(30)), ((4.0, 1.0), ip.Scaling(1.3)), ((2.0, 2.0), ip.Rotation(90))],
)
def test_factors_are_the_sums_that_define_them(
    stride: tuple[float, float],
    move: ip.Transform,
    exponent: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every pair of taps, and of cells under the spline that images are read by, one by one."""
    monkeypatch.setattr(floor, "EXPONENTS", torch.tensor([exponent, 3.9], dtype=torch.float64))
    side, size = 6, round(6 * max(stride))
    layer = _layer(stride, side)
    field, spline = _naive(layer, move, size, exponent)
    # the spline's border, sixteen cells away, and the lattice's end
    assert float(_factors(layer, move, size)[0]) == pytest.approx(field / spline, rel=1e-4)


@settings(max_examples=40)
@given(
    stride=st.tuples(st.sampled_from([1.0, 2.0, 4.0, 8.0]), st.sampled_from([1.0, 2.0, 4.0, 8.0])),
    move=st.one_of(
        st.builds(ip.Rotation, st.floats(-180, 180)),
        st.builds(ip.Scaling, st.floats(0.5, 2)),
        st.builds(ip.Translation, st.floats(-4, 4), st.floats(-4, 4)),
    ),
)
def test_the_finer_the_detail_the_more_is_missed(
    stride: tuple[float, float], move: ip.Transform
) -> None:
    """Factors are positive and end at 1; those of detail like noise are not below the others."""
    size = 8 * round(max(stride))
    by_exponent = _factors(_layer(stride, 8), move, size)
    assert by_exponent.isfinite().all()
    assert (by_exponent > 0).all()
    assert by_exponent[-1] == 1
    # along an axis of stride 1 detail ends at the pixel, and a spline may show more than there is
    assert by_exponent[0] >= 0.95 * by_exponent.max()


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
@pytest.mark.parametrize(
    "move", [ip.Rotation(0), ip.Rotation(90), ip.Translation(8), ip.Reflection(45)]
)
def test_where_cells_meet_cells_there_is_nothing_to_miss(move: ip.Transform, mode: str) -> None:
    """The factor is 1 for every exponent; so it is where nothing is in sight."""
    layer = _layer((4.0, 4.0), 12, offset=(1.5, 1.5))
    assert (_factors(layer, move, 48, mode) == 1).all()
    assert (_factors(layer, ip.Translation(100, 3), 48, mode) == 1).all()


@pytest.mark.parametrize("spectrum", [2.5, 3.5])
def test_the_exponent_of_a_known_field_is_found(spectrum: float) -> None:
    """Noise whose power falls like frequency^-a has the exponent a - 2, its pixels apart."""
    size, stride = 160, 8
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(6, 4, size, size, dtype=torch.float64, generator=generator)
    rows, columns = torch.fft.fftfreq(size)[:, None], torch.fft.rfftfreq(size)
    gain = (rows.square() + columns.square()).clamp(min=(1 / size) ** 2).pow(-spectrum / 4)
    fields = torch.fft.irfft2(torch.fft.rfft2(noise) * gain, s=(size, size))
    result = ip.probe(
        Every(stride, stride),
        fields,
        layers="(model)",
        transforms=[ip.Rotation(30), ip.Rotation(70), ip.Scaling(1.3)],
        methods=["oracle", "floor"],
        crop=112,
        dtype="float64",
    )
    assert result.config["floor"]["exponents"]["(model)"] == pytest.approx(spectrum - 2, abs=0.35)
    means = _residuals(result).groupby("transform_number").mean()
    assert (means["oracle"] / means["floor"]).between(0.8, 1.25).all()


def test_what_shifts_leave_beyond_noise_is_not_the_grid_s() -> None:
    """A layer that knows positions, and smooth images: the factor is that of noise, no more."""

    class Waves(nn.Module):
        """Where cells lie is measured without biases, so that it does not disturb that."""

        def __init__(self) -> None:
            super().__init__()
            self.bias = nn.Parameter(torch.tensor([3.0]))

        def forward(self, images: Tensor) -> Tensor:
            maps = nn.functional.max_pool2d(images, 1, 4)
            cells = torch.arange(maps.shape[-1])
            wave = torch.sin(cells * torch.pi / 4)
            return maps * (1 + self.bias * (wave + wave[:, None]))

    coarse = torch.rand(4, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    smooth = nn.functional.interpolate(coarse, 96, mode="bicubic")
    result = ip.probe(
        Waves(),
        smooth,
        layers="(model)",
        transforms=[ip.Rotation(30)],
        crop=64,
        methods=["floor"],
    )
    assert result.config["floor"]["exponents"]["(model)"] == floor.EXPONENTS[0]


def test_constant_maps_tell_nothing() -> None:
    """Without anything to see there is no exponent, and no floor, with the reason."""
    flat = nn.Conv2d(3, 2, 1)
    nn.init.zeros_(flat.weight)
    result = ip.probe(
        flat,
        torch.rand(3, 3, 16, 16),
        layers="(model)",
        transforms=[ip.Rotation(30)],
        methods=["floor"],
    )
    assert set(result.config["floor"]["exponents"].values()) == {None}
    assert result.frame()["value"].isna().all()
    assert set(result.frame()["outcome"]) == {"constant"}


def test_layers_of_several_strides_are_served_by_the_same_copies(pictures: Tensor) -> None:
    """Each has its own exponent, from the same shifts."""
    net = nn.Sequential(
        nn.Conv2d(3, 8, 5, stride=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 8, 3)
    )
    turns: Sequence[ip.Transform] = [ip.Rotation(30), ip.Rotation(90)]
    result = ip.probe(
        net, pictures, layers=["1", "3"], transforms=turns, methods=["floor"], crop=64
    )
    told = result.config["floor"]
    assert all(isinstance(one, float) for one in told["exponents"].values())
    assert set(told["exponents"]) == {"1", "3"}
    assert told["exponents"]["1"] != told["exponents"]["3"]


def test_recovery_has_the_same_floor(pictures: Tensor) -> None:
    """What is put back rests on the same copies, and the same exponent, as the floor of a probe."""
    net = nn.Sequential(_pooled_c4(2), nn.Flatten())
    options = {"layers": "0", "transforms": [ip.Rotation(30)], "methods": ["floor"], "crop": 33}
    probed, recovered = (
        measure(net, pictures, device="cpu", **options).config["floor"]
        for measure in (ip.probe, ip.recover)
    )
    assert probed["shifts"] == recovered["shifts"]
    # a probe's images lie channels last in memory, and convolutions then add in another order
    for name in ("exponents", "errors"):
        assert probed[name] == pytest.approx(recovered[name], rel=1e-4)
