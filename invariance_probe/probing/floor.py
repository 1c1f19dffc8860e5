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
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from invariance_probe.network.features import Layer
from invariance_probe.plane import coordinates, sampling
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
        for place, shift in enumerate(shifts(views, copies)):
            self._shifts.setdefault(passes.shuffled[place % images], []).append(shift)
        self._evidence = {view.layer.name: _Evidence() for view in views}
        self._exponents: dict[str, float | None] = {}

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
        errors = {name: evidence.error() for name, evidence in self._evidence.items()}
        told = {"shifts": shifted, "exponents": self._exponents, "errors": errors}
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
        if not chosen:
            return
        passes = self._passes
        moved = passes.shifted([numbers[place] for place, _ in chosen], [s for _, s in chosen])
        for layer in (view.layer for view in self._views):
            for copy, (place, shift) in enumerate(chosen):
                view = View(layer, [shift], passes.size, passes.options.margin, passes.device)
                reference = maps[layer.name][place : place + 1]
                view.add_to_mean(reference)
                pair = Pairs(view, [0], [0], reference, moved[layer.name][None, copy : copy + 1])
                self._evidence[layer.name].add(pair, *self._reading)

    def settle(self) -> None:
        """Write the factors of all transforms into the views."""
        mode, _ = self._reading
        for view in self._views:
            weights = self._evidence[view.layer.name].weights()
            self._exponents[view.layer.name] = None
            if weights is not None:
                self._exponents[view.layer.name] = float(weights @ EXPONENTS)
                every = zip(view.oracle, view.region, strict=True)
                by_exponent = [factors(view.layer, *each, mode) for each in every]
                view.factor = (torch.stack(by_exponent) @ weights).to(view.factor)

    @property
    def _reading(self) -> tuple[str, bool]:
        options = self._passes.options
        return options.search.mode, options.antialias


@dataclass
class _Evidence:
    """What shifts left of a layer, an entry a shifted copy.

    Attributes:
        left: What the oracle warp left.
        shown: What it would have left by the map's own spline.
        factors: The ratio of the two, by exponent.
    """

    left: list[float] = field(default_factory=list)
    shown: list[float] = field(default_factory=list)
    factors: list[Float[Tensor, " exponent"]] = field(default_factory=list)

    def add(self, pair: Pairs, mode: str, antialias: bool) -> None:
        """Take a shift in, if there is something to see."""
        view = pair.view
        warped = sampling.warp(pair.moved, pair.oracle, mode=mode)
        left, shown = (
            float(pair.target.score(maps).fvu) for maps in (warped, pair.perfect(mode, antialias))
        )
        if math.isfinite(left):
            self.left.append(left)
            self.shown.append(shown)
            self.factors.append(factors(view.layer, view.oracle[0], view.region[0], mode))

    def weights(self) -> Float[Tensor, " exponent"] | None:
        """Find the exponent by which the shifts leave, together, what they left.

        Returns:
            Weights of the two `EXPONENTS` next to it; None where no shift tells.
        """
        shown = torch.tensor(self.shown, dtype=torch.float64)
        if not shown.any():
            return None
        # it falls with the exponent, up to what the choice of cells does to the factors
        expected = (shown @ torch.stack(self.factors)).flip(0).cummax(0).values
        target = min(max(sum(self.left), float(expected[0])), float(expected[-1]))
        above = max(1, int(torch.searchsorted(expected, target)))
        below = above - 1
        step = float(expected[above] - expected[below])
        weights = torch.zeros_like(expected)
        weights[above] = (target - float(expected[below])) / step if step else 0.0
        weights[below] = 1 - weights[above]
        return weights.flip(0)

    def error(self) -> float:
        """Estimate the relative standard error of floors that rest on these shifts."""
        weights, copies = self.weights(), len(self.left)
        if weights is None:
            return 0.0
        left, shown = torch.tensor(self.left).double(), torch.tensor(self.shown).double()
        expected = shown * (torch.stack(self.factors) @ weights)
        if copies < FEWEST:
            return _FEW * (1 - float(shown.sum() / expected.sum()))
        spread = float((left - expected).norm()) * math.sqrt(copies / (copies - 1))
        return spread / float(expected.sum())


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
            _, at = _moved(view.layer, view.oracle[number], view.region[number])
            away = at - at.round()
            stride = torch.tensor([view.layer.stride_x, view.layer.stride_y], dtype=torch.float64)
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
    cells, at = _moved(layer, oracle, region)
    taps, weights = _taps(at, mode)
    # where the taps lie on the field, from their cell
    matrix = coordinates.index_matrix_from_theta(oracle[None].cpu(), layer.height, layer.width)[0]
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
) -> tuple[Float[Tensor, "cell 2"], Float[Tensor, "cell 2"]]:
    """Some cells of a region, spread over it, and where in the moved map their content lies."""
    matrix = coordinates.index_matrix_from_theta(oracle[None].cpu(), layer.height, layer.width)[0]
    cells = region.cpu().nonzero().flip(1).double()
    if len(cells) > _CELLS:
        cells = cells[_spread(_CELLS, len(cells))]
    return cells, _snapped(_applied(matrix, cells))


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
    at = torch.arange(-reach, reach + 1, dtype=torch.float64)
    along_x, along_y = _spline(lags[:, :, None] - at[:, None]).unbind(3)
    signed = torch.einsum("jt,jty,jtx->jyx", weights, along_y, along_x)
    signed[:, reach, reach] -= 1
    # a pair of cells counts by how far apart they are: products of weights, summed by distance
    size = 2 * len(at)
    products = torch.fft.irfft2(torch.fft.rfft2(signed, s=(size, size)).abs().square().sum(0))
    apart = size * torch.fft.fftfreq(size, dtype=torch.float64)
    square = (apart * stride[0]).square() + (apart[:, None] * stride[1]).square()
    left: Tensor = _semivariograms(square) @ products.flatten()
    return left


def _semivariograms(square: Tensor) -> Float[Tensor, "exponent lag"]:
    """Those of exponents below 2, but for constants, at squared distances in pixels."""
    return (square.flatten() + PIXEL**2).pow(EXPONENTS[EXPONENTS < 2][:, None] / 2)


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


def _spline(away: Tensor) -> Tensor:
    """Weight of a cell, by its distance, in the cubic spline through all."""
    # B-splines with coefficients 3^(1/2) z^|m|, z = 3^(1/2) - 2: Unser, "Splines: a perfect fit for
    # signal and image processing" (1999)
    nearest = away.round()
    total = torch.zeros_like(away)
    for step in range(-2, 3):
        apart = (away - nearest - step).abs()
        inner = 2 / 3 - apart.square() + apart.pow(3) / 2
        outer = (2 - apart).clamp(min=0).pow(3) / 6
        coefficient = math.sqrt(3) * (math.sqrt(3) - 2) ** (nearest + step).abs()
        total += coefficient * torch.where(apart < 1, inner, outer)
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
