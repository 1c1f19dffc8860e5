"""What the grid costs: the residual that a perfect layer would leave, the method ``floor``.

Take a layer whose features, as a field phi over the plane, move with the image exactly. Its map is
phi, read at the cells. After a transform T the cells lie elsewhere on the field; the map that is
warped back misses what lies between them, and that is all that such a layer leaves. So the floor is

    the mean over the region of  | sum_q w_q phi(T^-1 q) - phi(p) |^2

(over the same variance as every residual), p a cell, q the cells of the moved map around T p, and
w_q the weights of reading there. Where cells lie close, a cubic spline through the map is phi
(`Pairs.sent`). Where they do not, under a stride, a map cannot tell what lies between its cells.
Copies of some images, shifted by parts of a cell, can: under a shift every convolution and pooling
is perfect but for its grid (claims P1 and P14), so that what a shift leaves is the floor of that
shift.

How much more it is than the spline shows depends on how fine phi's detail is. One exponent e a
layer stands for that: the semivariogram of phi, mean |phi(p + d) - phi(p)|^2 / 2, is taken to grow
like (|d|^2 + `PIXEL`^2)^(e / 2), d in pixels (a multiquadric: Hardy, "Multiquadric equations of
topography and other irregular surfaces", 1971). The mean square of any sum of values of phi whose
weights add up to 0 follows from it (Cressie, "Statistics for spatial data", 1993, chapter 2), so
that e, fitted to the shifts, gives the factor between floor and spline for every other transform.
White noise is the finest detail: what a shift leaves beyond that, at borders or in a layer that
knows positions, is not counted as the grid's.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from jaxtyping import Bool, Float
from scipy.fft import next_fast_len
from torch import Tensor

from invariance_probe.machine import in_order
from invariance_probe.network.features import Layer
from invariance_probe.plane import coordinates
from invariance_probe.plane.transforms import Translation
from invariance_probe.probing.pairs import Pairs, View
from invariance_probe.probing.passes import ForwardPasses
from invariance_probe.results.methods import Method
from invariance_probe.statistics import FEWEST

COST = 0.1
"""Share of a run's forward passes that the floor may add; a run of fewer than ten adds one."""
COPIES = 8
"""Shifted copies that a run of fewer images makes, if it may; others make one an image at most."""
EXPONENTS = torch.arange(-19, 40, 2, dtype=torch.float64) / 10
"""From detail like white noise to none. Those below 2 are of semivariograms (not 0, a constant);
from there the factor falls by equal ratios to 1, where the spline shows all."""
PIXEL = math.sqrt(0.5)
"""From the centre of a pixel to its corner, in pixels: images hold no finer detail."""

_CELLS = 128
"""Cells of a region over which a factor is averaged."""
_DECAYED = 10
"""Cells after which the weights of a cubic spline have fallen to 0.27^10 < 1e-5."""
_FEW = 0.3
"""Relative standard error, on photographs and controls, of what a floor is more than the spline
shows, if it rests on one or two copies."""
_GOLDEN = (math.sqrt(5) - 1) / 2
"""Multiples of it, modulo 1, are spread evenly, however many they are."""


