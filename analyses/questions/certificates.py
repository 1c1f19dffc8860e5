"""How much of what is left is beyond any warp, and are the best warps found the best?

Two limits are not the method's. What a warp may do position by position, an `adversary` does: it
reads each position's best place, and no bound can be larger than what it leaves. At block 5 of
EfficientNet-Lite0, rotated by 45 to 135 degrees, it leaves 0.61 to 0.65 of what the best affine
warp leaves, and the bound is 0.59 to 0.63 of that: to certify more, one must ask about fewer warps
(`flow`). And at 56 x 56 cells the exact bound takes some twelve forward passes: of ten million
pairs of a position and a cell (smooth random maps of 24 channels) one in ten passes the sieve of
one separating plane each, one in seventeen would even if the nearest distance were known before,
and each of those is a hull of 15 faces.
"""

import math
import statistics
import time
from dataclasses import dataclass

import pandas as pd
import seaborn as sns
import torch
from hypothesis import Phase, given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from torch import Tensor

import invariance_probe as ip
from analyses.efficientnet import blocks
from analyses.efficientnet_pairs import MapPairs, efficientnet_pairs, turns_and_scalings
from invariance_probe.alignment import metrics
from invariance_probe.certificates import any_warp, attacks, branch_and_bound, families
from invariance_probe.network import hooks
from invariance_probe.network.models import load_model
from proofs.checking import deterministic

_TIMED_PAIRS = 2

EXACT_UP_TO = 2**24
"""Positions times cells up to which a bound counts all positions here: maps of 56 x 56."""
ATTACKABLE = 28
"""Longest side of maps that every position's best reading is searched in."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """What to measure.

    Attributes:
        layers: Layers of EfficientNet-Lite0 for the any-warp bound.
        degrees: Rotations of the input.
        factors: Scalings of the input.
        images: Number of photographs.
        certified: Those of the layers whose first image's warps are certified.
        certified_degrees: Rotations at which they are.
        certified_factors: Scalings at which they are.
        work: Budgets of a certificate, in boxes times positions of the region.
        gap: What certificates are asked for.
        warps: Warps of each kind that attack each pair of real maps of up to 28 x 28.
        examples: Small maps drawn by Hypothesis, to be attacked by as many warps each.
        repeats: Timed runs, of which the median counts.
        seed: Root of all random choices.
    """

    layers: tuple[str, ...] = blocks(0, 2, 3, 5, 10, 15)
    degrees: tuple[float, ...] = (10, 45, 90, 135)
    factors: tuple[float, ...] = (0.7, 1.4)
    images: int = 2
    certified: tuple[str, ...] = blocks(2, 3, 5, 10, 15)
    certified_degrees: tuple[float, ...] = (45,)
    certified_factors: tuple[float, ...] = (1.4,)
    work: tuple[float, ...] = (1e6, 1e7)
    gap: float = 0.01
    warps: int = 64
    examples: int = 400
    repeats: int = 5
    seed: int = 0


PRESETS = {
    "quick": Config(),
    "tiny": Config(
        layers=("_blocks.10", "_blocks.15"),
        degrees=(45,),
        factors=(),
        images=1,
        certified=("_blocks.15",),
        certified_factors=(),
        work=(2e4,),
        warps=4,
        examples=5,
        repeats=1,
    ),
}


def measure(config: Config) -> pd.DataFrame:
    """Bound, attack and certify.

    Args:
        config: What to measure.

    Returns:
        One row a pair, attack or certificate, told apart by ``part``:

        - ``any-warp``: ``layer``, ``side``, ``transform``, ``parameter``, ``image``; the fvu of
          ``oracle``, best ``affine`` warp found, ``adversary`` (every position sent where the
          reading is closest; maps of up to 28 x 28) and ``any_warp`` (the bound); ``counted``,
          ``ms_bound`` and ``ms_forward``.
        - ``attack``: ``kind``, ``maps`` (``real`` or ``drawn``), ``tried`` warps, ``violations``
          (warps that left less than the bound) and ``closest`` (least ratio to the bound).
        - ``certificate``: ``family``, ``work``, ``positions``, ``fvu``, ``fvu_lower``, ``gap``,
          ``boxes``, ``seconds``, ``outcome``, and the engine's ``affine``.
    """
    generator = torch.Generator().manual_seed(config.seed)
    moves = turns_and_scalings(config.degrees, config.factors)
    rows: list[dict[str, object]] = []
    for pairs in efficientnet_pairs(config.layers, moves, config.images):
        rows += _any_warp(pairs, config, generator)
        if pairs.layer in config.certified:
            rows += _certificates(pairs, config)
    rows += _drawn_attacks(config.examples, config.warps)
    return pd.DataFrame(rows)


def _target(pairs: MapPairs) -> metrics.Target:
    """Normalise as the engine does by default."""
    finite = torch.ones(len(pairs), dtype=torch.bool)
    mean = metrics.pooled_mean(pairs.reference, pairs.region, finite)
    return metrics.Target(pairs.reference, pairs.region, mean)


def _any_warp(
    pairs: MapPairs, config: Config, generator: torch.Generator
) -> list[dict[str, object]]:
    target = _target(pairs)
    found = ip.align(pairs.reference, pairs.moved, oracle=pairs.oracle, region=pairs.region)
    bound = any_warp.any_warp_bound(
        pairs.reference, pairs.moved, pairs.region, exact_up_to=EXACT_UP_TO
    )
    certified = target.bound(bound.error).fvu
    seconds = _side_by_side(pairs, config.repeats)
    adversary = torch.full_like(certified, torch.nan)
    attacked: list[dict[str, object]] = []
    if max(pairs.reference.shape[-2:]) <= ATTACKABLE:
        tallies = {kind: _Tally(kind, "real") for kind in attacks.KINDS}
        left = [
            _attack(
                pairs.reference[i],
                pairs.moved[i],
                pairs.region[i],
                float(bound.error[i]),
                config.warps,
                generator,
                tallies,
            )
            for i in range(len(pairs))
        ]
        adversary = target.bound(torch.tensor(left, dtype=torch.float64)).fvu
        attacked = [{"layer": pairs.layer, **tally.row()} for tally in tallies.values()]
    return [
        {
            "part": "any-warp",
            **pairs.named(i),
            "side": pairs.reference.shape[-1],
            "oracle": float(found.oracle.fvu[i]),
            "affine": float(found.fvu[i]),
            "adversary": float(adversary[i]),
            "any_warp": float(certified[i]),
            "counted": float(bound.counted[i]),
            **seconds,
        }
        for i in range(len(pairs))
    ] + attacked


def _side_by_side(pairs: MapPairs, repeats: int) -> dict[str, float]:
    """Median milliseconds of a pair's bound and of the forward pass of one image, in turns."""
    few = slice(_TIMED_PAIRS)
    loaded = load_model("efficientnet-lite0")
    image = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    taken: dict[str, list[float]] = {"ms_bound": [], "ms_forward": []}
    with hooks.evaluating(loaded.module), torch.inference_mode():
        loaded.module(image)
        for _ in range(repeats):
            began = time.perf_counter()
            any_warp.any_warp_bound(
                pairs.reference[few],
                pairs.moved[few],
                pairs.region[few],
                exact_up_to=EXACT_UP_TO,
            )
            passed = time.perf_counter() - began
            taken["ms_bound"].append(1e3 * passed / min(len(pairs), _TIMED_PAIRS))
            began = time.perf_counter()
            loaded.module(image)
            taken["ms_forward"].append(1e3 * (time.perf_counter() - began))
    return {name: statistics.median(values) for name, values in taken.items()}


