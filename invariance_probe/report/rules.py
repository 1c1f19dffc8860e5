"""What a probe means for a network, said by rules from its own numbers.

Each layer gets the first of these, under each family of transforms. They rest on ratios of means
with their 95 % intervals, and take the end that speaks against what they say:

1. ``can live``: the best affine warp leaves at most `NEAR_FLOOR` times what a perfect layer would,
   and that is little. A spatial transformer can live there.
   ``grid``: the same, but a perfect layer would leave more than `COARSE`. The cells lie too far
   apart for a warp, whatever the layer.
2. ``undecided``: the interval holds the threshold, or there is none.
3. ``no warp``: the certified bound for any warp is at least `CERTIFIED_SHARE` of what the best
   affine warp leaves, and above what 1 allows. No spatial transformer of this map can align it.
4. ``permutation``: permuting the channels removes at least `MIXED_SHARE` of what the oracle warp
   leaves, on images that it was not fitted to. That is what a group-equivariant layer needs.
   ``mixing``: a rotation or a linear mixing of the channels does, and a permutation was not found
   to. That is more than a group-equivariant layer does, and no reason for one.
5. ``input``: otherwise. Transform the input (P2).

Where 3 holds, 4 is said as well, as both can be true: no warp aligns, and a mixing does. What was
not measured is not spoken of, but for saying so.

Where maps were put back (`probing.readout`) it is known what a residual costs, and `advice` says
where to warp. It rests on the loss, what the output without a warp lacks of that with a warp of the
input, on the share of it that comes back, and on the 95 % intervals of both:

1. ``nothing lost``: the loss is at most `NEGLIGIBLE`, at the upper end.
2. ``warp``: a warp of the map brings back at least `ENOUGH` of it, at the lower end.
3. ``permutation``: a warp and a permutation of the channels do, and no warp alone that was tried.
4. ``transform the input``: every warp that was tried, and every permutation after one, brings back
   less than `ENOUGH`, at the upper end.
5. ``undecided``: otherwise, with the reason. Such are a loss that is not told from 0, intervals
   that hold `ENOUGH`, and maps of unrelated images that are not clearly worse (the network then
   reads little within the region), or were not measured.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float

from invariance_probe.alignment.mixing import Kind
from invariance_probe.results.methods import Method, Warp
from invariance_probe.results.tables import ProbeTables, numbered
from invariance_probe.statistics import statistic_interval

NEAR_FLOOR = 1.5
"""Times the floor, up to which a residual counts as the grid's."""
COARSE = 0.1
"""Floor above which a grid is too coarse for a warp, whatever the layer."""
CERTIFIED_SHARE = 0.5
"""Share of the best affine warp's residual that is proven to be beyond any warp."""
MIXED_SHARE = 0.5
"""Share of the oracle warp's residual that a mixing of the channels removes."""

ENOUGH = 0.9
"""Share of the loss that a remedy has to bring back."""
NEGLIGIBLE = {"kl": 0.05, "output_rel_l2": 0.05}
"""Loss that counts as none, by the metric that advice rests on: in nats, as a share of a length."""

VERDICTS = {
    "can live": "a warp would do",
    "grid": "grid too coarse",
    "undecided": "undecided",
    "no warp": "no warp would do: proven",
    "permutation": "a warp and a permutation would do",
    "mixing": "no warp that was found would do",
    "input": "no warp that was found would do",
    "unknown": "not measured",
}
"""Each rule of `remarks` as an answer to: would a warp of the map do here?"""

_WARPS = (Warp.ORACLE, Warp.AFFINE, Warp.FLOW)
"""Warps of the map that a remedy may rest on."""
_MIXINGS = {
    Method.ORACLE_PERMUTATION: "a permutation of the channels",
    Method.ORACLE_ORTHOGONAL: "a rotation of the channels",
    Method.ORACLE_LINEAR: "a linear mixing of the channels",
}


