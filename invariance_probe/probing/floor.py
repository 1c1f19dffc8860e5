"""What the grid costs: the residual that a perfect layer would leave, the method ``floor``.

Take a layer whose features, as a field over the plane, move with the image exactly. Its map is that
field, read at the cells. After a transform T the cells lie elsewhere on the field; read back, the
map misses what lies between them, and that is all that such a layer leaves. So the floor is

    the mean over the region of  | sum_q w_q phi(T^-1 q) - phi(p) |^2,

phi the field, p a cell, q the cells of the moved map around T p and w_q the weights of reading there.
phi between cells is taken from the map itself by a cubic spline (`Pairs.sent`), which is enough
where the cells lie close. Where they do not, under a stride, the map cannot tell what lies between
them. Copies of some images, shifted by parts of a cell, can: under a shift every convolution and
pooling is perfect but for its grid (claims P1 and P14), and what a shift leaves *is* the floor of
that shift. How much more it is than the map's own spline shows depends on how fine the detail of
the field is. That is one number a layer, the exponent e of a power law: the semivariogram of phi,
mean |phi(p + d) - phi(p)|^2 / 2, grows like (|d|^2 + pixel^2)^(e / 2) (a multiquadric: Hardy,
"Multiquadric equations of topography and other irregular surfaces", 1971). Means of squares of any
weighted sum whose weights add up to 0 follow from it (Matheron, "The intrinsic random functions and
their applications", 1973; Chiles and Delfiner, "Geostatistics", 2012, sections 2.1 and 4.5), so that
e gives, for every other transform, the factor between the floor and what the spline shows. Detail as
fine as white noise is the most that a grid can hide: what a shift leaves beyond that, at borders or
in a layer that looks at the position, is not counted as the grid's.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from invariance_probe.network.features import Layer
from invariance_probe.plane import coordinates, sampling
from invariance_probe.plane.transforms import Translation
from invariance_probe.probing.pairs import Pairs, View
from invariance_probe.probing.passes import ForwardPasses
from invariance_probe.results.methods import Method

COST = 0.1
"""Share of the run's forward passes that the floor may add; a run of fewer than ten adds one."""
COPIES = 8
"""Shifted copies that a run of few images makes of them, if it may; others make one an image."""
EXPONENTS = torch.arange(-19, 40, 2, dtype=torch.float64) / 10
"""From detail like white noise to none: at 4 the map's own spline shows all. At 0 and 2 the power
is a polynomial, of which nothing is left between cells."""
PIXEL = math.sqrt(0.5)
"""From the centre of a pixel to its corner, in pixels: images hold no finer detail."""

_CELLS = 128
"""Cells of a region over which factors are averaged."""
_DECAYED = 10
"""Cells after which the weights of a cubic spline have fallen to 0.27^10 < 1e-5."""


@dataclass
class _Evidence:
    """What shifts left in a layer: one entry a shifted copy.

    Attributes:
        left: What the oracle warp left.
        shown: What the map's own spline shows of that.
        factors: The ratio of the two, by exponent.
    """

    left: list[float] = field(default_factory=list)
    shown: list[float] = field(default_factory=list)
    factors: list[Float[Tensor, " exponent"]] = field(default_factory=list)

    def weights(self) -> Float[Tensor, " exponent"] | None:
        """Find the exponent that makes the floors of the shifts what the shifts left.

        Returns:
            Weights of the two `EXPONENTS` next to it; None where no shift tells.
        """
        shown = torch.tensor(self.shown, dtype=torch.float64)
        if float(shown.sum()) == 0:
            return None
        # the finer the detail the greater the factor; cells drawn for the mean may blur that
        expected = (shown @ torch.stack(self.factors)).flip(0).cummax(0).values
        place = int(torch.searchsorted(expected, sum(self.left)))
        weights = torch.zeros_like(expected)
        if place in {0, len(expected)}:
            weights[min(place, len(expected) - 1)] = 1
        else:
            below, above = expected[place - 1 : place + 1].tolist()
            weights[place] = (sum(self.left) - below) / (above - below)
            weights[place - 1] = 1 - weights[place]
        return weights.flip(0)