class _Tally:
    """Counts of one kind of attack."""

    def __init__(self, kind: str, maps: str) -> None:
        self.kind, self.maps = kind, maps
        self.tried, self.violations, self.closest = 0, 0, float("inf")

    def add(self, left: Tensor, bound: float) -> None:
        self.tried += len(left)
        self.violations += int((left < bound).sum())
        if bound > 0:
            self.closest = min(self.closest, float(left.min()) / bound)

    def row(self) -> dict[str, object]:
        return {
            "part": "attack",
            "kind": self.kind,
            "maps": self.maps,
            "tried": self.tried,
            "violations": self.violations,
            "closest": self.closest,
        }


def _attack(
    reference: Tensor,
    moved: Tensor,
    region: Tensor,
    bound: float,
    warps: int,
    generator: torch.Generator,
    tallies: dict[str, _Tally],
) -> float:
    """Attack a bound with warps of all kinds; return what the strongest of them leaves."""
    size = (reference.shape[-2], reference.shape[-1])
    least = float("inf")
    for kind, tally in tallies.items():
        if kind == "adversarial":
            grid = torch.cat(attacks.adversarial(reference, moved))
        else:
            grid = attacks.draw(kind, warps, size, generator)
        left = attacks.left_by(reference, moved, region, grid)
        tally.add(left, bound)
        least = min(least, float(left.min()))
    return least


def _drawn_attacks(examples: int, warps: int) -> list[dict[str, object]]:
    """Attack the bounds of small maps of all temperaments, drawn by Hypothesis."""
    tallies = {kind: _Tally(kind, "drawn") for kind in attacks.KINDS}

    @deterministic(examples, Phase.generate)  # type: ignore[untyped-decorator]  # see there
    @given(case=attacks.cases, seed=st.integers(0, 2**31))
    def attack(case: attacks.Case, seed: int) -> None:
        bound = any_warp.any_warp_bound(case.reference, case.moved, case.region)
        maps = (case.reference[0], case.moved[0], case.region[0])
        generator = torch.Generator().manual_seed(seed)
        _attack(*maps, float(bound.error), warps, generator, tallies)

    attack()
    return [tally.row() for tally in tallies.values()]