class Estimate(NamedTuple):
    """A mean over images.

    Attributes:
        mean: The mean; NaN if there is none.
        low: Lower end of its interval; NaN if there is none.
        high: Upper end.
    """

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        interval = "" if math.isnan(self.low) else f" [{self.low:.2f}, {self.high:.2f}]"
        return f"{self.mean:.2f}{interval}"

    @property
    def percent(self) -> str:
        """A share as people say it."""
        interval = f" [{100 * self.low:.0f}, {100 * self.high:.0f}]"
        return f"{100 * self.mean:.0f} %{'' if math.isnan(self.low) else interval}"


_MOST_TIMES = 1e9
"""Stands for any larger ratio, as of a draw in which nothing is left to compare with."""
NONE = Estimate(math.nan, math.nan, math.nan)


@dataclass(frozen=True, kw_only=True)
class Residuals:
    """What each measured method leaves in one layer, under one family or one transform.

    Attributes:
        layer: Name of the layer.
        left: By method.
        images: The same by method and image, in rows and columns; None where only means are known.
        common: Relative error that the values of a row have in common, see
            `ProbeTables.common_errors`.
        seed: Root of the draws that intervals of ratios rest on.
    """

    layer: str
    left: Mapping[Method, Estimate]
    images: pd.DataFrame | None = None
    common: Float[np.ndarray, " method"] | None = None
    seed: int = 0

    def of(self, method: Method) -> Estimate:
        """Look up what a method leaves.

        Args:
            method: Which.

        Returns:
            Its mean; NaN if it was not measured.
        """
        return self.left.get(method, NONE)

    def ratio(self, one: Method, other: Method) -> Estimate:
        """Compare what two methods leave.

        Args:
            one: Numerator.
            other: Denominator.

        Returns:
            The ratio of the means; 1 where both are 0. Both are drawn together, image by image;
            where only their own intervals are known, it has the ends that lie furthest apart.
        """
        a, b = self.of(one), self.of(other)
        if math.isnan(a.mean) or math.isnan(b.mean):
            return NONE
        if b.mean <= 0:
            both = 1.0 if a.mean <= 0 else math.inf
            return Estimate(both, both, both)
        if self.images is None or self.common is None:
            high = a.high / b.low if b.low > 0 else math.inf
            known = not math.isnan(a.low + b.low)
            return Estimate(a.mean / b.mean, a.low / b.high, high if known else math.nan)
        places = [list(self.images.index).index(str(method)) for method in (one, other)]
        values = self.images.to_numpy(dtype=float)[places]
        # what is left is never negative, and a bound never above what it bounds
        bounded = one is Method.ANY_WARP and other is not Method.FLOOR
        most = 1.0 if bounded else _MOST_TIMES

        def share(means: Float[np.ndarray, "2 draw"]) -> Float[np.ndarray, "1 draw"]:
            above, below = np.maximum(means, 0)
            with np.errstate(divide="ignore", invalid="ignore"):
                out: np.ndarray = np.fmin(above / below, most)[None]
            return out

        found = statistic_interval(values, share, self.seed, common=self.common[places])
        return Estimate(*(float(each[0]) for each in found))


@dataclass(frozen=True, kw_only=True)
class Remark:
    """What a rule says about some layers.

    Attributes:
        rule: One of `VERDICTS`, or of those that `advice` rests on.
        family: Of transforms.
        layers: The layers it is about.
        text: The sentence, with its numbers.
    """

    rule: str
    family: str
    layers: tuple[str, ...]
    text: str


def remarks(summary: pd.DataFrame, tables: ProbeTables | None = None) -> list[Remark]:
    """Judge every layer under every family of transforms.

    Args:
        summary: Columns ``layer``, ``transform``, ``method``, ``metric``, ``mean``, ``low``,
            ``high``, layers in the order of the network.
        tables: Of the same run; without them intervals of ratios are wider than they have to be.

    Returns:
        A remark for each rule that some layer meets, family by family.
    """
    by = ["transform", "layer"]
    met: dict[tuple[str, str], list[Residuals]] = {}
    for (family, _), one in residuals(summary, by, tables).items():
        for rule in rules_met(one):
            met.setdefault((str(family), rule), []).append(one)
    return [
        Remark(
            rule=rule,
            family=family,
            layers=tuple(one.layer for one in met[family, rule]),
            text=_say(rule, family, met[family, rule]),
        )
        for family in dict.fromkeys(family for family, _ in met)
        for rule in VERDICTS
        if (family, rule) in met
    ]


