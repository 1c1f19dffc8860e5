"""Mixings of channels in a probe: fitted on some folds of the images, scored on the others.

A run goes through three objects, each made from the one before it. `Sums` collects second moments
in a first reading of the images; `Sums.fit` gives `Fits`, the mixings, which a `Turn` improves
where warp and mixing are found in turns; `HeldOut` scores them in the last reading.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import scipy
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from invariance_probe.alignment import metrics, mixing
from invariance_probe.alignment.aligning import align_with
from invariance_probe.alignment.mixing import Kind, Mixing, Moments, Permutation
from invariance_probe.alignment.outcomes import Outcome
from invariance_probe.alignment.search import SearchOptions
from invariance_probe.errors import InvalidInputError
from invariance_probe.machine import Result, in_order
from invariance_probe.plane import sampling
from invariance_probe.probing import duplicates
from invariance_probe.probing.pairs import Pairs, View
from invariance_probe.results.methods import Method, Warp
from invariance_probe.results.rows import Block

FOLDS = 5
"""Groups of images; each is scored by mixings fitted on the others. Fewer if there are fewer images
or if their moments would not fit into `MOMENT_BYTES`."""
MOMENT_BYTES = 2**31
"""Memory for moments; a run of several shards adds them up in as much again."""
JOINT_ROUNDS = 4
"""Turns of warp and mixing at most, after the first."""
JOINT_TOLERANCE = 1e-3
"""Relative gain in the fitted error below which the turns end."""

_Item = TypeVar("_Item")


@dataclass(frozen=True, kw_only=True)
class Folds:
    """What is mixed in a run, and which images are held out together.

    The run's seeded order decides on an image's fold, so that the table does not depend on how many
    images are read at once; near duplicates are held out together.

    Attributes:
        methods: Those of the run with a mixing; none if all images are one or near duplicates.
        views: The layers.
        count: Number of folds, at least 2 if anything is mixed.
        fold: Fold of each image, by its number.
        search: How thoroughly to search where warp and mixing are found in turns.
    """

    methods: tuple[Method, ...]
    views: Mapping[str, View]
    count: int
    fold: Sequence[int]
    search: SearchOptions

    @classmethod
    def of(
        cls,
        methods: Sequence[Method],
        views: Mapping[str, View],
        order: Sequence[int],
        groups: Sequence[int],
        search: SearchOptions,
    ) -> "Folds":
        """Make as many folds as memory allows.

        Args:
            methods: The run's methods; those without a mixing are passed over.
            views: The layers.
            order: Numbers of the images, in the order of the run.
            groups: Group of near duplicates of each image, by its number.
            search: How thoroughly to search.

        Returns:
            The folds; without methods if a single group leaves nothing to score on.

        Raises:
            InvalidInputError: If the moments of two folds do not fit into memory.
        """
        distinct = len(set(groups))
        mixed = tuple(method for method in methods if method.mixing and distinct > 1)
        # Of one fold: cross and outer products, C x C in float64 each, dwarf all other sums.
        stores = len(_mixed_warps(mixed)) + len(_joint(mixed))
        needed = {
            name: 2 * 8 * view.layer.channels**2 * len(view.oracle) * stores
            for name, view in views.items()
        }
        count = min(FOLDS, distinct, MOMENT_BYTES // max(1, sum(needed.values())))
        if mixed and count < 2:
            largest = max(needed, key=lambda name: needed[name])
            raise InvalidInputError(
                f"mixing the {views[largest].layer.channels} channels of {largest!r} under "
                f"{len(views[largest].oracle)} transforms would take "
                f"{2 * sum(needed.values()) / 2**30:.1f} GiB; probe fewer layers or transforms at "
                "a time"
            )
        fold = duplicates.folds(order, groups, count) if mixed else []
        return cls(methods=mixed, views=views, count=count, fold=fold, search=search)

    @property
    def joint(self) -> tuple[Method, ...]:
        """Methods whose warp and mixing are found in turns."""
        return _joint(self.methods)

    @property
    def device(self) -> torch.device:
        """Where sums are kept and mixings fitted."""
        return next(iter(self.views.values())).oracle.device

    @property
    def mixed_warps(self) -> tuple[Warp, ...]:
        """Warps after which channels are mixed with each other, fitted to the first reading."""
        return _mixed_warps(self.methods)

    @property
    def gains(self) -> tuple[Method, ...]:
        """Methods in which no channel takes from another."""
        return tuple(method for method in self.methods if method.mixing is Kind.GAIN)

    @property
    def warps(self) -> tuple[Warp, ...]:
        """All warps after which anything is fitted to the first reading."""
        return tuple(dict.fromkeys((*self.mixed_warps, *(one.warp for one in self.gains))))

    def of_pairs(self, pairs: Pairs) -> list[int]:
        """Look up the folds of some images.

        Args:
            pairs: Pairs of these images.

        Returns:
            A fold for each of ``pairs.numbers``.
        """
        return [self.fold[number] for number in pairs.numbers]

    def moments(self, view: View) -> Moments:
        """Begin to sum over the positions of one layer.

        Args:
            view: The layer.

        Returns:
            Moments with the leading axes transform and fold, all 0.
        """
        shape = (len(view.oracle), self.count)
        return Moments.zeros(*shape, channels=view.layer.channels, device=view.oracle.device)

    def moments_by_channel(self, view: View) -> Moments:
        """Begin to sum over the positions of each channel of one layer, for gains.

        Args:
            view: The layer.

        Returns:
            Moments of single channels with the leading axes transform, fold and channel, all 0.
        """
        shape = (len(view.oracle), self.count, view.layer.channels)
        return Moments.zeros(*shape, channels=1, device=view.oracle.device)

    def add(self, to: Sequence[Moments], pairs: Pairs, theta: Float[Tensor, "pair 2 3"]) -> None:
        """Take pairs into moments of their layer.

        Args:
            to: What `moments` or `moments_by_channel` began.
            pairs: The pairs.
            theta: Their warps.
        """
        if not to:
            return
        warped = self.warped(pairs, theta).flatten(2)
        folds, mixed = self.of_pairs(pairs), any(each.count.ndim == 2 for each in to)

        def take(rows: tuple[int, slice]) -> None:
            transform, pair = rows
            inside = pairs.region[pair.start].flatten().nonzero().flatten()
            for row, fold in enumerate(folds, pair.start):
                f, g = (
                    maps[row].flatten(1).index_select(1, inside).double()
                    for maps in (pairs.reference, warped)
                )
                whole = Moments.of(f, g) if mixed else None
                alone = whole.alone if whole else Moments.by_channel(f, g)
                for each in to:
                    by_channel = each.count.ndim == 3
                    each.add_at((transform, fold), whole if whole and not by_channel else alone)

        # a transform has sums of its own, which its images are added to in their order
        _each(take, pairs.rows(), warped.device)

    def warped(
        self, pairs: Pairs, theta: Float[Tensor, "pair 2 3"]
    ) -> Float[Tensor, "pair channel height width"]:
        """Warp moved maps.

        Args:
            pairs: The pairs.
            theta: Their warps.

        Returns:
            The maps; themselves, where nothing is moved.
        """
        if torch.equal(theta, pairs.still):
            return pairs.moved
        return sampling.warp(pairs.moved, theta, mode=self.search.mode)


def _joint(methods: Sequence[Method]) -> tuple[Method, ...]:
    return tuple(method for method in methods if method.warp is Warp.JOINT)


def _mixed_warps(methods: Sequence[Method]) -> tuple[Warp, ...]:
    # turns begin at the better of these two
    begin = (Warp.ORACLE, Warp.AFFINE) if _joint(methods) else ()
    asked = (m.warp for m in methods if m.warp is not Warp.JOINT and m.mixing is not Kind.GAIN)
    return tuple(dict.fromkeys((*begin, *asked)))


class Sums:
    """First stage: moments of every layer under every warp after which channels are mixed.

    Args:
        folds: What is mixed, and which images are held out together.
    """

    def __init__(self, folds: Folds) -> None:
        self._folds = folds
        self._moments = {
            warp: {name: folds.moments(view) for name, view in folds.views.items()}
            for warp in folds.mixed_warps
        }
        self._gains = {
            method: {name: folds.moments_by_channel(view) for name, view in folds.views.items()}
            for method in folds.gains
        }

    def add(self, warp: Warp, pairs: Pairs, theta: Float[Tensor, "pair 2 3"]) -> None:
        """Take pairs in; a warp after which nothing is mixed is passed over.

        Args:
            warp: How the pairs were warped.
            pairs: The pairs.
            theta: Their warps.
        """
        stores = [self._moments[warp]] if warp in self._moments else []
        stores += [each for method, each in self._gains.items() if method.warp is warp]
        self._folds.add([each[pairs.view.layer.name] for each in stores], pairs, theta)

    @property
    def tensors(self) -> dict[str, Tensor]:
        """All sums, by a name of their own."""
        return _named(self._moments) | _named(self._gains)

    def fit(self) -> "Fits":
        """Fit all mixings.

        Returns:
            The mixings; those of joint methods are where their turns begin.
        """
        folds = self._folds
        places = [
            (method, name, transform)
            for method in folds.methods
            for name, view in folds.views.items()
            for transform in range(len(view.oracle))
        ]
        # the largest first, so that threads end together
        places.sort(key=lambda place: -folds.views[place[1]].layer.channels)
        found = dict(zip(places, _each(self._fit, places, folds.device), strict=True))
        fits = {
            method: {
                name: [found[method, name, transform] for transform in range(len(view.oracle))]
                for name, view in folds.views.items()
            }
            for method in folds.methods
        }
        counts = {
            warp: {name: moments.count for name, moments in layers.items()}
            for warp, layers in self._moments.items()
        }
        return Fits(self._folds, fits, counts)

    def _fit(self, place: tuple[Method, str, int]) -> "FoldFits":
        """Fit the mixings of a method in a layer under a transform."""
        return FoldFits.fit(_kind(place[0]), self._start(*place))

    def _start(self, method: Method, name: str, transform: int) -> Moments:
        """The moments under the warp of the method; of a joint one, that at which it begins."""
        if method.warp is not Warp.JOINT:
            return (self._gains.get(method) or self._moments[method.warp])[name][transform]

        def left(moments: Moments) -> float:
            return float(mixing.fit(_kind(method), moments).error(moments.sum()))

        # turns begin at the warp after which the mixing fits better
        some = (self._moments[warp][name][transform] for warp in (Warp.ORACLE, Warp.AFFINE))
        return min(some, key=left)


@dataclass(frozen=True, kw_only=True)
class FoldFits:
    """A method's mixings in one layer under one transform.

    Attributes:
        by_fold: For each fold, the mixing fitted without it.
        whole: The permutation fitted to all images; None for other kinds.
    """

    by_fold: list[Mixing]
    whole: Permutation | None

    @classmethod
    def fit(cls, kind: Kind, moments: Moments) -> "FoldFits":
        """Fit to all folds but one, each in turn.

        Moments add up over images, so those of all folds but k are the total less fold k, and no
        image need be read again; penalties are chosen by leaving out a second fold (see
        `mixing.cross_fit`).

        Args:
            kind: The family of mixings.
            moments: Leading axis fold.

        Returns:
            The mixings.
        """
        whole = mixing.fit_permutation(moments.sum()) if kind is Kind.PERMUTATION else None
        return cls(by_fold=mixing.cross_fit(kind, moments), whole=whole)

    def fitted_error(self, moments: Moments) -> float:
        """Sum what the mixings leave on the images that they are fitted to.

        Args:
            moments: Leading axis fold.

        Returns:
            Squared differences, summed over folds.
        """
        # the mixing of fold k was fitted to the total less fold k
        total = moments.sum()
        return sum(float(one.error(total - moments[fold])) for fold, one in enumerate(self.by_fold))


class Fits:
    """Second stage: the mixings of a run.

    Args:
        folds: What is mixed, and which images are held out together.
        mixings: By method, layer and transform.
        counts: Positions that were summed over, by warp and layer; axes transform and fold.
    """

    def __init__(
        self,
        folds: Folds,
        mixings: Mapping[Method, Mapping[str, list[FoldFits]]],
        counts: Mapping[Warp, Mapping[str, Float64[Tensor, "transform fold"]]],
    ) -> None:
        self.folds, self.mixings, self.counts = folds, mixings, counts

    def search(self, method: Method, pairs: Pairs) -> tuple[metrics.Scores, Tensor]:
        """Find the best affine warp of the mixed maps.

        A mixing M acts on channels and a warp W on positions, so W(MG) = M(WG): the best warp
        before the mixing is the best warp of the mixed maps. An offset passes through as well,
        since the weights of a reading add up to 1.

        Args:
            method: A joint method.
            pairs: The pairs.

        Returns:
            What is left, and the warps.
        """
        mixed = self.mixed(method, pairs, pairs.moved)
        found = align_with(pairs.target, mixed, pairs.oracle, self.folds.search)
        return found.scores, found.theta

    def mixed(
        self, method: Method, pairs: Pairs, maps: Float[Tensor, "pair channel height width"]
    ) -> Float[Tensor, "pair channel height width"]:
        """Mix the channels of maps by what was fitted to other images.

        Args:
            method: One with a mixing.
            pairs: The pairs.
            maps: Their maps, warped or not.

        Returns:
            The mixed maps.
        """
        fitted = self.mixings[method][pairs.view.layer.name]
        folds, last = self.folds.of_pairs(pairs), torch.channels_last
        # of either form, channel by position is a view
        form = last if maps.is_contiguous(memory_format=last) else torch.contiguous_format
        out = torch.empty_like(maps, memory_format=form)

        def mix(rows: tuple[int, slice]) -> None:
            transform, pair = rows
            for row, fold in enumerate(folds, pair.start):
                fitted[transform].by_fold[fold].write(maps[row].flatten(1), out[row].flatten(1))

        _each(mix, pairs.rows(), maps.device)
        return out

    def doubts(self, method: Method, pairs: Pairs) -> list[Outcome | None]:
        """Tell whose mixings rest on fewer positions than there are channels.

        Args:
            method: One with a mixing; a gain looks at no other channel, and is never in doubt.
            pairs: The pairs.

        Returns:
            The outcome or None by pair. So few positions leave the matrix of second moments
            singular: what is found along the directions without data is the penalty's choice.
        """
        if method.mixing is Kind.GAIN:
            return [None] * len(pairs.oracle)
        out: list[Outcome | None] = []
        for transform in pairs.group:
            counts = self.counts[method.warp][pairs.view.layer.name][transform]
            rest = (counts.sum() - counts)[self.folds.of_pairs(pairs)].tolist()
            short = [0 < positions < pairs.view.layer.channels for positions in rest]
            out += [Outcome.FEWER_POSITIONS_THAN_CHANNELS if one else None for one in short]
        return out


class Turn:
    """One turn of the joint methods: the best warps under the mixings so far, then new mixings.

    Mixings are fitted on other images, but to warps of theirs (six numbers each) that were found
    under mixings which had seen the image that is held out.

    Args:
        fits: The mixings so far.
    """

    def __init__(self, fits: Fits) -> None:
        self._fits, self._folds = fits, fits.folds
        self._moments = {
            method: {name: self._folds.moments(view) for name, view in self._folds.views.items()}
            for method in self._folds.joint
        }

    def add(self, pairs: Pairs) -> None:
        """Find the pairs' warps, and take the pairs in.

        Args:
            pairs: The pairs.
        """
        for method, layers in self._moments.items():
            _, theta = self._fits.search(method, pairs)
            self._folds.add([layers[pairs.view.layer.name]], pairs, theta)

    @property
    def tensors(self) -> dict[str, Tensor]:
        """All sums, by a name of their own."""
        return _named(self._moments)

    def fit(self) -> tuple[Fits, bool]:
        """Fit the mixings of the joint methods anew.

        Returns:
            All mixings, and whether another turn may still gain.
        """
        mixings, gaining = dict(self._fits.mixings), False
        for method, layers in self._moments.items():
            anew = {}
            for name, moments in layers.items():
                each = [moments[transform] for transform in range(len(moments.count))]
                fit = partial(FoldFits.fit, _kind(method))
                anew[name] = _each(fit, each, self._folds.device)
                before, after = (
                    sum(fit.fitted_error(one) for fit, one in zip(fits, each, strict=True))
                    for fits in (self._fits.mixings[method][name], anew[name])
                )
                gaining |= after < (1 - JOINT_TOLERANCE) * before
            mixings[method] = anew
        return Fits(self._folds, mixings, self._fits.counts), gaining


class HeldOut:
    """Third stage: scores of the mixings on the images that they were not fitted to.

    Args:
        fits: The mixings.
    """

    def __init__(self, fits: Fits) -> None:
        self._fits, self._folds = fits, fits.folds
        self._better = {
            method: {
                name: torch.zeros(2, len(view.oracle), view.layer.channels)
                for name, view in self._folds.views.items()
            }
            for method in self._folds.methods
            if method.mixing is Kind.PERMUTATION
        }
        """Images on which a channel's new place serves it better than its old one, and worse."""

    def score(self, warp: Warp, pairs: Pairs, theta: Float[Tensor, "pair 2 3"]) -> Iterator[Block]:
        """Score the mixings after one warp.

        Args:
            warp: The warp; not `Warp.JOINT`, see `score_joint`.
            pairs: The pairs.
            theta: Their warps.

        Yields:
            Rows of the table, one block a kind of mixing.
        """
        methods = [method for method in self._folds.methods if method.warp is warp]
        if not methods:
            return
        # channels last, as compiled loops compare maps: in one pass, nothing being moved
        warped = self._folds.warped(pairs, theta).contiguous(memory_format=torch.channels_last)
        for method in methods:
            mixed = self._fits.mixed(method, pairs, warped)
            scores = pairs.target.score_warp(mixed, pairs.still, "bilinear")
            if method in self._better:
                # other transforms' may be counted at this moment
                counts = self._better[method][pairs.view.layer.name]
                counts[:, pairs.group] += _better(pairs, warped, mixed)
            yield pairs.block(method, scores, theta, outcome=self._fits.doubts(method, pairs))

    def score_joint(self, pairs: Pairs) -> Iterator[Block]:
        """Score the joint methods.

        Args:
            pairs: The pairs.

        Yields:
            Rows of the table, one block a method.
        """
        for method in self._folds.joint:
            scores, theta = self._fits.search(method, pairs)
            yield pairs.block(method, scores, theta)

    @property
    def tensors(self) -> dict[str, Tensor]:
        """All counts, by a name of their own."""
        return {
            f"{method}/{name}": counts
            for method, layers in self._better.items()
            for name, counts in layers.items()
        }

    def permutations(self) -> pd.DataFrame:
        """Describe which channel took whose place.

        Returns:
            One row per layer, transform, warp and channel: see `tables.ProbeTables.channels`.
        """
        frames = [
            _places(name, transform, method.warp, fitted, counts[:, transform].numpy())
            for method, layers in self._better.items()
            for name, counts in layers.items()
            for transform, fitted in enumerate(self._fits.mixings[method][name])
        ]
        return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def _places(
    name: str, transform: int, warp: Warp, fitted: FoldFits, counts: Float[np.ndarray, "2 channel"]
) -> pd.DataFrame:
    """The channels' places in one layer under one transform."""
    assert fitted.whole is not None
    source = fitted.whole.source.cpu().numpy()
    folds = [one.source.cpu().numpy() for one in fitted.by_fold if isinstance(one, Permutation)]
    better, worse = counts
    return pd.DataFrame({
        "layer": name,
        "transform_number": transform,
        "warp": warp.value,
        "channel": np.arange(len(source)),
        "source": source,
        "agreement": np.mean([each == source for each in folds], axis=0),
        "better": better.astype(int),
        "worse": worse.astype(int),
        # Sign test: if an assignment were chance, each image that is not tied would be served
        # better with probability 1/2, and P(X >= better) = sf(better - 1) of Bin(better + worse).
        "p_value": scipy.stats.binom.sf(better - 1, better + worse, 0.5),
    })