def _certificates(pairs: MapPairs, config: Config) -> list[dict[str, object]]:
    chosen = {
        *(("rotation", d) for d in config.certified_degrees),
        *(("scaling", f) for f in config.certified_factors),
    }
    target = _target(pairs)
    found = ip.align(pairs.reference, pairs.moved, oracle=pairs.oracle, region=pairs.region)
    rows: list[dict[str, object]] = []
    for i in range(len(pairs)):
        if pairs.image[i] != pairs.image[0]:
            continue
        if (pairs.transform[i], pairs.parameter[i]) not in chosen:
            continue
        positions = int(pairs.region[i].sum())
        for family in families.PARAMETERS:
            for work in config.work:
                options = branch_and_bound.CertificateOptions(
                    family=family, gap=config.gap, max_boxes=max(1, round(work / positions))
                )
                began = time.perf_counter()
                proof = branch_and_bound.certify(
                    pairs.reference[i],
                    pairs.moved[i],
                    oracle=pairs.oracle[i],
                    region=pairs.region[i],
                    channel_mean=target.channel_mean[i],
                    options=options,
                )
                rows.append({
                    "part": "certificate",
                    **pairs.named(i),
                    "side": pairs.reference.shape[-1],
                    "family": family,
                    "work": work,
                    "positions": positions,
                    "affine": float(found.fvu[i]),
                    "fvu": proof.fvu,
                    "fvu_lower": proof.fvu_lower,
                    "gap": proof.gap,
                    "boxes": proof.boxes,
                    "seconds": time.perf_counter() - began,
                    "outcome": proof.outcome.name.lower(),
                })
                if proof.complete:
                    break
    return rows


def summary(frame: pd.DataFrame) -> pd.DataFrame:
    """Condense to what is asked of the certificates.

    Args:
        frame: What `measure` returned.

    Returns:
        Means over images of the any-warp part, with ``certified_share``, the bound over what the
        best affine warp leaves; sums of the attacks by kind; the certificates as they are.
    """
    parts = []
    some = frame[frame["part"] == "any-warp"]
    keys = ["part", "layer", "side", "transform", "parameter"]
    values = ["oracle", "affine", "adversary", "any_warp", "counted", "ms_bound", "ms_forward"]
    means = some.groupby(keys, sort=False)[values].mean().reset_index()
    means["certified_share"] = means["any_warp"] / means["affine"]
    parts.append(means)
    some = frame[frame["part"] == "attack"]
    counted = {"tried": "sum", "violations": "sum", "closest": "min"}
    sums = some.groupby(["part", "maps", "kind"], sort=False).agg(counted)
    total = sums.groupby("part").agg(counted)
    parts += [sums.reset_index(), total.reset_index().assign(kind="all", maps="all")]
    some = frame[frame["part"] == "certificate"]
    parts.append(some.drop(columns="image").dropna(axis=1, how="all"))
    return pd.concat(parts, ignore_index=True)


def plot(frame: pd.DataFrame) -> Figure:
    """Draw the shares beyond any warp by layer, and the gaps that were proven.

    Args:
        frame: What `measure` returned.

    Returns:
        The figure.
    """
    figure = Figure(figsize=(12, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    some = frame[(frame["part"] == "any-warp") & (frame["transform"] == "rotation")]
    angles = sorted(some["parameter"].unique())
    layers = list(dict.fromkeys(some["layer"]))
    width = 0.8 / max(1, len(angles))
    colours = sns.color_palette("flare", len(angles))
    for k, (angle, colour) in enumerate(zip(angles, colours, strict=True)):
        means = some[some["parameter"] == angle].groupby("layer")[["affine", "any_warp"]].mean()
        at = [n + (k - (len(angles) - 1) / 2) * width for n in range(len(layers))]
        left.bar(at, means.loc[layers, "affine"], 0.9 * width, color=colour, alpha=0.35)
        left.bar(at, means.loc[layers, "any_warp"], 0.9 * width, color=colour, label=f"{angle:g}°")
    sides = [int(some[some["layer"] == layer]["side"].iloc[0]) for layer in layers]
    names = [f"{layer}\n{side} × {side}" for layer, side in zip(layers, sides, strict=True)]
    left.set_xticks(range(len(layers)), names, fontsize=9)
    left.set_ylabel("fraction of variance")
    left.set_title(
        "left by the best affine warp found (pale);\nby any warp at least (full)", fontsize=11
    )
    left.set_ylim(top=1.2 * left.get_ylim()[1])  # room for the legend
    left.legend(frameon=False, title="rotation", fontsize=9, title_fontsize=9, ncols=4)
    proofs = frame[frame["part"] == "certificate"].copy()
    proofs["percent"] = 100 * proofs["gap"]
    # the search for a proof stops after so many boxes of warps, times the positions that it reads
    work = "work allowed"
    proofs[work] = proofs["work"].map(lambda w: f"$10^{{{math.log10(w):.0f}}}$ readings")
    sns.scatterplot(
        proofs,
        x="positions",
        y="percent",
        hue="family",
        style=work,
        s=90,
        ax=right,
    )
    right.axhline(1, color="0.4", linestyle="--")
    right.set(xscale="log", yscale="log", xlabel="positions of the region", ylabel="gap (%)")
    right.set_title(
        "proven: no warp of the family leaves less than\nthe one found by more than this gap",
        fontsize=11,
    )
    right.legend(frameon=False, fontsize=9)
    return figure
