"""Does the search find the best affine warp there is, and the one that was planted?"""

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
import seaborn as sns
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from torch import Tensor

import invariance_probe as ip
from analyses.efficientnet_pairs import MapPairs, efficientnet_pairs, turns_and_scalings
from invariance_probe.alignment import distortion, metrics, objectives, solver
from invariance_probe.plane import coordinates, regions, sampling

MAX_DISTORTION = 2.0


@dataclass(frozen=True, kw_only=True)
class Config:
    """What to check.

    Attributes:
        layers: Layers of EfficientNet-Lite0, at most 56 x 56 cells.
        degrees: Rotations of the input.
        factors: Scalings of the input.
        images: Number of photographs.
        starts: Random starts that are followed to convergence for the truth.
        planted: Number of planted warps.
        seed: Root of all random choices.
    """

    layers: tuple[str, ...] = ("_blocks.2", "_blocks.4", "_blocks.7", "_blocks.10", "_blocks.15")
    degrees: tuple[float, ...] = (-155, -110, -70, 20, 45, 90, 135, 180)
    factors: tuple[float, ...] = (0.5, 0.7, 1.4, 2.0)
    images: int = 2
    starts: int = 500
    planted: int = 2000
    seed: int = 0


PRESETS = {
    "quick": Config(),
    "tiny": Config(
        layers=("_blocks.15",), degrees=(45,), factors=(0.7,), images=2, starts=50, planted=20
    ),
}


def measure(config: Config) -> pd.DataFrame:
    """Compare the search with many random starts, and with planted warps.

    Args:
        config: What to check.

    Returns:
        One row a pair: ``part`` (``random starts`` or ``planted``), ``layer``, ``transform``,
        ``parameter``, ``image``, ``found`` and ``truth`` (fvu), ``ratio``; for planted ones
        ``pixels``, the largest error over the region, and ``outcome``.
    """
    generator = torch.Generator().manual_seed(config.seed)
    moves = turns_and_scalings(config.degrees, config.factors)
    all_pairs = efficientnet_pairs(config.layers, moves, config.images)
    rows: list[dict[str, object]] = []
    for pairs in all_pairs:
        rows += _against_random_starts(pairs, config.starts, generator)
    share = math.ceil(config.planted / len(all_pairs))
    for pairs in all_pairs:
        rows += _planted(pairs, share, generator)
    return pd.DataFrame(rows)


def random_warps(oracle: Tensor, count: int, generator: torch.Generator, *, shift: float) -> Tensor:
    """Draw warps of the family about an oracle.

    Args:
        oracle: (2, 3), in isotropic or, for square maps, normalised coordinates.
        count: How many.
        generator: Source of randomness.
        shift: Range of the shifts, from -shift to shift.

    Returns:
        (count, 2, 3): any rotation before and after a stretch whose factors are drawn from
        [1/2, 2], evenly on a logarithmic scale.
    """
    warps = distortion.draw_warps(count, generator, max_distortion=MAX_DISTORTION).to(oracle)
    linear, moved = warps[:, :, :2] @ oracle[:, :2], shift * warps[:, :, 2:]
    return torch.cat([linear, oracle[:, 2:] + moved], dim=-1)


def _against_random_starts(
    pairs: MapPairs, count: int, generator: torch.Generator
) -> list[dict[str, object]]:
    found = ip.align(pairs.reference, pairs.moved, oracle=pairs.oracle, region=pairs.region)
    mean = metrics.region_mean(pairs.reference, pairs.region)
    target = metrics.Target(pairs.reference, pairs.region, mean)
    ours = target.score(found.warp(pairs.moved)).fvu
    best = torch.stack([
        _best_of_random_starts(pairs, i, count, generator) for i in range(len(pairs))
    ])
    truth = target.score(sampling.warp(pairs.moved, best)).fvu
    return [
        {
            "part": "random starts",
            **pairs.named(i),
            "found": float(ours[i]),
            "truth": float(truth[i]),
            "ratio": float(ours[i] / truth[i]),
            "outcome": found.outcome[i].name.lower(),
        }
        for i in range(len(pairs))
    ]


def _best_of_random_starts(
    pairs: MapPairs, i: int, count: int, generator: torch.Generator
) -> Tensor:
    """Follow random starts, the oracle and the identity to convergence on the full map."""
    height, width = pairs.reference.shape[-2:]
    change = objectives.isotropic_from_normalised(height, width)
    oracle = (change @ coordinates.homogeneous(pairs.oracle[i]) @ change.inverse())[:2].float()
    reference, moved = pairs.reference[i : i + 1], pairs.moved[i : i + 1]
    region = pairs.region[i : i + 1]
    mean = metrics.region_mean(reference, region)[:, :, None, None].float()
    objective = objectives.InnerProducts(
        reference - mean, moved - mean, region.float(), (height, width)
    )
    starts = torch.cat([
        random_warps(oracle, count, generator, shift=0.5),
        oracle[None],
        torch.eye(2, 3)[None],
    ])
    problem = distortion.LimitedWarps(
        objective=objective,
        pairs=torch.zeros(len(starts), dtype=torch.long),
        oracle=oracle.expand(len(starts), 2, 3),
        max_distortion=MAX_DISTORTION,
    )
    state = solver.descend(solver.start(problem, starts.flatten(1)), problem, max_steps=60)
    best = state.points[int(state.error.nan_to_num(math.inf).argmin())].view(2, 3)
    return (change.inverse() @ coordinates.homogeneous(best) @ change)[:2]


