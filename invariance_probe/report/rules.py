"""What a probe means for a network, said by rules from its own numbers.

Each layer gets the first of these, under each family of transforms:

1. ``can live``: the best affine warp leaves at most `NEAR_FLOOR` times what a perfect layer would,
   and that is little. A spatial transformer can live there.
   ``grid``: the same, but a perfect layer would leave more than `COARSE`. The cells lie too far
   apart for a warp, whatever the layer.
2. ``no warp``: the certified bound for any warp is at least `CERTIFIED_SHARE` of what the best
   affine warp leaves. No spatial transformer of this map can align it.
3. ``mixing``: a permutation or a linear mixing of the channels, scored on images that it was not
   fitted to, removes at least `MIXED_SHARE` of what the oracle warp leaves. A layer that is
   equivariant by construction, or one that mixes the channels, can do what a warp cannot.
4. ``input``: otherwise. Transform the input (P2).

Where 2 holds, 3 is said as well, as both can be true: no warp aligns, and a mixing does. The rules
judge means; their intervals are in the sentence, so that a reader sees how close a call it was.

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

import pandas as pd

from invariance_probe.alignment.mixing import Kind
from invariance_probe.results.methods import Method, Warp

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


Residuals = Mapping[Method, Estimate]
"""What each measured method leaves in one layer under one family of transforms."""


@dataclass(frozen=True, kw_only=True)
class Remark:
    """What a rule says about some layers.

    Attributes:
        rule: ``"can live"``, ``"grid"``, ``"no warp"``, ``"mixing"``, ``"input"`` or ``"unknown"``.
        family: Of transforms.
        layers: The layers it is about.
        text: The sentence, with its numbers.
    """

    rule: str
    family: str
    layers: tuple[str, ...]
    text: str


def remarks(summary: pd.DataFrame) -> list[Remark]:
    """Judge every layer under every family of transforms.

    Args:
        summary: Columns ``layer``, ``transform``, ``method``, ``metric``, ``mean``, ``low``,
            ``high``, layers in the order of the network.

    Returns:
        A remark for each rule that some layer meets, family by family.
    """
    fvu = summary[summary["metric"] == "fvu"]
    out = []
    for family in dict.fromkeys(fvu["transform"].astype(str)):
        layers = _by_layer(fvu[fvu["transform"].astype(str) == family])
        met: dict[str, list[str]] = {}
        for name, left in layers.items():
            for rule in _rules(left):
                met.setdefault(rule, []).append(name)
        for rule in ("can live", "grid", "no warp", "mixing", "input", "unknown"):
            if rule in met:
                said = _say(rule, family, [(name, layers[name]) for name in met[rule]])
                out.append(Remark(rule=rule, family=family, layers=tuple(met[rule]), text=said))
    return out


def _by_layer(rows: pd.DataFrame) -> dict[str, dict[Method, Estimate]]:
    """What each method leaves, layer by layer."""
    out: dict[str, dict[Method, Estimate]] = {}
    for row in rows.itertuples():
        estimate = Estimate(float(row.mean), float(row.low), float(row.high))
        out.setdefault(str(row.layer), {})[Method(row.method)] = estimate
    return out


def _mean(left: Residuals, method: Method) -> float:
    return left[method].mean if method in left else math.nan


def _rules(left: Residuals) -> list[str]:
    """Which rules a layer meets."""
    affine, floor = _mean(left, Method.AFFINE), _mean(left, Method.FLOOR)
    if math.isnan(affine) or math.isnan(floor):
        return ["unknown"]
    if affine <= NEAR_FLOOR * floor:
        return ["can live" if floor <= COARSE else "grid"]
    out = []
    if _mean(left, Method.ANY_WARP) >= CERTIFIED_SHARE * affine:
        out.append("no warp")
    if _removed(left)[1] >= MIXED_SHARE:
        out.append("mixing")
    return out or ["input"]


def _removed(left: Residuals) -> tuple[str, float]:
    """The simplest mixing that removes enough, else the best, in words; the share it removes."""
    oracle = _mean(left, Method.ORACLE)
    shares = {
        words: 1 - _mean(left, method) / oracle
        for method, words in _MIXINGS.items()
        if oracle > 0 and not math.isnan(_mean(left, method))
    }
    if not shares:
        return "", math.nan
    enough = [words for words, share in shares.items() if share >= MIXED_SHARE]
    best = enough[0] if enough else max(shares, key=lambda words: shares[words])
    return best, shares[best]


def _say(rule: str, family: str, layers: Sequence[tuple[str, Residuals]]) -> str:
    """Write the sentence of a rule about some layers."""
    some = {
        "can live": _living,
        "grid": _living,
        "no warp": _proven,
        "mixing": _mixed,
        "input": _remaining,
        "unknown": _named,
    }
    listed = "; ".join(some[rule](name, left) for name, left in layers)
    many = len(layers) > 1
    where = "these layers" if many else "this layer"
    maps = "these maps" if many else "this map"
    return {
        "can live": f"Under {family}, a spatial transformer can live at {where}: the best affine "
        f"warp leaves no more than {NEAR_FLOOR:g} times what a perfect layer would ({listed}).",
        "grid": f"Under {family}, the cells of {maps} lie too far apart for a warp: the best "
        f"affine one leaves no more than {NEAR_FLOOR:g} times what a perfect layer would, but that "
        f"is more than {COARSE:g} on such a grid ({listed}). Use a smaller stride, or blur before.",
        "no warp": f"Under {family}, no spatial transformer can align {maps}: at least "
        f"{100 * CERTIFIED_SHARE:.0f} % of what the best affine warp leaves is proven to be beyond "
        f"any warp ({listed}). Transform the input instead.",
        "mixing": f"Under {family}, at {where} the channels changed, and a mixing of them "
        "undoes most of it: use a group-equivariant layer, or mix the channels after the warp "
        f"({listed}).",
        "input": f"Under {family}, neither a warp nor a mixing of the channels that was found "
        f"aligns {maps}: transform the input ({listed}).",
        "unknown": f"Under {family}, nothing can be said of {where}: the best affine warp's "
        f"residual or the floor was not measured ({listed}).",
    }[rule]


def _named(name: str, _: Residuals) -> str:
    """A layer of which nothing is known."""
    return name


def _times_the_floor(left: Residuals, if_none: float) -> str:
    affine, floor = _mean(left, Method.AFFINE), _mean(left, Method.FLOOR)
    return f"{affine / floor if floor > 0 else if_none:.1f} times the floor"


def _living(name: str, left: Residuals) -> str:
    # where nothing is left and the floor is 0, too, the two are as large as each other
    return f"{name}: {left[Method.AFFINE]}, {_times_the_floor(left, 1.0)}"


def _proven(name: str, left: Residuals) -> str:
    bound, affine = left[Method.ANY_WARP], left[Method.AFFINE]
    return f"{name}: {bound} of {affine}, {100 * bound.mean / affine.mean:.1f} %"


def _mixed(name: str, left: Residuals) -> str:
    words, share = _removed(left)
    return f"{name}: {words} removes {100 * share:.1f} % of {left[Method.ORACLE]}"


def _remaining(name: str, left: Residuals) -> str:
    words, share = _removed(left)
    mixed = f", {words} removes {100 * max(share, 0):.1f} %" if words else ""
    smooth = f", the best smooth warp {left[Method.FLOW]}" if Method.FLOW in left else ""
    return f"{name}: {left[Method.AFFINE]}, {_times_the_floor(left, math.inf)}{smooth}{mixed}"


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
    said = [f"{m} brings back {shares[m]}" for m in (*tried[None], *tried[Kind.PERMUTATION])]
    numbers = ", ".join([f"of {lost}", *said])
    if not tried[None] or Method.UNRELATED not in shares:
        return "undecided", f"{numbers}: no warp, or no unrelated image, was measured"
    chance = shares[Method.UNRELATED]
    for rule, mixing in (("warp", None), ("permutation", Kind.PERMUTATION)):
        enough = [m for m in tried[mixing] if shares[m].low >= ENOUGH]
        if enough and all(shares[m].low > chance.high for m in enough):
            return rule, f"of {lost} {enough[0]} brings back {shares[enough[0]]}"
        if enough:
            return "undecided", f"{numbers}: an unrelated image's map brings back {chance} as well"
    if all(shares[m].high < ENOUGH for mixing in tried for m in tried[mixing]):
        floor = shares.get(Method.FLOOR)
        costs = f", a perfect layer on this grid keeps {floor}" if floor else ""
        return "transform the input", f"{numbers}{costs}"
    return "undecided", f"{numbers}: the intervals hold {ENOUGH:g}"