def residuals(
    summary: pd.DataFrame, by: Sequence[str], tables: ProbeTables | None = None
) -> dict[tuple[object, ...], Residuals]:
    """Sort what is left by group.

    Args:
        summary: Of `ProbeTables.summary` by the same columns and ``method`` and ``metric``.
        by: Columns that make a group, ``layer`` among them.
        tables: Of the same run, or None.

    Returns:
        By group, in the order of the summary.
    """
    fvu = summary[summary["metric"] == "fvu"]
    wide = None
    if tables is not None and len(fvu):
        every = "transform_number" in by
        wide = pd.concat(tables.by_image([*by, "method"], every=every, metric="fvu"))
        common = pd.Series(tables.common_errors(wide), wide.index)
    out: dict[tuple[object, ...], Residuals] = {}
    for key, rows in fvu.groupby(list(by), sort=False, observed=True):
        left = {
            Method(row.method): Estimate(float(row.mean), float(row.low), float(row.high))
            for row in rows.itertuples()
        }
        layer = str(rows["layer"].iloc[0])
        if wide is None or tables is None:
            out[key] = Residuals(layer=layer, left=left)
            continue
        out[key] = Residuals(
            layer=layer,
            left=left,
            images=wide.loc[key],
            common=common.loc[key].to_numpy(),
            seed=int(tables.config["seed"]),
        )
    return out


def by_transform(tables: ProbeTables) -> dict[tuple[int, str], Residuals]:
    """Sort what is left by number of the transform and layer.

    Args:
        tables: A run's tables.

    Returns:
        What the rules are asked about each.
    """
    by = numbered(["parameter", "layer"])
    summary = tables.summary([*by, "method", "metric"])
    found = residuals(summary, by[1:], tables)
    return {(int(str(number)), str(layer)): one for (number, layer), one in found.items()}


def rules_met(one: Residuals) -> list[str]:
    """Judge one layer.

    Args:
        one: What is left there.

    Returns:
        The rules that it meets, one or two of `VERDICTS`.
    """
    times = one.ratio(Method.AFFINE, Method.FLOOR)
    if math.isnan(times.mean):
        return ["unknown"]
    floor = one.of(Method.FLOOR)
    if times.high <= NEAR_FLOOR:
        coarse = floor.low > COARSE
        return ["grid" if coarse else "can live"] if coarse or floor.high <= COARSE else _UNSURE
    if not times.low > NEAR_FLOOR:
        return _UNSURE
    out = []
    share, times = (one.ratio(Method.ANY_WARP, of) for of in (Method.AFFINE, Method.FLOOR))
    if share.low >= CERTIFIED_SHARE and times.low > NEAR_FLOOR:
        out.append("no warp")
    enough = [m for m in _MIXINGS if removed(one, m).low >= MIXED_SHARE]
    if enough:
        out.append("permutation" if enough[0] is Method.ORACLE_PERMUTATION else "mixing")
    return out or ["input"]


_UNSURE = ["undecided"]


def removed(one: Residuals, mixing: Method) -> Estimate:
    """Tell how much of what the oracle warp leaves a mixing removes.

    Args:
        one: What is left in a layer.
        mixing: A mixing after the oracle warp.

    Returns:
        The share; NaN if it was not measured.
    """
    kept = one.ratio(mixing, Method.ORACLE)
    return Estimate(1 - kept.mean, 1 - kept.high, 1 - kept.low)


