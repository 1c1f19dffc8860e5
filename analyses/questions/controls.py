"""Does the engine give each control, a network whose answer is known, its known answer?"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from torch import Tensor, nn

import invariance_probe as ip
from analyses.efficientnet import photographs
from invariance_probe import controls
from invariance_probe.results.methods import DEFAULT_METHODS, Method
from invariance_probe.results.style import RESIDUAL

EXACT = 1e-10
"""Largest fvu that passes as exact: a relative error of 1e-5, squared."""
BEYOND = 1.5
"""The best warp must leave more than this many times the floor where it is to leave more than a
perfect layer, and no more where it is not."""
COARSE = 0.1
"""A floor above this is what is known of a grid that is too coarse."""
PERMUTED = "oracle+permutation"
NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "pointwise": controls.pointwise_network,
    "isotropic": controls.isotropic_network,
    "blur only": controls.blur_network,
    "4-fold": controls.four_fold_network,
    "C4": controls.c4_network,
    "D4": controls.d4_network,
    "C4, pooled": controls.c4_pooled_network,
    "D4, pooled": controls.d4_pooled_network,
    "random": controls.random_network,
    "strided": controls.strided_network,
    "anti-aliased": controls.antialiased_network,
}
MOVES: dict[str, Sequence[ip.Transform]] = {
    "quarter turns": (ip.Rotation(90), ip.Rotation(180), ip.Rotation(-90)),
    "other rotations": (ip.Rotation(20), ip.Rotation(45)),
    "reflections": (ip.Reflection(90), ip.Reflection(45)),
    "scalings": (ip.Scaling(0.7), ip.Scaling(1.4)),
    "shifts by 4 px": (ip.Translation(4), ip.Translation(0, -4)),
    "shifts by 1 px": (ip.Translation(1), ip.Translation(0, -1)),
}
_CODES = {
    "=": "exact",
    "~": "floor",
    "g": "grid",
    "p": "permutation",
    "x": "residual",
    ".": "",
}
_ROWS = {
    "pointwise": "=~=~==",
    "isotropic": "=~=x==",
    "blur only": "=~=x==",
    "4-fold": "=xxx==",
    "C4": "pxxx==",
    "D4": "pxpx==",
    "C4, pooled": "=xxx==",
    "D4, pooled": "=x=x==",
    "random": "xxxx==",
    "strided": "....=g",
    "anti-aliased": "....=~",
}
ANSWERS = {
    (network, move): _CODES[code]
    for network, codes in _ROWS.items()
    for move, code in zip(MOVES, codes, strict=True)
}
"""Known answers: the oracle warp is ``exact``; the best warp reaches the ``floor``; it reaches the
floor, which is high, as the ``grid`` is coarse; only the oracle warp and the known ``permutation``
of channels are exact; a ``residual`` is left by any warp; or nothing is stated."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """What to measure.

    Attributes:
        sizes: Sides of the images, in pixels; odd and even.
        images: Number of photographs (10 at most), on canvases of twice the largest size.
        seeds: Seeds of the networks' weights.
        networks: Which of `NETWORKS`.
        dtype: ``"float32"`` or ``"float64"``.
    """

    sizes: tuple[int, ...] = (64, 65)
    images: int = 8
    seeds: tuple[int, ...] = (0, 1)
    networks: tuple[str, ...] = tuple(NETWORKS)
    dtype: str = "float32"


PRESETS = {
    "quick": Config(),
    "tiny": Config(
        sizes=(41,), images=5, seeds=(0,), networks=("pointwise", "C4", "strided", "anti-aliased")
    ),
}


def measure(config: Config) -> pd.DataFrame:
    """Probe the controls.

    Args:
        config: What to measure.

    Returns:
        One row a network x seed x size x transform x image x method: ``network``, ``seed``,
        ``size``, ``moves`` (family), ``transform``, ``parameter``, ``image``, ``method`` (those of
        the engine, with ``oracle+permutation`` where a permutation is known), ``value`` (fvu),
        ``answer``, and ``recovered``, 1 where the permutation that the engine finds is the known
        one, 0 where it is another, else NaN.
    """
    canvases, names = photographs(config.images, 2 * max(config.sizes))
    frames = []
    for name in config.networks:
        # a blur has no weights to draw
        for seed in config.seeds[:1] if name == "blur only" else config.seeds:
            network = NETWORKS[name]() if name == "blur only" else NETWORKS[name](seed=seed)
            for size in config.sizes:
                frame = _probed(name, network, canvases, names, size, config.dtype)
                frames.append(frame.assign(seed=seed, size=size))
    table = pd.concat(frames, ignore_index=True)
    answers = [ANSWERS[pair] for pair in zip(table["network"], table["moves"], strict=True)]
    return table.assign(answer=answers)


def _moves_for(network: str) -> list[tuple[str, ip.Transform]]:
    """The transforms under which an answer is stated."""
    return [
        (family, move)
        for family, moves in MOVES.items()
        for move in moves
        if ANSWERS[network, family]
    ]


def _probed(
    name: str, network: nn.Module, canvases: Tensor, images: list[str], size: int, dtype: str
) -> pd.DataFrame:
    """What the engine says."""
    moves = _moves_for(name)
    permuted = any(ANSWERS[name, family] == "permutation" for family, _ in moves)
    result = ip.probe(
        network,
        canvases,
        layers="(model)",
        methods=[*DEFAULT_METHODS, *([PERMUTED] if permuted else [])],
        transforms=[move for _, move in moves],
        crop=size,
        dtype=dtype,
    )
    frame = result.frame()
    frame = frame[frame["metric"] == "fvu"]
    number = frame["transform_number"].to_numpy()
    recovered = _recovered(result, name, network, [move for _, move in moves])
    return pd.DataFrame({
        "network": name,
        "moves": [moves[i][0] for i in number],
        "transform": frame["transform"].astype(str).to_numpy(),
        "parameter": frame["parameter"].to_numpy(),
        "image": [images[int(i)] for i in frame["image"]],
        "method": frame["method"].astype(str).to_numpy(),
        "value": frame["value"].to_numpy(),
        "recovered": [recovered[i] for i in number],
    })


def _recovered(
    result: ip.ProbeResult, name: str, network: nn.Module, moves: Sequence[ip.Transform]
) -> list[float]:
    """By transform, whether the engine's permutation is the known one; NaN where none is known."""
    out = []
    for number, ((family, _), move) in enumerate(zip(_moves_for(name), moves, strict=True)):
        if ANSWERS[name, family] != "permutation" or not isinstance(network, controls.GroupNetwork):
            out.append(np.nan)
            continue
        rows = result.channels[result.channels["transform_number"] == number]
        found = rows.sort_values("channel")["source"].tolist()
        out.append(float(found == network.channel_permutation(move).tolist()))
    return out