class Floor:
    """Measures, with shifted copies of some images, what the grids of a run's layers cost.

    Args:
        passes: The run's forward passes.
        views: Its layers; their `View.factor` is what is found out.
    """

    def __init__(self, passes: ForwardPasses, views: Sequence[View]) -> None:
        self._passes, self._views = passes, views
        images, wanted = len(passes.order), Method.FLOOR in passes.options.compared
        # one pass an image for the channel means, one as it is and one under each transform
        allowed = max(1, int(COST * images * (2 + len(passes.moves))))
        copies = min(allowed, max(images, COPIES)) if wanted else 0
        self._shifts: dict[int, list[Translation]] = {}
        for place, shift in enumerate(shifts([view.layer for view in views], copies)):
            self._shifts.setdefault(passes.order[place % images], []).append(shift)
        self._evidence = {view.layer.name: _Evidence() for view in views}
        self._exponents: dict[str, float | None] = {}

    @property
    def about(self) -> dict[str, dict[str, Any]]:
        """What to write into the run's configuration, if it has the method.

        ``floor``: ``shifts``, an image and pixels along x and y for each copy, and ``exponents``,
        by layer, None where no copy told.
        """
        names = self._passes.source.names
        shifted = [
            [names[number], shift.dx, shift.dy]
            for number, some in self._shifts.items()
            for shift in some
        ]
        return {"floor": {"shifts": shifted, "exponents": self._exponents}} if shifted else {}

    def look(
        self,
        numbers: Sequence[int],
        maps: Mapping[str, Float[Tensor, "image channel height width"]],
    ) -> None:
        """Shift those of some images that are to be shifted.

        Args:
            numbers: Numbers of the images.
            maps: Their maps as they are, by layer.
        """
        chosen = [
            (place, shift)
            for place, number in enumerate(numbers)
            for shift in self._shifts.get(number, [])
        ]
        if not chosen:
            return
        passes = self._passes
        moved = passes.shifted([numbers[place] for place, _ in chosen], [s for _, s in chosen])
        for layer in (view.layer for view in self._views):
            for one, (place, shift) in enumerate(chosen):
                view = View(layer, [shift], passes.size, passes.options.margin, passes.device)
                reference = maps[layer.name][place : place + 1]
                view.add_to_mean(reference)
                pair = Pairs(view, [0], [0], reference, moved[layer.name][None, one : one + 1])
                self._take(pair, self._evidence[layer.name])

    def _take(self, pair: Pairs, evidence: _Evidence) -> None:
        """Write down what one shift left, if there was anything to see."""
        options = self._passes.options
        mode = options.search.mode
        warped = sampling.warp(pair.moved, pair.oracle, mode=mode)
        left = float(pair.target.score(warped).fvu)
        shown = float(pair.target.score(pair.perfect(mode, options.antialias)).fvu)
        if math.isfinite(left):
            evidence.left.append(left)
            evidence.shown.append(shown)
            view = pair.view
            evidence.factors.append(factors(view.layer, view.oracle[0], view.region[0], mode))

    def settle(self) -> None:
        """Write the factors of all transforms into the views."""
        mode = self._passes.options.search.mode
        for view in self._views:
            weights = self._evidence[view.layer.name].weights()
            known = weights is not None
            self._exponents[view.layer.name] = float(weights @ EXPONENTS) if known else None
            for number in range(len(view.oracle)) if known else ():
                by_exponent = factors(view.layer, view.oracle[number], view.region[number], mode)
                view.factor[number] = weights @ by_exponent


def shifts(layers: Sequence[Layer], count: int) -> list[Translation]:
    """Choose shifts that move the cells of every layer to places between its cells.

    Args:
        layers: The layers.
        count: Number of shifts.

    Returns:
        Shifts by at most half of the longest stride; whole pixels, if all strides are 2 or more.
    """
    strides = torch.tensor([(one.stride_x, one.stride_y) for one in layers], dtype=torch.float64)
    step = min(1.0, float(strides.min()) / 2)
    most = int(strides.max() / 2 / step + 1e-9)
    along = step * torch.arange(-most, most + 1, dtype=torch.float64)
    every = torch.cartesian_prod(along, along)
    # 0 on the cells, most in the middle between four of them; what lies between cells far apart
    # counts for more, and of the layers the one that sees least decides
    between = torch.sin(math.pi * every[:, None] / strides).square()
    seen = (between * strides / strides.amax(1, keepdim=True)).sum(2).amin(1)
    useful = every[seen >= seen.max() / 2].tolist()
    # golden section: any number of them is spread over all
    places = [int((0.5 + 0.618034 * number) % 1 * len(useful)) for number in range(count)]
    return [Translation(*useful[place]) for place in places]