def _say(rule: str, family: str, layers: Sequence[Residuals]) -> str:
    """Write the sentence of a rule about some layers."""
    some = {
        "can live": _living,
        "grid": _living,
        "undecided": _unsure,
        "no warp": _proven,
        "permutation": _mixed,
        "mixing": _mixed,
        "input": _remaining,
        "unknown": _named,
    }
    listed = "; ".join(some[rule](one) for one in layers)
    many = len(layers) > 1
    where = "these layers" if many else "this layer"
    maps = "these maps" if many else "this map"
    mixings = [m for one in layers for m in one.left if m in _MIXINGS]
    found = "neither a warp nor a mixing of the channels" if mixings else "no warp"
    asked = "" if mixings else " Mixings of the channels were not measured."
    if not any(Method.ANY_WARP in one.left for one in layers):
        asked += " Whether any warp at all could is not known (`--explain` certifies a bound)."
    return {
        "can live": f"Under {family}, a spatial transformer can live at {where}: the best affine "
        f"warp leaves no more than {NEAR_FLOOR:g} times what a perfect layer would ({listed}).",
        "grid": f"Under {family}, the cells of {maps} lie too far apart for a warp: the best "
        f"affine one leaves no more than {NEAR_FLOOR:g} times what a perfect layer would, but that "
        f"is more than {COARSE:g} on such a grid ({listed}). Use a smaller stride, or blur before.",
        "undecided": f"Under {family}, it is undecided whether a warp aligns {maps}: more images "
        f"would tell ({listed}).",
        "no warp": f"Under {family}, no spatial transformer can align {maps}: at least "
        f"{100 * CERTIFIED_SHARE:.0f} % of what the best affine warp leaves is proven to be beyond "
        f"any warp ({listed}). Transform the input instead.",
        "permutation": f"Under {family}, at {where} channels changed places, and a permutation, "
        "fitted on other images, undoes half of it or more: a group-equivariant layer has such "
        f"({listed}).",
        "mixing": f"Under {family}, no warp that was found aligns {maps}. A matrix over the "
        "channels, fitted on other images, undoes half of it or more; that is more than "
        "a permutation, which is what a group-equivariant layer has: transform the input "
        f"({listed}).",
        "input": f"Under {family}, {found} that was found aligns {maps}: transform the input "
        f"({listed}).{asked}",
        "unknown": f"Under {family}, nothing can be said of {where}: the best affine warp's "
        f"residual or the floor was not measured ({listed}).",
    }[rule]


def _named(one: Residuals) -> str:
    """A layer of which nothing is known."""
    return one.layer


def _living(one: Residuals) -> str:
    times = one.ratio(Method.AFFINE, Method.FLOOR)
    return f"{one.layer}: {one.of(Method.AFFINE)}, {times} times the floor"


def _unsure(one: Residuals) -> str:
    times, floor = one.ratio(Method.AFFINE, Method.FLOOR), one.of(Method.FLOOR)
    if math.isnan(times.low):
        return f"{_living(one)}, too few images for an interval"
    if times.high <= NEAR_FLOOR:
        return f"{_living(one)}, but the floor's interval {floor} holds {COARSE:g}"
    return f"{_living(one)}, which holds {NEAR_FLOOR:g}"


def _proven(one: Residuals) -> str:
    bound, affine = one.of(Method.ANY_WARP), one.of(Method.AFFINE)
    share = one.ratio(Method.ANY_WARP, Method.AFFINE)
    return f"{one.layer}: {bound} of {affine}, {share.percent}"


def _mixed(one: Residuals) -> str:
    """The simplest mixing that removes enough, and what permutations remove."""
    shares = {method: removed(one, method) for method in _MIXINGS if method in one.left}
    best = next(method for method, share in shares.items() if share.low >= MIXED_SHARE)
    said = f"{one.layer}: {_MIXINGS[best]} removes {shares[best].percent} of "
    said += str(one.of(Method.ORACLE))
    if best is not Method.ORACLE_PERMUTATION and Method.ORACLE_PERMUTATION in shares:
        said += f", a permutation {shares[Method.ORACLE_PERMUTATION].percent}"
    return said


def _remaining(one: Residuals) -> str:
    shares = {method: removed(one, method) for method in _MIXINGS if method in one.left}
    said = _living(one)
    if Method.FLOW in one.left:
        said += f", the best smooth warp {one.of(Method.FLOW)}"
    if Method.ANY_WARP in one.left:
        share = one.ratio(Method.ANY_WARP, Method.AFFINE)
        said += f", of which {share.percent} is proven to be beyond any warp"
    if shares:
        best = max(shares, key=lambda method: shares[method].mean)
        said += f", {_MIXINGS[best]} removes {shares[best].percent}"
    return said