def summary(frame: pd.DataFrame) -> pd.DataFrame:
    """Judge every known answer.

    Args:
        frame: What `measure` returned.

    Returns:
        By network and family of transforms: the known ``answer``, the means of the methods over
        seeds, sizes, transforms and images, the number of ``pairs``, the share of them for which
        the answer ``holds``, and the share of permutations ``recovered``.
    """
    keys = ["network", "seed", "size", "moves", "answer", "transform", "parameter", "image"]
    # shifts along y have no parameter of their own
    known = frame.assign(parameter=frame["parameter"].fillna(0.0))
    pairs = known.pivot_table(index=keys, columns="method", values="value", aggfunc="mean")
    if PERMUTED not in pairs:
        pairs[PERMUTED] = np.nan
    pairs = pairs.reset_index()
    pairs["holds"] = holds(pairs)
    methods = [*DEFAULT_METHODS, PERMUTED]
    by = ["network", "moves"]
    table = pairs.groupby([*by, "answer"], sort=False)[[*methods, "holds"]].mean()
    table["pairs"] = pairs.groupby([*by, "answer"], sort=False).size()
    table = table.reset_index()
    if "recovered" in frame:
        share = frame.groupby(by)["recovered"].mean().rename("recovered").reset_index()
        table = table.merge(share, on=by, how="left")
    order = {pair: i for i, pair in enumerate(ANSWERS)}
    place = [order[pair] for pair in zip(table["network"], table["moves"], strict=True)]
    return table.iloc[np.argsort(place)].reset_index(drop=True)


def holds(pairs: pd.DataFrame) -> pd.Series:
    """Judge pairs of maps by the answer that is known for them.

    Args:
        pairs: One row a pair: ``answer``, and one column a method.

    Returns:
        True where the answer holds: for ``exact``, the oracle warp leaves at most `EXACT`; for
        ``floor``, the best affine warp leaves at most `BEYOND` times the floor, which is at most
        `COARSE`; for ``grid``, the same of a floor above `COARSE`; for ``residual``, it leaves more
        than `BEYOND` times the floor and than 1e-3; for ``permutation``, the same, and the oracle
        warp with the permutation at most `EXACT`.
    """
    reached = pairs["affine"] <= BEYOND * pairs["floor"] + EXACT
    coarse = pairs["floor"] > COARSE
    left = ~reached & (pairs["affine"] > 1e-3)
    verdicts = {
        "exact": pairs["oracle"] <= EXACT,
        "floor": reached & ~coarse,
        "grid": reached & coarse,
        "residual": left,
        "permutation": left & (pairs[PERMUTED] <= EXACT),
    }
    result = pd.Series(False, index=pairs.index)
    for answer, verdict in verdicts.items():
        result |= (pairs["answer"] == answer) & verdict
    return result