def _planted(pairs: MapPairs, count: int, generator: torch.Generator) -> list[dict[str, object]]:
    """Move maps by known warps, add 1 % noise, and look for the warps."""
    height, width = pairs.moved.shape[-2:]
    identity = torch.eye(2, 3, dtype=torch.float64)
    rows: list[dict[str, object]] = []
    while len(rows) < count:
        theta = random_warps(identity, 64, generator, shift=0.3)
        region = regions.visible(theta, height, width)
        # a fifth of the map in sight, and no fewer cells than pin six parameters down
        seen = region.flatten(1).sum(1) >= max(0.2 * height * width, 16)
        theta, region = theta[seen], region[seen]
        moved = pairs.moved[torch.randint(len(pairs), (len(theta),), generator=generator)]
        reference = sampling.warp(moved, theta)
        scale = reference.flatten(1).std(1)[:, None, None, None]
        noise = torch.randn(reference.shape, generator=generator)
        found = ip.align(reference + 0.01 * scale * noise, moved, region=region)
        x, y = _read_positions(found.theta, height, width)
        x0, y0 = _read_positions(theta, height, width)
        distance = (torch.hypot(x - x0, y - y0) * region).flatten(1).amax(1)
        rows += [
            {
                "part": "planted",
                "layer": pairs.layer,
                "found": float(found.fvu[i]),
                "pixels": float(distance[i]),
                "outcome": found.outcome[i].name.lower(),
            }
            for i in range(len(theta))
        ]
    return rows[:count]


def _read_positions(theta: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    matrix = coordinates.index_matrix_from_theta(theta, height, width)
    return coordinates.read_positions(matrix, height, width)


def summary(frame: pd.DataFrame) -> pd.DataFrame:
    """Condense to what is asked of the search.

    Args:
        frame: What `measure` returned.

    Returns:
        By part and layer, and over all layers: number of pairs, the share that meets the bar
        (within 1 % of the truth; 0.05 pixels), the median and the worst.
    """
    rows = []
    for part, column, bar in (("random starts", "ratio", 1.01), ("planted", "pixels", 0.05)):
        some = frame[frame["part"] == part]
        for layer in [*dict.fromkeys(some["layer"]), "all"]:
            values = some[column] if layer == "all" else some[some["layer"] == layer][column]
            rows.append({
                "part": part,
                "layer": layer,
                "pairs": len(values),
                "bar": f"{column} <= {bar}",
                "share_within": float((values <= bar).mean()),
                "median": values.median(),
                "worst": values.max(),
            })
    return pd.DataFrame(rows)


def plot(frame: pd.DataFrame) -> Figure:
    """Draw the distributions of both parts, by layer.

    Args:
        frame: What `measure` returned.

    Returns:
        The figure.
    """
    figure = Figure(figsize=(11.5, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    layers = list(dict.fromkeys(frame["layer"]))
    colours = sns.color_palette("flare", len(layers))
    starts, planted = (frame[frame["part"] == part] for part in ("random starts", "planted"))
    for layer, colour in zip(layers, colours, strict=True):
        part = frame[frame["layer"] == layer]
        excess = 100 * (part[part["part"] == "random starts"]["ratio"].dropna() - 1)
        sns.ecdfplot(x=excess, ax=left, color=colour)
        pixels = part[part["part"] == "planted"]["pixels"].dropna().clip(lower=1e-5)
        sns.ecdfplot(x=np.log10(pixels), ax=right, color=colour)
    _name_outliers(left, 100 * (starts["ratio"].dropna() - 1), 1, "{count} of {all} beyond 1 %")
    pixels = planted["pixels"].dropna()
    beyond = "{count} of {all} beyond 0.05 pixels"
    _name_outliers(right, np.log10(pixels.clip(lower=1e-5)), math.log10(0.05), beyond)
    left.set_title("against the best of random starts", fontsize=11)
    right.set_title("against warps that were planted", fontsize=11)
    left.axvline(1, color="0.4", linestyle="--")
    left.set_xlabel("residual above the best of random starts (%)")
    left.set_ylabel("share of pairs")
    right.axvline(math.log10(0.05), color="0.4", linestyle="--")
    right.set_xlabel("planted warp: largest error over the region (pixels)")
    right.set_ylabel("share of planted warps")
    ticks = list(range(-5, 2))
    right.set_xticks(ticks, [f"$10^{{{t}}}$" for t in ticks])
    handles = [
        Line2D([], [], color=colour, label=layer)
        for layer, colour in zip(layers, colours, strict=True)
    ]
    figure.legend(handles=handles, loc="outside right center", frameon=False)
    figure.suptitle("How close the search comes; dashed: what is asked for", fontsize=12)
    return figure


def _name_outliers(axes: Axes, values: pd.Series, bar: float, words: str) -> None:
    """Mark what misses the bar, which a curve of thousands would hide."""
    missed = values[values > bar]
    if len(missed):
        axes.plot(missed, [1.0] * len(missed), "o", color="#D55E00", markersize=7, clip_on=False)
    said = words.format(count=len(missed), all=len(values))
    axes.text(0.97, 0.55, said, ha="right", color="#D55E00", transform=axes.transAxes, fontsize=10)