def factors(
    layer: Layer,
    oracle: Float[Tensor, "2 3"],
    region: Bool[Tensor, "height width"],
    mode: str,
) -> Float[Tensor, " exponent"]:
    """Compute how many times what the map's own spline shows a perfect layer leaves.

    Args:
        layer: Its strides count: detail is as fine along x as along y in pixels, not in cells.
        oracle: The oracle warp.
        region: Cells that are compared.
        mode: Sampler that the moved map is read with.

    Returns:
        By `EXPONENTS`; 1 where the warp leads from cells to cells, and nothing is left.
    """
    matrix = coordinates.index_matrix_from_theta(oracle[None].cpu(), layer.height, layer.width)[0]
    cells = region.cpu().nonzero().flip(1).double()
    spread = (0.5 + 0.618034 * torch.arange(_CELLS)) % 1 * len(cells)
    cells = cells[spread.long()] if len(cells) > _CELLS else cells
    taps, weights = _taps(_snapped(_applied(matrix, cells)), mode)
    # where, from their cell, the taps lie on the field
    lags = _snapped(_applied(torch.linalg.inv(matrix), taps) - cells[:, None])
    stride = torch.tensor([layer.stride_x, layer.stride_y], dtype=torch.float64)
    if not bool((weights * lags.abs().amax(2)).any()):
        return torch.ones_like(EXPONENTS)
    return _left(lags * stride, weights) / _shown(lags, weights, stride)


def _left(lags: Float[Tensor, "cell tap 2"], weights: Float[Tensor, "cell tap"]) -> Tensor:
    """What reading a field at taps leaves of it at their cell, up to a sign, by exponent."""
    points = torch.cat([lags, torch.zeros_like(lags[:, :1])], dim=1)
    signed = torch.cat([weights, -torch.ones_like(weights[:, :1])], dim=1)
    square = (points[:, :, None] - points[:, None]).square().sum(3)
    return _powers(square) @ (signed[:, :, None] * signed[:, None]).flatten()


def _shown(
    lags: Float[Tensor, "cell tap 2"], weights: Float[Tensor, "cell tap"], stride: Tensor
) -> Tensor:
    """The same if the taps are read from a spline through the field at the cells."""
    reach = math.ceil(float(lags.abs().max())) + _DECAYED
    at = torch.arange(-reach, reach + 1, dtype=torch.float64)
    along_x, along_y = _spline(lags[:, :, None] - at[:, None]).unbind(3)
    held = torch.einsum("jt,jty,jtx->jyx", weights, along_y, along_x)
    held[:, reach, reach] -= 1
    # sum over pairs of cells, which depends on their distance alone: the autocorrelation
    size = 2 * len(at)
    together = torch.fft.irfft2(torch.fft.rfft2(held, s=(size, size)).abs().square().sum(0))
    apart = size * torch.fft.fftfreq(size, dtype=torch.float64)
    square = (apart * stride[0]).square() + (apart[:, None] * stride[1]).square()
    return _powers(square) @ together.flatten()


def _powers(square: Tensor) -> Float[Tensor, "exponent lag"]:
    """The semivariograms, but for a constant, of squared distances in pixels."""
    return (square.flatten() + PIXEL**2).pow(EXPONENTS[:, None] / 2)


def _taps(
    at: Float[Tensor, "cell 2"], mode: str
) -> tuple[Float[Tensor, "cell tap 2"], Float[Tensor, "cell tap"]]:
    """The cells that a map is read from at some positions, and their weights."""
    near = torch.arange(0, 2) if mode == "bilinear" else torch.arange(-1, 3)
    taps = at.floor()[:, None] + torch.cartesian_prod(near, near)
    away = (at[:, None] - taps).abs()
    if mode == "bilinear":
        return taps, (1 - away).prod(2)
    # Keys' kernel, a = -0.75, within one cell and beyond
    inner = (1.25 * away - 2.25) * away.square() + 1
    outer = -0.75 * (((away - 5) * away + 8) * away - 4)
    return taps, torch.where(away < 1, inner, outer).prod(2)


def _spline(away: Tensor) -> Tensor:
    """Weight of a cell in the cubic spline through all, by distance.

    Unser, "Splines: a perfect fit for signal and image processing" (1999): B-splines, with
    coefficients 3^(1/2) z^|m|, z = 3^(1/2) - 2.
    """
    nearest = away.round()
    total = torch.zeros_like(away)
    for step in range(-2, 3):
        apart = (away - nearest - step).abs()
        inner, outer = 2 / 3 - apart.square() + apart.pow(3) / 2, (2 - apart).clamp(min=0).pow(3) / 6
        coefficient = math.sqrt(3) * (math.sqrt(3) - 2) ** (nearest + step).abs()
        total += coefficient * torch.where(apart < 1, inner, outer)
    return total


def _applied(matrix: Float[Tensor, "3 3"], points: Float[Tensor, "*batch 2"]) -> Tensor:
    """Where an affine map sends points."""
    return points @ matrix[:2, :2].T + matrix[:2, 2]


def _snapped(points: Tensor) -> Tensor:
    """Points on the cells that they lie on but for rounding."""
    near = points.round()
    return torch.where((points - near).abs() <= coordinates.LATTICE_TOLERANCE, near, points)