class Floor:
    """Measures, with shifted copies of some images, what the grids of a run's layers cost.

    Args:
        passes: The run's forward passes; nothing is measured without the method ``floor``.
        views: The run's layers; what is found out is their `View.factor`.
    """

    def __init__(self, passes: ForwardPasses, views: Sequence[View]) -> None:
        self._passes, self._views = passes, views
        images, wanted = len(passes.shuffled), Method.FLOOR in passes.options.compared
        # a pass an image for the channel means, one as it is, one under each transform
        allowed = max(1, int(COST * images * (2 + len(passes.moves))))
        copies = min(allowed, max(images, COPIES)) if wanted else 0
        self._shifts: dict[int, list[Translation]] = {}
        self._rows: dict[int, list[int]] = {}
        for place, shift in enumerate(shifts(views, copies)):
            number = passes.shuffled[place % images]
            self._shifts.setdefault(number, []).append(shift)
            self._rows.setdefault(number, []).append(place)
        made = sum(map(len, self._shifts.values()))
        # a row a copy, NaN until it is made, or where it shows nothing
        self.copies = {
            view.layer.name: torch.full((made, 2 + len(EXPONENTS)), torch.nan, dtype=torch.float64)
            for view in views
        }
        self._exponents: dict[str, float | None] = {}
        self._errors: dict[str, float] = {}

    @property
    def about(self) -> dict[str, dict[str, Any]]:
        """What the run's configuration has to say of it.

        ``floor``, if that was measured: ``shifts``, image and pixels along x and y for each copy;
        by layer ``exponents``, None where no copy told, and ``errors``, relative standard errors
        that all floors of a layer have in common, as they rest on the same copies.
        """
        names = self._passes.source.names
        shifted = [
            [names[number], shift.dx, shift.dy]
            for number, some in self._shifts.items()
            for shift in some
        ]
        told = {"shifts": shifted, "exponents": self._exponents, "errors": self._errors}
        return {"floor": told} if shifted else {}

    def look(
        self,
        numbers: Sequence[int],
        maps: Mapping[str, Float[Tensor, "image channel height width"]],
    ) -> None:
        """Shift those of some images that are to be shifted, and see what is left.

        Args:
            numbers: Numbers of the images.
            maps: Their maps as they are, by layer.
        """
        chosen = [
            (place, shift)
            for place, number in enumerate(numbers)
            for shift in self._shifts.get(number, [])
        ]
        rows = [row for number in numbers for row in self._rows.get(number, [])]
        if not chosen:
            return
        passes = self._passes
        moved = passes.shifted([numbers[place] for place, _ in chosen], [s for _, s in chosen])

        def see(layer: Layer, copy: int) -> None:
            place, shift = chosen[copy]
            view = View(layer, [shift], passes.size, passes.options.margin, passes.device)
            reference = maps[layer.name][place : place + 1]
            view.add_to_mean(reference)
            pair = Pairs(view, [0], [0], reference, moved[layer.name][None, copy : copy + 1])
            seen = _Copy.of(pair, passes.options.search.mode, passes.options.antialias)
            self.copies[layer.name][rows[copy]] = seen.row

        tasks = (
            partial(see, view.layer, copy) for view in self._views for copy in range(len(chosen))
        )
        for _ in in_order(tasks, passes.device):
            pass

    def settle(self) -> None:
        """Write the factors of all transforms into the views, when all images have been seen."""
        for view in self._views:
            name = view.layer.name
            self._exponents[name], self._errors[name] = None, 0.0
            rows = self.copies[name]
            copies = [_Copy.from_row(row) for row in rows[rows[:, 0].isfinite()]]
            if any(copy.shown for copy in copies):
                fit = _Fit(copies)
                self._exponents[name] = float(fit.weights @ EXPONENTS)
                self._errors[name] = fit.error()
                by_exponent = torch.stack(self._factors(view))
                view.factor = (by_exponent @ fit.weights).to(view.factor)

    def _factors(self, view: View) -> list[Float[Tensor, " exponent"]]:
        """Factors of all transforms."""
        mode = self._passes.options.search.mode
        tasks = (
            partial(factors, view.layer, oracle, region, mode)
            for oracle, region in zip(view.oracle, view.region, strict=True)
        )
        return list(in_order(tasks, self._passes.device))


@dataclass(frozen=True, kw_only=True)
class _Copy:
    """What a shift of an image left of a layer.

    Attributes:
        left: What the oracle warp left, as a fraction of the image's own variance.
        shown: What it would have left by the map's own spline.
        factors: The ratio of the two, by exponent.
    """

    left: float
    shown: float
    factors: Float[Tensor, " exponent"]

    @property
    def row(self) -> Float[Tensor, " number"]:
        """All of it, side by side."""
        return torch.cat([torch.tensor([self.left, self.shown]).to(self.factors), self.factors])

    @classmethod
    def from_row(cls, row: Float[Tensor, " number"]) -> "_Copy":
        """Read what `row` wrote."""
        return cls(left=float(row[0]), shown=float(row[1]), factors=row[2:])

    @classmethod
    def of(cls, pair: Pairs, mode: str, antialias: bool) -> "_Copy":
        """See what one shift left; NaN if there is nothing to see."""
        return cls(
            left=float(pair.target.score_warp(pair.moved, pair.oracle, mode).fvu),
            shown=float(pair.score_perfect(mode, antialias).fvu),
            factors=factors(pair.view.layer, pair.oracle[0], pair.region[0], mode),
        )


class _Fit:
    """The exponent by which shifts leave, together, what they left.

    Args:
        copies: What they left.

    Attributes:
        weights: Of the two `EXPONENTS` next to it.
    """

    def __init__(self, copies: Sequence[_Copy]) -> None:
        self._left, self._shown = torch.tensor(
            [(copy.left, copy.shown) for copy in copies], dtype=torch.float64
        ).T
        self._by_exponent = self._shown[:, None] * torch.stack([copy.factors for copy in copies])
        # it falls with the exponent, up to what the choice of cells does to the factors
        expected = self._by_exponent.sum(0).flip(0).cummax(0).values
        target = self._left.sum().clamp(expected[0], expected[-1])
        above = max(1, int(torch.searchsorted(expected, target)))
        step = expected[above] - expected[above - 1]
        weights = torch.zeros_like(expected)
        weights[above] = (target - expected[above - 1]) / step if step else 0.0
        weights[above - 1] = 1 - weights[above]
        self.weights: Float[Tensor, " exponent"] = weights.flip(0)

    def error(self) -> float:
        """Estimate the relative standard error of floors that rest on this fit."""
        expected = self._by_exponent @ self.weights
        copies = len(expected)
        if copies < FEWEST:
            return _FEW * (1 - float(self._shown.sum() / expected.sum()))
        spread = (self._left - expected).norm() * math.sqrt(copies / (copies - 1))
        return float(spread / expected.sum())


