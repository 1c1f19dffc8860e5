"""Mixings of channels in a probe: fitted on some folds of the images, scored on the others."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from scipy.stats import binom
from torch import Tensor

from invariance_probe.alignment import metrics, mixing
from invariance_probe.alignment.aligning import align_with
from invariance_probe.alignment.mixing import Mixing, Moments, Permutation
from invariance_probe.alignment.search import SearchOptions
from invariance_probe.errors import InvalidInputError
from invariance_probe.plane import sampling
from invariance_probe.probing.pairs import Pairs, View, unknown
from invariance_probe.results.methods import warp_and_kind
from invariance_probe.results.records import Block

FOLDS = 5
"""Groups of images; each is scored by mixings fitted on the others. Fewer if there are fewer images
or if their moments would not fit into `MOMENT_BYTES`."""
MOMENT_BYTES = 2**31
"""Memory for moments."""
JOINT_ROUNDS = 4
"""Turns of warp and mixing at most, after the first."""
JOINT_TOLERANCE = 1e-3
"""Relative gain in the fitted error below which the turns end."""


class CrossFit:
    """All mixings of a run.

    An image's place in the run's seeded order decides on its fold, so that the table does not
    depend on how many images are read at once. Joint methods, too, are fitted on other images, but
    to warps of theirs (six numbers each) that were found under mixings which had seen it.

    Args:
        views: The layers.
        methods: The run's methods; those without a mixing are passed over.
        order: Numbers of the images, in the order of the run.
        search: How thoroughly to search where warp and mixing are found in turns.

    Raises:
        InvalidInputError: If the moments of two folds do not fit into memory.
    """

    def __init__(
        self,
        views: Mapping[str, View],
        methods: Sequence[str],
        order: Sequence[int],
        search: SearchOptions,
    ) -> None:
        self._views, self._search = views, search
        self.methods = [method for method in methods if warp_and_kind(method)[1]]
        self._place = {number: place for place, number in enumerate(order)}
        self._stores = list(dict.fromkeys(_store(method) for method in self.methods))
        if any(store.startswith("joint") for store in self._stores):
            # the turns begin at these two
            self._stores = list(dict.fromkeys(["oracle", "affine", *self._stores]))
        self.folds = min(FOLDS, len(order)) if self.methods else 0
        if self.folds >= 2:
            self.folds = self._affordable()
        self._moments: dict[tuple[str, str], Moments] = {}
        self._fits: dict[tuple[str, str], list[list[Mixing]]] = {}
        self._whole: dict[tuple[str, str], list[Permutation]] = {}
        self._better: dict[tuple[str, str], Tensor] = {}

    @property
    def warps(self) -> list[str]:
        """Warps whose moments are to be collected in the first reading."""
        usable = self.folds >= 2
        return [store for store in self._stores if usable and not store.startswith("joint")]

    @property
    def joint(self) -> list[str]:
        """Methods whose warp and mixing are found in turns."""
        return [method for method in self.methods if method.startswith("joint")]

    def _affordable(self) -> int:
        """As many folds as memory allows."""
        needed = {
            name: 16 * len(view.oracle) * view.layer.channels**2 * len(self._stores)
            for name, view in self._views.items()
        }
        folds = min(self.folds, MOMENT_BYTES // max(1, sum(needed.values())))
        if folds < 2:
            largest = max(needed, key=lambda name: needed[name])
            raise InvalidInputError(
                f"mixing the {self._views[largest].layer.channels} channels of {largest!r} under "
                f"{len(self._views[largest].oracle)} transforms would take "
                f"{2 * sum(needed.values()) / 2**30:.1f} GiB; probe fewer layers or transforms at "
                "a time"
            )
        return folds

    def _folds_of(self, pairs: Pairs) -> Tensor:
        places = [self._place[number] % self.folds for number in pairs.numbers]
        return torch.tensor(places, device=pairs.oracle.device)

    def collect(self, store: str, pairs: Pairs, theta: Float[Tensor, "pair 2 3"]) -> None:
        """Take pairs into the moments.

        Args:
            store: A warp, or the name of a joint method.
            pairs: The pairs.
            theta: Their warps.
        """
        warped = sampling.warp(pairs.moved, theta, mode=self._search.mode)
        key = (store, pairs.view.layer.name)
        if key not in self._moments:
            shape = (len(pairs.view.oracle), self.folds)
            self._moments[key] = Moments.zeros(
                *shape, channels=warped.shape[1], device=warped.device
            )
        folds = self._folds_of(pairs)
        for transform, rows in pairs.rows():
            f, g = _within(pairs, rows, warped)
            parts = Moments.of(f, g)
            for place, fold in enumerate(folds.tolist()):
                self._moments[key].add_at((transform, fold), parts[place])

    def fit(self) -> None:
        """Fit all mixings to the moments of the first reading."""
        for method in self.methods:
            warp, kind = warp_and_kind(method)
            for name in self._views:
                if warp == "joint":
                    begin = self._better_start(name, kind)
                    self._fits[method, name] = [
                        mixing.cross_fit(kind, self._moments[store, name][t])
                        for t, store in enumerate(begin)
                    ]
                else:
                    self._fit_method(method, self._moments[warp, name], name)

    def _fit_method(self, method: str, moments: Moments, name: str) -> None:
        kind = warp_and_kind(method)[1]
        several = range(len(moments.count))
        self._fits[method, name] = [mixing.cross_fit(kind, moments[t]) for t in several]
        if kind == "permutation":
            self._whole[method, name] = [mixing.fit_permutation(moments[t].sum()) for t in several]

    def _better_start(self, name: str, kind: str) -> list[str]:
        """For each transform, the warp after which a mixing fits better."""
        errors = []
        for store in ("oracle", "affine"):
            moments = self._moments[store, name]
            errors.append([self._error(moments[t], kind) for t in range(len(moments.count))])
        return ["oracle" if a <= b else "affine" for a, b in zip(*errors, strict=True)]

    def _error(self, moments: Moments, kind: str) -> float:
        return float(mixing.fit(kind, moments).error(moments.sum()))

    def search_again(self, method: str, pairs: Pairs) -> tuple[metrics.Scores, Tensor]:
        """Find the best affine warp of the mixed maps.

        Args:
            method: A joint method.
            pairs: The pairs.

        Returns:
            What is left, and the warps. Mixing before a warp is mixing after it.
        """
        fits, folds = self._fits[method, pairs.view.layer.name], self._folds_of(pairs).tolist()
        mixed = torch.empty_like(pairs.moved)
        for transform, rows in pairs.rows():
            for place, fold in enumerate(folds):
                row = rows.start + place
                flat = fits[transform][fold](pairs.moved[row].flatten(1))
                mixed[row] = flat.view_as(mixed[row])
        found = align_with(pairs.target, mixed, pairs.oracle, self._search)
        return found.scores, found.theta

    def turn(self) -> bool:
        """Fit the joint methods to the moments of their last warps.

        Returns:
            Whether another turn may still gain.
        """
        gaining = False
        for method in self.joint:
            for name in self._views:
                moments = self._moments.pop((method, name))
                before = self._fitted_error(method, name, moments)
                self._fit_method(method, moments, name)
                after = self._fitted_error(method, name, moments)
                gaining |= after < (1 - JOINT_TOLERANCE) * before
        return gaining

    def _fitted_error(self, method: str, name: str, moments: Moments) -> float:
        """What the mixings leave on the images that they are fitted to."""
        total = 0.0
        for t, fits in enumerate(self._fits[method, name]):
            whole = moments[t].sum()
            total += sum(
                float(fit.error(whole - moments[t][fold])) for fold, fit in enumerate(fits)
            )
        return total

    def score(self, warp: str, pairs: Pairs, theta: Float[Tensor, "pair 2 3"]) -> Iterator[Block]:
        """Score the mixings after one warp.

        Args:
            warp: ``"oracle"``, ``"affine"`` or ``"unrelated"``.
            pairs: The pairs.
            theta: Their warps.

        Yields:
            Rows of the table, one block a kind of mixing.
        """
        methods = [method for method in self.methods if warp_and_kind(method)[0] == warp]
        if not methods:
            return
        name = pairs.view.layer.name
        warped = sampling.warp(pairs.moved, theta, mode=self._search.mode)
        folds = self._folds_of(pairs).tolist()
        values: dict[str, list[metrics.Scores]] = {method: [] for method in methods}
        outcome: list[str] = []
        for transform, rows in pairs.rows():
            f, g = _within(pairs, rows, warped)
            short = self._short(self._moments[warp, name][transform], folds)
            outcome += ["fewer_positions_than_channels" if s else "" for s in short]
            everywhere = torch.ones(len(f), 1, f.shape[-1], dtype=torch.bool, device=f.device)
            target = metrics.Target(f[:, :, None], everywhere, pairs.target.channel_mean[rows])
            for method in methods:
                fits = self._fits[method, name][transform]
                mixed = torch.stack([fits[k](each) for k, each in zip(folds, g, strict=True)])
                values[method].append(target.score(mixed[:, :, None]))
                if isinstance(fits[0], Permutation):
                    self._count_better(method, name, transform, f, g, mixed, len(pairs.view.oracle))
        for method, parts in values.items():
            scores = metrics.Scores(**{
                metric: torch.cat([getattr(part, metric) for part in parts])
                for metric in metrics.METRICS
            })
            yield pairs.block(method, scores, theta, outcome=outcome)

    def _short(self, moments: Moments, folds: Sequence[int]) -> list[bool]:
        """Which folds' mixings rest on fewer positions than there are channels."""
        rest = moments.count.sum() - moments.count
        return [0 < float(rest[fold]) < moments.cross.shape[-1] for fold in folds]

    def _count_better(
        self,
        method: str,
        name: str,
        transform: int,
        f: Tensor,
        g: Tensor,
        mixed: Tensor,
        transforms: int,
    ) -> None:
        """Count the images on which a channel's new place serves it better than its old one."""
        stay = (f - g).square().sum(-1, dtype=torch.float64)
        move = (f - mixed).square().sum(-1, dtype=torch.float64)
        key = (method, name)
        if key not in self._better:
            self._better[key] = torch.zeros(2, transforms, f.shape[1], device=f.device)
        self._better[key][0, transform] += (move < stay).sum(0)
        self._better[key][1, transform] += (move > stay).sum(0)

    def score_joint(self, method: str, pairs: Pairs) -> Block:
        """Score a joint method.

        Args:
            method: Its name.
            pairs: The pairs.

        Returns:
            Rows of the table.
        """
        scores, theta = self.search_again(method, pairs)
        return pairs.block(method, scores, theta)

    def undefined(self, pairs: Pairs) -> Iterator[Block]:
        """Say that a single image leaves nothing to score on.

        Args:
            pairs: The pairs.

        Yields:
            Rows without values.
        """
        for method in self.methods:
            count = len(pairs.oracle)
            outcome = ["one_image"] * count
            yield pairs.block(method, unknown(count), pairs.oracle, outcome=outcome)

    def permutations(self) -> pd.DataFrame:
        """Describe which channel took whose place.

        Returns:
            One row per layer, transform, warp and channel: see `result.ProbeResult.channels`.
        """
        frames = []
        for (method, name), whole in self._whole.items():
            for transform, fitted in enumerate(whole):
                source = fitted.source.cpu().numpy()
                folds = [
                    fit.source.cpu().numpy()
                    for fit in self._fits[method, name][transform]
                    if isinstance(fit, Permutation)
                ]
                better, worse = (
                    self._better[method, name][:, transform].cpu().numpy()
                    if (method, name) in self._better
                    else np.zeros((2, len(source)))
                )
                frames.append(
                    pd.DataFrame({
                        "layer": name,
                        "transform_number": transform,
                        "warp": warp_and_kind(method)[0],
                        "channel": np.arange(len(source)),
                        "source": source,
                        "agreement": np.mean([each == source for each in folds], axis=0),
                        "better": better.astype(int),
                        "worse": worse.astype(int),
                        # how often a fair coin would serve a channel so well
                        "p_value": binom.sf(better - 1, better + worse, 0.5),
                    })
                )
        return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def _store(method: str) -> str:
    """Whose moments a method is fitted to."""
    warp = warp_and_kind(method)[0]
    return method if warp == "joint" else warp


def _within(pairs: Pairs, rows: slice, warped: Tensor) -> tuple[Tensor, Tensor]:
    """References and warped maps of one transform at the positions of its region."""
    positions = pairs.region[rows.start].flatten().nonzero().flatten()
    return (
        pairs.reference[rows].flatten(2)[:, :, positions],
        warped[rows].flatten(2)[:, :, positions],
    )