def advice(recovered: pd.DataFrame) -> list[Remark]:
    """Say where to warp, by layer and family of transforms.

    Args:
        recovered: What `results.recovery.recovered_share` returns by layer and transform, of one or
            more metrics; those of `NEGLIGIBLE` count.

    Returns:
        A remark for each rule that some layer meets, family by family; none without such a metric.
    """
    metric = next((name for name in NEGLIGIBLE if (recovered["metric"] == name).any()), "")
    rows = recovered[recovered["metric"] == metric]
    permuted = any(Method(text).mixing is Kind.PERMUTATION for text in set(rows["method"]))
    out = []
    for family in dict.fromkeys(rows["transform"].astype(str)):
        met: dict[str, list[tuple[str, str]]] = {}
        here = rows[rows["transform"].astype(str) == family]
        for layer, one in here.groupby("layer", sort=False, observed=True):
            rule, numbers = _where(one, metric)
            met.setdefault(rule, []).append((str(layer), numbers))
        for rule, sentence in _ADVICE.items():
            if rule in met:
                listed = "; ".join(f"{layer}: {numbers}" for layer, numbers in met[rule])
                text = sentence.format(family=family, enough=100 * ENOUGH, listed=listed)
                if rule == "transform the input" and not permuted:
                    text += " Permutations of the channels were not measured."
                layers = tuple(layer for layer, _ in met[rule])
                out.append(Remark(rule=rule, family=family, layers=layers, text=text))
    return out


_ADVICE = {
    "nothing lost": "Under {family}, nothing was lost without a warp ({listed}).",
    "warp": "Under {family}, a warp of the map is enough: put back, it brings at least "
    "{enough:.0f} % of the loss back ({listed}).",
    "permutation": "Under {family}, a warp of the map and a known permutation of its channels are "
    "enough, and no warp alone that was measured ({listed}).",
    "transform the input": "Under {family}, transform the input: nothing that was measured brings "
    "{enough:.0f} % of the loss back once the map is put back ({listed}).",
    "undecided": "Under {family}, where to warp is undecided ({listed}).",
}
"""What each rule says."""


def _where(rows: pd.DataFrame, metric: str) -> tuple[str, str]:
    """The rule that a layer meets, and its numbers in words."""
    by_method = {Method(row.method): row for row in rows.itertuples()}
    first = next(iter(by_method.values()))
    unit = " nats" if metric == "kl" else ""
    lost = f"{Estimate(first.lost, first.lost_low, first.lost_high)}{unit} lost"
    if first.lost_high <= NEGLIGIBLE[metric]:
        return "nothing lost", lost
    if str(first.reason) not in {"", "nan"}:
        return "undecided", f"{lost}: {first.reason}"
    if math.isnan(first.lost_low):
        return "undecided", f"{lost}: too few images for intervals"
    shares = {m: Estimate(row.share, row.low, row.high) for m, row in by_method.items()}
    tried = {
        mixing: [m for m in shares if m.warp in _WARPS and m.mixing is mixing]
        for mixing in (None, Kind.PERMUTATION)
    }
    said = [
        f"{m} brings back {shares[m].percent}" for m in (*tried[None], *tried[Kind.PERMUTATION])
    ]
    numbers = ", ".join([f"of {lost}", *said])
    if not tried[None] or Method.UNRELATED not in shares:
        return "undecided", f"{numbers}: no warp, or no unrelated image, was measured"
    chance = shares[Method.UNRELATED]
    for rule, mixing in (("warp", None), ("permutation", Kind.PERMUTATION)):
        enough = [m for m in tried[mixing] if shares[m].low >= ENOUGH]
        if enough and all(shares[m].low > chance.high for m in enough):
            return rule, f"of {lost} {enough[0]} brings back {shares[enough[0]].percent}"
        if enough:
            return (
                "undecided",
                f"{numbers}: an unrelated image's map brings back {chance.percent} as well",
            )
    if all(shares[m].high < ENOUGH for mixing in tried for m in tried[mixing]):
        floor = shares.get(Method.FLOOR)
        costs = f", a perfect layer on this grid keeps {floor.percent}" if floor else ""
        return "transform the input", f"{numbers}{costs}"
    return "undecided", f"{numbers}: the intervals hold {ENOUGH:g}"