def shifts(views: Sequence[View], count: int) -> list[Translation]:
    """Choose shifts that lead to where the transforms of a run lead between the cells.

    Args:
        views: The layers, under the transforms.
        count: Number of shifts.

    Returns:
        Shifts by at most half a stride of some layer, whole pixels where transforms move pixels to
        pixels; none if every transform leads from cells to cells.
    """
    between = []
    for number in range(len(views[0].oracle)):
        for view in views:
            matrix, _, at = _moved(view.layer, view.oracle[number], view.region[number])
            away = at - at.round()
            stride = torch.tensor([view.layer.stride_x, view.layer.stride_y], dtype=torch.float64)
            if stride[0] == stride[1]:  # along the content's axes, as it may be finer along one
                away = away @ _nearest_quarter(matrix)
            between.append((away * stride)[away.any(1)])
    between = [pixels for pixels in between if len(pixels)]
    chosen = _spread(count, len(between)).tolist() if between else []
    cells = [_spread(count, len(between[one]))[copy] for copy, one in enumerate(chosen)]
    return [
        Translation(*between[one][cell].tolist()) for one, cell in zip(chosen, cells, strict=True)
    ]


def factors(
    layer: Layer,
    oracle: Float[Tensor, "2 3"],
    region: Bool[Tensor, "height width"],
    mode: str,
) -> Float[Tensor, " exponent"]:
    """Compute how many times what the map's own spline shows a perfect layer leaves.

    Args:
        layer: Detail is as fine along x as along y in pixels, so that its strides count.
        oracle: The oracle warp.
        region: Cells that are compared.
        mode: Sampler that the moved map is read with.

    Returns:
        Factors by `EXPONENTS`; 1 where the warp leads from cells to cells and nothing is left.
    """
    matrix, cells, at = _moved(layer, oracle, region)
    taps, weights = _taps(at, mode)
    # where the taps lie on the field, from their cell
    lags = _snapped(_applied(torch.linalg.inv(matrix), taps) - cells[:, None])
    if not bool((weights * lags.abs().amax(2)).any()):
        return torch.ones_like(EXPONENTS)
    stride = torch.tensor([layer.stride_x, layer.stride_y], dtype=torch.float64)
    rough = _left(lags * stride, weights) / _shown(lags, weights, stride)
    smooth = EXPONENTS[len(rough) :]
    roughness = (EXPONENTS[-1] - smooth) / (EXPONENTS[-1] - EXPONENTS[len(rough) - 1])
    return torch.cat([rough, rough[-1] ** roughness])


def _moved(
    layer: Layer, oracle: Float[Tensor, "2 3"], region: Bool[Tensor, "height width"]
) -> tuple[Float[Tensor, "3 3"], Float[Tensor, "cell 2"], Float[Tensor, "cell 2"]]:
    """Where cells go, some of a region, spread over it, and where their content lies then."""
    matrix = coordinates.index_matrix_from_theta(oracle[None].cpu(), layer.height, layer.width)[0]
    cells = region.cpu().nonzero().flip(1).double()
    if len(cells) > _CELLS:
        cells = cells[_spread(_CELLS, len(cells))]
    return matrix, cells, _snapped(_applied(matrix, cells))


def _nearest_quarter(matrix: Float[Tensor, "3 3"]) -> Float[Tensor, "2 2"]:
    """The quarter turn or reflection that an affine map is most like."""
    straight = matrix[:2, :2] * torch.eye(2)
    crossed = matrix[:2, :2] - straight
    return (straight if straight.abs().sum() >= crossed.abs().sum() else crossed).sign()


def _left(lags: Float[Tensor, "cell tap 2"], weights: Float[Tensor, "cell tap"]) -> Tensor:
    """What reading the field at taps leaves of it at their cell: sums of squares, up to a sign."""
    points = torch.cat([lags, torch.zeros_like(lags[:, :1])], dim=1)
    signed = torch.cat([weights, -torch.ones_like(weights[:, :1])], dim=1)
    square = (points[:, :, None] - points[:, None]).square().sum(3)
    return _semivariograms(square) @ (signed[:, :, None] * signed[:, None]).flatten()


