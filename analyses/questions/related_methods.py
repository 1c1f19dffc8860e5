"""Does the papers' theory hold for the methods that people really use?

It says that what moves features in space (maps, the taps of filters, descriptors) cannot in general
give what the network sees upright, that what moves the *input* can, and that in a network over C4
the channels have to be rolled as well. Each method of `analyses.related.methods` is built or
trained as its authors say, at one small size, on the same digits, and asked the same: how far is
what it *hands on* for a moved digit, after its own action, from what it hands on for the digit that
was not moved?

``left`` is that, as `fvu` is: squared differences over the variance about the channels' means, of
the first test digits. ``left_true`` is the same with the true pose in place of the one that the
method finds: what its action can do, whoever finds the pose. A method that moves nothing is then
read back at the true place, with every benefit of the doubt. Beside them stand, through the same
method,

==================  ============================================================================
``floor_input``     the image moved back by the true pose, bilinearly, and then the method: what
                    interpolating pixels leaves
``floor_map``       of what moves a map: the upright map, moved and moved back; no filter has a
                    part in it
``chance``          another digit in the place of the moved one
==================  ============================================================================

A perfect method leaves 0 at quarter turns, which interpolate nothing, and the floor elsewhere; so
does an untrained network whose input is moved. One that cannot align leaves something between floor
and chance, and untrained ones do so as well; unrelated digits leave 1 (a channel of which little
depends on the digit) to 2. A representation that is the same for all digits has no variance and is
not measured.

*Aligned* is what leaves less than `MARGIN` of the way from floor to chance, with 95 % confidence
over seeds; what leaves more, with as much, is not; between the two it is undecided.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from torch import Tensor

from analyses import training_figures, training_plan
from analyses.related.acting import CANVAS, STILL, Acting, Pose
from analyses.related.learning import NETWORK, Plan, Recipe, Variant
from analyses.related.methods import METHODS, RECIPES, Method, Motions
from analyses.training_plan import Setup
from invariance_probe import files
from invariance_probe.perturbations.parsing import parse_perturbation
from invariance_probe.progress import Progress
from invariance_probe.statistics import deming, t_interval
from invariance_probe.training import pose_statistics

MARGIN = 0.05
"""Share of the way from floor to chance."""


@dataclass(frozen=True, kw_only=True)
class Config(Plan):
    """What to train and measure, where `Plan` does not say it.

    Attributes:
        images: Test digits that are moved, the first ones.
        fitted: Training digits that steerers and matrices are fitted to, the first ones.
    """

    images: int = 500
    fitted: int = 300

    def setups(self) -> tuple[Setup, ...]:
        """List the trainer's part.

        Returns:
            The papers' networks.
        """
        return tuple(
            each.setup(self.steps, each.variant) for each in RECIPES.values() if isinstance(each, Variant)
        )

    @property
    def kept(self) -> None:
        """None: what is handed on takes weights."""


PRESETS = {
    "tiny": Config(
        preset="tiny", data="mnist-5k", width=0.5, seeds=2, images=40, fitted=40, processes=1
    ),
    "quick": Config(preset="brief", data="mnist-5k", width=0.5, seeds=2),
    "two-cores": Config(preset="brief", data="mnist", width=0.5, steps=250, processes=1),
}


def measure(config: Config) -> pd.DataFrame:
    """Train what is missing, move digits, and compare what is handed on.

    Args:
        config: What to train and measure.

    Returns:
        One row per ``method``, ``seed``, ``motions`` (a group) and ``motion``: ``moves``,
        ``source``; ``left``, ``left_true``, ``floor_input``, ``floor_map`` (NaN where no map is
        moved) and ``chance`` as the module's docstring explains; ``error`` (share of moved digits
        that are named wrongly, by the network's own classifier from what is handed on),
        ``error_upright``, ``agreement`` (share that is named as upright); of methods that find a
        pose ``slope`` and ``spread`` over all motions (degrees, or octaves): of the pose found, less
        that of the same digit upright, against the pose applied, and within classes about it;
        ``preset``, ``machine``, ``data``, ``network``. Networks that are left out are no part of it.
    """
    machines, known = set(), set()
    for result in config.results():
        about = training_plan.row(result, config.preset)
        machines.add(about["machine"])
        known.add((about["variant"], about["perturbation"], about["seed"]))
    frames = []
    with Progress(True, doing="moving digits", units="networks") as bar:
        bar.start(config.seeds * len(RECIPES))
        for seed in range(config.seeds):
            for recipe in RECIPES.values():
                if not isinstance(recipe, Variant) or _asked(recipe, seed) in known:
                    frames.append(_measured(config, recipe, seed))
                bar.advance(1)
    return pd.concat(frames, ignore_index=True).assign(
        preset=config.preset,
        machine="; ".join(sorted(machines)),
        data=config.source,
        network=NETWORK,
    )


def _asked(recipe: Variant, seed: int) -> tuple[str, str, int]:
    """What distinguishes a run among those of the plan."""
    return recipe.variant, str(parse_perturbation(recipe.motion)), seed


def _measured(config: Config, recipe: Recipe, seed: int) -> pd.DataFrame:
    """The rows of a network: measured once, and kept beside its weights."""
    methods = [method for method in METHODS if method.recipe == recipe.name]
    kept = recipe.folder(config, seed) / f"measured-{config.images}-{config.fitted}.parquet"
    if kept.is_file():
        found = files.read_parquet(kept)
        if set(found["method"]) == {method.name for method in methods}:
            return found
    network = recipe.trained(config, seed)
    test, train = config.dataset.test, config.dataset.train
    digits, labels = test.images[: config.images].float() / 255, test.labels[: config.images, 0]
    fitted = train.images[: config.fitted].float() / 255
    found = pd.concat(
        [
            rows(method, method.view(network, fitted).eval(), digits, labels).assign(seed=seed)
            for method in methods
        ],
        ignore_index=True,
    )
    files.write_file(kept, found.to_parquet)
    return found


@torch.no_grad()
def rows(method: Method, acting: Acting, digits: Tensor, labels: Tensor) -> pd.DataFrame:
    """Measure a method on a network.

    Args:
        method: Under which motions, and whether it is told the pose.
        acting: The network.
        digits: Digits, values in [0, 1].
        labels: What they are.

    Returns:
        As of `measure`, less what it says of seed and preset.
    """
    upright = STILL.move(digits)
    encoded = acting.encode(upright)
    true = acting.act(encoded, STILL)
    own = true if method.given else acting.act(encoded, None)
    named, found = acting.head(own).argmax(1), acting.predicted(upright)
    lines: list[dict[str, Any]] = []
    applied, told = [], []
    for motions in method.motions:
        for pose in motions.poses:
            moved = pose.move(digits)
            seen = acting.encode(moved)
            exact = acting.act(seen, pose)
            handed_on = exact if method.given else acting.act(seen, None)
            answer = acting.head(handed_on).argmax(1)
            lines.append({
                "motions": str(motions),
                "motion": _named(pose),
                "left": left(handed_on, own),
                "left_true": left(exact, true),
                "floor_input": left(acting.act(acting.encode(pose.undone(moved)), STILL), true),
                "floor_map": _floor_of_map(acting, encoded, pose) if encoded is not upright else math.nan,
                "chance": left(exact.roll(1, 0), true),
                "error": float((answer != labels).double().mean()),
                "agreement": float((answer == named).double().mean()),
            })
            if found is not None:
                told.append(acting.predicted(moved) - found)
                applied.append(torch.full_like(told[-1], pose.numbers[0]))
    about = {"method": method.name, "moves": str(method.moves), "source": method.source}
    about["error_upright"] = float((named != labels).double().mean())
    return pd.DataFrame(lines).assign(**about, **_pose_numbers(applied, told, labels))


def left(handed_on: Tensor, reference: Tensor) -> float:
    """Say how far representations are from those of the same digits upright.

    Args:
        handed_on: Maps or vectors, (digit, channel, ...).
        reference: Of the digits upright.

    Returns:
        The fvu; NaN where the reference does not vary.
    """
    wanted = reference.double().flatten(2) if reference.dim() > 2 else reference.double()[..., None]
    gap = handed_on.double().reshape(wanted.shape) - wanted
    variance = (wanted - wanted.mean((0, 2), keepdim=True)).square().sum()
    return float(gap.square().sum() / variance) if variance > 0 else math.nan


def _floor_of_map(acting: Acting, encoded: Tensor, pose: Pose) -> float:
    return left(acting.placed(pose.done(encoded), pose), acting.placed(encoded, STILL))


def _named(pose: Pose) -> str:
    """Kind and numbers of a motion."""
    numbers = ",".join(f"{number:g}" for number in pose.numbers)
    return f"{parse_perturbation(pose.motion).name} {numbers}"


def _pose_numbers(applied: list[Tensor], told: list[Tensor], labels: Tensor) -> dict[str, float]:
    """Slope and spread of the poses found."""
    if not told:
        return {"slope": math.nan, "spread": math.nan}
    x, y = (torch.cat(each).double().numpy() for each in (applied, told))
    circular = bool(np.abs(x).max() > 1)  # degrees, not octaves
    if circular:
        y = (y + 180) % 360 - 180
    classes = labels.repeat(len(told)).numpy()
    spread = pose_statistics.within_class_spread(y - x, classes, circular=circular)
    return {"slope": deming(x, y).slope, "spread": spread}


def summary(frame: pd.DataFrame) -> pd.DataFrame:
    """Judge each method under each group of motions.

    Args:
        frame: What `measure` returned.

    Returns:
        One row per ``method`` and ``motions``, with ``moves``: ``left``, ``left_true`` and
        ``share`` (of the way from floor to chance, see `_shares`) with ``_low`` and ``_high``, 95 %
        intervals over seeds; means of ``floor`` (the larger of both), ``chance``, ``error``,
        ``error_upright``, ``agreement``, ``slope`` and ``spread``; ``theory`` (``aligns``, or
        ``leaves``), ``verdict``, see `verdict`, and ``seeds``.
    """
    lines = []
    for method in METHODS:
        for motions in method.motions:
            here = (frame["method"] == method.name) & (frame["motions"] == str(motions))
            seeds = frame[here].groupby("seed").mean(numeric_only=True)
            if seeds.empty:
                continue
            seeds["floor"] = seeds[["floor_input", "floor_map"]].max(axis=1)
            own, true = (_shares(seeds, column) for column in ("left", "left_true"))
            line: dict[str, Any] = {
                "method": method.name,
                "moves": str(method.moves),
                "motions": str(motions),
            }
            for name, values in (
                ("left", seeds["left"]),
                ("left_true", seeds["left_true"]),
                ("share", true),
            ):
                ends = t_interval(values.to_numpy(float))
                line |= dict(zip((name, f"{name}_low", f"{name}_high"), ends, strict=True))
            line |= seeds[["floor", "chance", *_MEANS]].mean().to_dict()
            aligns = motions in method.aligned
            line["theory"] = "aligns" if aligns else "leaves"
            line["verdict"] = verdict(aligns, line, t_interval(own.to_numpy(float)))
            lines.append(line | {"seeds": len(seeds)})
    return pd.DataFrame(lines)


_MEANS = ("error", "error_upright", "agreement", "slope", "spread")


def _shares(seeds: pd.DataFrame, column: str) -> pd.Series:
    """What is left, of the way from floor (0) to chance (1)."""
    share: pd.Series = (seeds[column] - seeds["floor"]) / (seeds["chance"] - seeds["floor"])
    return share


def verdict(aligns: bool, line: dict[str, Any], own: tuple[float, float, float]) -> str:
    """Say whether the theory holds.

    Args:
        aligns: Whether the theory says that the method aligns, if the pose is right.
        line: ``share_low``, ``share_high``, ``left``, ``left_true`` and ``chance``.
        own: The share, and its ends, of what is left with the pose that the method finds.

    Returns:
        What was found with the true pose against what the theory says; where the method aligns
        with the true pose, and with its own does not, what it leaves then.
    """
    of = f"of {line['chance']:.2f}"
    if line["share_high"] < MARGIN:
        found = "aligned as far as interpolation allows"
        if own[1] > MARGIN:
            found += f" by the true pose, {line['left']:.2f} {of} left by its own"
        return f"{found}: the theory holds" if aligns else f"{found}, against the theory"
    if line["share_low"] > MARGIN:
        found = f"leaves {line['left_true']:.2f} {of}"
        return f"{found}, against the theory" if aligns else f"{found}: the theory holds"
    return "undecided"


def plot(frame: pd.DataFrame) -> Figure:
    """Draw what each method leaves, by what it moves, a panel a group of motions.

    Args:
        frame: What `measure` returned.

    Returns:
        The figure.
    """
    table = summary(frame)
    names = [method.name for method in METHODS if method.name in set(table["method"])]
    places = _places(names)
    groups = [str(motions) for motions in Motions if str(motions) in set(table["motions"])]
    figure = Figure(figsize=(3.6 + 2.5 * len(groups), 0.27 * len(places) + 3.2), layout="constrained")
    panels = figure.subplots(1, len(groups), sharey=True, squeeze=False)[0]
    for axes, motions in zip(panels, groups, strict=True):
        here = table[table["motions"] == motions].set_index("method")
        _draw(axes, here, frame[frame["motions"] == motions], places)
        axes.set_title(motions, fontsize=11)
    ...