def _named(moments: Mapping[Any, Mapping[str, Moments]]) -> dict[str, Tensor]:
    """Sums by name, of what they are summed over and of what they sum."""
    return {
        f"{key}/{name}/{of.name}": getattr(each, of.name)
        for key, layers in moments.items()
        for name, each in layers.items()
        for of in fields(each)
    }


def _better(pairs: Pairs, warped: Tensor, mixed: Tensor) -> Float[Tensor, "2 transform channel"]:
    """Count the images on which a channel's new place serves it better than its old, and worse."""
    reference = pairs.target.channels_last

    def count(rows: tuple[int, slice]) -> Tensor:
        _, pair = rows
        inside = pairs.region[pair.start].to(warped)
        stay, move = (
            (maps[pair] - reference[pair]).square_().mul_(inside).double().sum((2, 3))
            for maps in (warped, mixed)
        )
        return torch.stack([(move < stay).sum(0), (move > stay).sum(0)]).cpu()

    return torch.stack(_each(count, pairs.rows(), warped.device), dim=1).float()


def _kind(method: Method) -> Kind:
    assert method.mixing is not None
    return method.mixing


def _each(
    run: Callable[[_Item], Result], items: Iterable[_Item], device: torch.device
) -> list[Result]:
    """Call a function with each item, on the CPU beside each other: see `machine.in_order`."""
    return list(in_order((partial(run, item) for item in items), device))