def _shown(
    lags: Float[Tensor, "cell tap 2"], weights: Float[Tensor, "cell tap"], stride: Tensor
) -> Tensor:
    """The same, if the taps are read from the spline through the field at the cells."""
    reach = math.ceil(float(lags.abs().max())) + _DECAYED
    # the cell itself is one tap more, which counts -1
    points = torch.cat([lags, torch.zeros_like(lags[:, :1])], dim=1)
    signed = torch.cat([weights, -torch.ones_like(weights[:, :1])], dim=1)
    along_x, along_y = _spline(points, reach).unbind(2)
    # a pair of cells counts by how far apart they are: products of weights, summed by distance.
    # Twice the length, or more, if that is quicker to transform
    size = next_fast_len(2 * along_x.shape[2], real=True)
    # of products of rows and columns each is transformed alone
    spectrum_x = torch.fft.rfft(along_x, size)
    spectrum_y = torch.fft.fft(signed[:, :, None] * along_y, size)
    spectrum = torch.view_as_real(spectrum_y.mT @ spectrum_x)
    products = torch.fft.irfft2(spectrum.square_().sum(0).sum(2), s=(size, size))
    # there and back are as far
    apart = (size * torch.fft.fftfreq(size)).round().long().abs()
    by_row = products.new_zeros(size // 2 + 1, size).index_add_(0, apart, products)
    folded = by_row.new_zeros(len(by_row), len(by_row)).index_add_(1, apart, by_row)
    steps = torch.arange(len(folded), dtype=torch.float64)
    square = (steps * stride[0]).square() + (steps[:, None] * stride[1]).square()
    left: Tensor = _semivariograms(square) @ folded.flatten()
    return left


def _semivariograms(square: Tensor) -> Float[Tensor, "exponent lag"]:
    """Those of exponents below 2, but for constants, at squared distances in pixels."""
    # a logarithm each and an exponential each time are quicker than powers
    return ((square.flatten() + PIXEL**2).log() * (EXPONENTS[EXPONENTS < 2][:, None] / 2)).exp()


def _taps(
    at: Float[Tensor, "cell 2"], mode: str
) -> tuple[Float[Tensor, "cell tap 2"], Float[Tensor, "cell tap"]]:
    """The cells that a map is read from at some positions, and their weights."""
    near = torch.arange(0, 2) if mode == "bilinear" else torch.arange(-1, 3)
    taps = at.floor()[:, None] + torch.cartesian_prod(near, near)
    away = (at[:, None] - taps).abs()
    if mode == "bilinear":
        return taps, (1 - away).prod(2)
    # Keys' kernel, a = -0.75, within a cell and beyond
    inner = (1.25 * away - 2.25) * away.square() + 1
    outer = -0.75 * (((away - 5) * away + 8) * away - 4)
    return taps, torch.where(away < 1, inner, outer).prod(2)


def _spline(at: Float[Tensor, "*batch"], reach: int) -> Float[Tensor, "*batch cell"]:
    """Weights of the cells from -reach to reach in the cubic spline through all, read somewhere."""
    # B-splines with coefficients 3^(1/2) z^|m|, z = 3^(1/2) - 2: Unser, "Splines: a perfect fit for
    # signal and image processing" (1999)
    start = at.floor()
    t = at - start
    s = 1 - t
    near = (s**3, 4 + t.square() * (3 * t - 6), 4 + s.square() * (3 * s - 6), t**3)
    away = torch.arange(-2 * reach, 2 * reach + 1, dtype=at.dtype)
    coefficients = math.sqrt(3) / 6 * (math.sqrt(3) - 2) ** away.abs()
    cells = torch.arange(-reach, reach + 1)
    index = start.long()[..., None] - cells + 2 * reach
    total = torch.zeros_like(index, dtype=at.dtype)
    for step, weight in zip((-1, 0, 1, 2), near, strict=True):
        total += weight[..., None] * coefficients[index + step]
    return total


def _applied(matrix: Float[Tensor, "3 3"], points: Float[Tensor, "*batch 2"]) -> Tensor:
    """Where an affine map sends points."""
    return points @ matrix[:2, :2].T + matrix[:2, 2]


def _snapped(points: Tensor) -> Tensor:
    """Points, on cells where they lie there but for rounding."""
    near = points.round()
    return torch.where((points - near).abs() <= coordinates.LATTICE_TOLERANCE, near, points)


def _spread(count: int, total: int) -> Tensor:
    """Some numbers below a total, spread over all."""
    return ((0.25 + _GOLDEN * torch.arange(count, dtype=torch.float64)) % 1 * total).long()