SHADES = {
    "exact": "#dceefb",
    "floor": "#e2f3ea",
    "grid": "#efe3f5",
    "permutation": "#fff3cf",
    "residual": "#f2f2f2",
}
ANSWER_LABELS = {
    "exact": "known: oracle warp exact",
    "floor": "known: best warp reaches the floor",
    "grid": "known: best warp reaches a high floor",
    "permutation": "known: warp and channel permutation exact",
    "residual": "known: no warp reaches the floor",
}
COLOURS = {m: Method(m).colour for m in ("identity", "floor", "oracle", "affine")} | {
    PERMUTED: "#D55E00"
}
MARKERS = {"identity": "|", "floor": "|", "oracle": "o", "affine": "D", PERMUTED: "*"}
_EXACT_AT, _LOWEST = -4.7, -4.0
"""Where exact answers are drawn, and the least residual that is drawn in its own place, log10."""


def _place(residual: float) -> float:
    """Where a residual is drawn: on a logarithmic scale, what is exact to the left of it."""
    return _EXACT_AT if residual <= EXACT else max(float(np.log10(residual)), _LOWEST)


def plot(frame: pd.DataFrame) -> Figure:
    """Draw the residuals by network, one panel a family, shaded by the known answer.

    Args:
        frame: What `measure` returned.

    Returns:
        The figure.
    """
    table = summary(frame)
    networks = list(dict.fromkeys(table["network"]))
    families = [family for family in MOVES if (table["moves"] == family).any()]
    height = 1.9 + 0.42 * len(networks)
    figure = Figure(figsize=(2.5 * len(families) + 1.2, height), layout="constrained")
    panels = figure.subplots(1, len(families), sharey=True, squeeze=False)[0]
    for axes, family in zip(panels, families, strict=True):
        _draw_family(axes, table[table["moves"] == family], networks)
        axes.set_title(family, fontsize=12)
    panels[0].set_yticks(range(len(networks)), networks)
    panels[0].set_ylim(len(networks) - 0.5, -0.5)
    right = int((table["holds"] * table["pairs"]).sum().round())
    figure.suptitle(
        f"{RESIDUAL}, mean over images, sizes and seeds; "
        f"the known answer holds for {right} of {table['pairs'].sum()} pairs of maps",
        fontsize=12,
    )
    handles: list[Line2D | Patch] = [
        Line2D(
            [],
            [],
            color=colour,
            marker=MARKERS[method],
            markersize=_marker_size(method),
            markeredgewidth=2 if MARKERS[method] == "|" else 0.5,
            linestyle="",
            label=Method(method).label,
        )
        for method, colour in COLOURS.items()
        if table[method].notna().any()
    ]
    handles += [
        Patch(color=SHADES[answer], label=label)
        for answer, label in ANSWER_LABELS.items()
        if (table["answer"] == answer).any()
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False, fontsize=10)
    return figure


def _marker_size(method: str) -> float:
    return {"|": 13, "o": 7, "D": 5, "*": 11}[MARKERS[method]]


def _draw_family(axes: Axes, table: pd.DataFrame, networks: list[str]) -> None:
    """One panel: shades, residuals, and a mark where an answer failed."""
    for row in table.to_dict("records"):
        y = networks.index(row["network"])
        axes.axhspan(y - 0.46, y + 0.46, color=SHADES[row["answer"]], linewidth=0)
        for method, colour in COLOURS.items():
            if np.isfinite(row[method]):
                axes.plot(
                    _place(row[method]),
                    y,
                    marker=MARKERS[method],
                    markersize=_marker_size(method),
                    markeredgewidth=2 if MARKERS[method] == "|" else 0.5,
                    markeredgecolor=colour if MARKERS[method] == "|" else "white",
                    color=colour,
                    clip_on=False,
                )
        if row["holds"] < 1:
            text = f"holds for {100 * row['holds']:.0f} %"
            axes.text(_LOWEST, y, text, color="#b00020", fontsize=8, va="center")
    axes.set_xlim(_EXACT_AT - 0.35, 0.7)
    axes.set_xticks([_EXACT_AT, -3, -2, -1, 0], ["exact", "0.001", "0.01", "0.1", "1"], fontsize=10)
    axes.axvline((_EXACT_AT + _LOWEST) / 2, color="0.6", linewidth=0.8, linestyle=":")
