"""What a probe means for a network, said by rules from its own numbers.

Each layer gets the first of these, under each family of transforms:

1. ``can live``: the best affine warp leaves at most `NEAR_FLOOR` times what interpolation alone
   costs. A spatial transformer can live there.
2. ``no warp``: the certified bound for any warp is at least `CERTIFIED_SHARE` of what the best
   affine warp leaves. No spatial transformer of this map can align it.
3. ``mixing``: a permutation or a linear mixing of the channels, scored on images that it was not
   fitted to, removes at least `MIXED_SHARE` of what the oracle warp leaves. A layer that is
   equivariant by construction, or one that mixes the channels, can do what a warp cannot.
4. ``input``: otherwise. Transform the input (P2).

Where 2 holds, 3 is said as well, as both can be true: no warp aligns, and a mixing does. The rules
judge means; their intervals are in the sentence, so that a reader sees how close a call it was.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

NEAR_FLOOR = 1.5
"""Times the interpolation floor, up to which a residual counts as interpolation."""
CERTIFIED_SHARE = 0.5
"""Share of the best affine warp's residual that is proven to be beyond any warp."""
MIXED_SHARE = 0.5
"""Share of the oracle warp's residual that a mixing of the channels removes."""

_MIXINGS = {
    "oracle+permutation": "a permutation of the channels",
    "oracle+orthogonal": "a turn of the channels",
    "oracle+linear": "a linear mixing of the channels",
}


@dataclass(frozen=True, kw_only=True)
class Remark:
    """What a rule says about some layers.

    Attributes:
        rule: ``"can live"``, ``"no warp"``, ``"mixing"``, ``"input"`` or ``"unknown"``.
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
        for name, rows in layers.items():
            for rule in _rules(rows):
                met.setdefault(rule, []).append(name)
        for rule in ("can live", "no warp", "mixing", "input", "unknown"):
            if rule in met:
                said = _say(rule, family, [(name, layers[name]) for name in met[rule]])
                out.append(Remark(rule=rule, family=family, layers=tuple(met[rule]), text=said))
    return out


def _by_layer(rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Mean and ends by method, layer by layer."""
    return {
        name: rows[rows["layer"].astype(str) == name]
        .assign(method=lambda part: part["method"].astype(str))
        .set_index("method")[["mean", "low", "high"]]
        for name in dict.fromkeys(rows["layer"].astype(str))
    }


def _mean(rows: pd.DataFrame, method: str) -> float:
    return float(rows["mean"].get(method, math.nan))


def _rules(rows: pd.DataFrame) -> list[str]:
    """Which rules a layer meets."""
    affine, floor = _mean(rows, "affine"), _mean(rows, "floor")
    if math.isnan(affine) or math.isnan(floor):
        return ["unknown"]
    if affine <= NEAR_FLOOR * floor:
        return ["can live"]
    out = []
    if _mean(rows, "any-warp") >= CERTIFIED_SHARE * affine:
        out.append("no warp")
    if _removed(rows)[1] >= MIXED_SHARE:
        out.append("mixing")
    return out or ["input"]


def _removed(rows: pd.DataFrame) -> tuple[str, float]:
    """The simplest mixing that removes enough, else the best; and the share it removes."""
    oracle = _mean(rows, "oracle")
    shares = {
        method: 1 - _mean(rows, method) / oracle
        for method in _MIXINGS
        if oracle > 0 and not math.isnan(_mean(rows, method))
    }
    if not shares:
        return "", math.nan
    enough = [method for method, share in shares.items() if share >= MIXED_SHARE]
    best = enough[0] if enough else max(shares, key=lambda method: shares[method])
    return best, shares[best]


def _say(rule: str, family: str, layers: Sequence[tuple[str, pd.DataFrame]]) -> str:
    """Write the sentence of a rule about some layers."""
    some = {
        "can live": _living,
        "no warp": _proven,
        "mixing": _mixed,
        "input": _remaining,
        "unknown": _named,
    }
    listed = "; ".join(some[rule](name, rows) for name, rows in layers)
    many = len(layers) > 1
    where = "these layers" if many else "this layer"
    maps = "these maps" if many else "this map"
    return {
        "can live": f"Under {family}, a spatial transformer can live at {where}: the best affine "
        f"warp leaves no more than {NEAR_FLOOR:g} times what interpolation alone costs ({listed}).",
        "no warp": f"Under {family}, no spatial transformer can align {maps}: at least "
        f"{100 * CERTIFIED_SHARE:.0f} % of what the best affine warp leaves is proven to be beyond "
        f"any warp ({listed}). Transform the input instead.",
        "mixing": f"Under {family}, at {where} the channels changed, and a mixing of them "
        "undoes most of it: use a group-equivariant layer, or mix the channels after the warp "
        f"({listed}).",
        "input": f"Under {family}, neither a warp nor a mixing of the channels that was found "
        f"aligns {maps}: transform the input ({listed}).",
        "unknown": f"Under {family}, nothing can be said of {where}: the best affine warp's "
        f"residual or the interpolation floor was not measured ({listed}).",
    }[rule]


def _number(rows: pd.DataFrame, method: str) -> str:
    """A mean with its interval."""
    mean, low, high = (float(rows[name][method]) for name in ("mean", "low", "high"))
    return f"{mean:.2f}" + ("" if math.isnan(low) else f" [{low:.2f}, {high:.2f}]")


def _named(name: str, _: pd.DataFrame) -> str:
    """A layer of which nothing is known."""
    return name


def _living(name: str, rows: pd.DataFrame) -> str:
    times = _mean(rows, "affine") / floor if (floor := _mean(rows, "floor")) > 0 else 1.0
    return f"{name}: {_number(rows, 'affine')}, {times:.1f} times the floor"


def _proven(name: str, rows: pd.DataFrame) -> str:
    share = _mean(rows, "any-warp") / _mean(rows, "affine")
    return f"{name}: {_number(rows, 'any-warp')} of {_number(rows, 'affine')}, {100 * share:.1f} %"


def _mixed(name: str, rows: pd.DataFrame) -> str:
    method, share = _removed(rows)
    return f"{name}: {_MIXINGS[method]} removes {100 * share:.1f} % of {_number(rows, 'oracle')}"


def _remaining(name: str, rows: pd.DataFrame) -> str:
    times = _mean(rows, "affine") / floor if (floor := _mean(rows, "floor")) > 0 else math.inf
    method, share = _removed(rows)
    mixed = f", {_MIXINGS[method]} removes {100 * max(share, 0):.1f} %" if method else ""
    return f"{name}: {_number(rows, 'affine')}, {times:.1f} times the floor{mixed}"
