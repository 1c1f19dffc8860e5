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
``floor_map``       of what moves a map: what a map would leave that moves like the image but has
                    cells 4 pixels wide, see `measuring.floor_of_map`
``chance``          another digit in the place of the moved one
==================  ============================================================================

A perfect method leaves 0 at quarter turns, which interpolate nothing, and the floor elsewhere; so
does an untrained network whose input is moved. One that cannot align leaves something between floor
and chance, and untrained ones do so as well; unrelated digits leave 1 (a channel of which little
depends on the digit) to 2. A training that died hands on the same for all digits, of which another
digit leaves nothing (less than `DEAD`): it says nothing, and is left out and counted.

*Aligned* is what leaves less than `MARGIN` of the way from floor to chance, with 95 % confidence
over seeds; what leaves more, with as much, is not; between the two it is undecided. Where nothing
is interpolated any rest is one: what leaves `ROUNDING` or more leaves something, if little.

What the theory says of each was written down first but for two: that scaled windows of the network
of 1 x 1 filters see other content, and that layers 1 and 3 of the plain CNN are asked, beside which
C1 stands. Steps and images were cut after a trial to fit half an hour. Localizers do not take off
in 250 steps: of C0, C1, SL1 and the inverse compositional transformer only ``left_true`` tells what
the method can do. Trainings that died are left out; ``seeds`` counts those that did not.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from analyses import training_figures, training_plan
from analyses.related import measuring
from analyses.related.learning import NETWORK, Plan, Recipe, Variant
from analyses.related.methods import METHODS, RECIPES, Method, Motions
from analyses.training_plan import Setup
from invariance_probe import files
from invariance_probe.perturbations.parsing import parse_perturbation
from invariance_probe.progress import Progress
from invariance_probe.statistics import t_interval

MARGIN = 0.05
"""Share of the way from floor to chance: floors between cells are estimates."""
DEAD = 0.01
"""What another digit leaves, at most, of what is the same for all digits."""
ROUNDING = 1e-4
"""The same where the floor is 0."""


@dataclass(frozen=True, kw_only=True)
class Config(Plan):
    """What to train and measure, where `Plan` does not say it.

    Attributes:
        methods: Which of `METHODS`, by name.
        images: Test digits that are moved, the first ones.
        fitted: Training digits that steerers and matrices are fitted to, the first ones.
    """

    methods: tuple[str, ...] = tuple(method.name for method in METHODS)
    images: int = 200
    fitted: int = 300

    @property
    def recipes(self) -> tuple[Recipe, ...]:
        """The networks that they need."""
        needed = {method.recipe for method in METHODS if method.name in self.methods}
        return tuple(recipe for name, recipe in RECIPES.items() if name in needed)

    def setups(self) -> tuple[Setup, ...]:
        """List the trainer's part.

        Returns:
            The papers' networks.
        """
        return tuple(
            each.setup(self.steps, each.variant)
            for each in self.recipes
            if isinstance(each, Variant)
        )

    @property
    def kept(self) -> None:
        """None: what is handed on takes weights."""


PRESETS = {
    "tiny": Config(
        preset="tiny",
        data="mnist-5k",
        width=0.5,
        steps=4,
        seeds=2,
        methods=(
            *("plain CNN", "rotated RoIAlign, plain CNN", "rotated RoIAlign of the image"),
            *("rotated RoIAlign, C4 network", "RiRoIAlign, C4 network"),
            *("a matrix each turn, C4 network", "canonicalizer, any angle", "C0"),
        ),
        images=24,
        fitted=24,
        processes=1,
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
        pose ``slope`` and ``spread`` over all motions (degrees, or octaves): of the pose found,
        less that of the same digit upright, against the pose applied, and within classes about it;
        ``preset``, ``images_seen``, ``machine``, ``data``, ``network``. Networks that are not
        there, and must not be trained, are no part of it.
    """
    machines, known, lengths = set(), set(), set()
    for result in config.results():
        about = training_plan.row(result, config.preset)
        machines.add(about["machine"])
        lengths.add(about["images_seen"])
        known.add((about["variant"], about["perturbation"], about["seed"]))
    frames = []
    with Progress(True, doing="moving digits", units="networks") as bar:
        bar.start(config.seeds * len(config.recipes))
        for seed in range(config.seeds):
            for recipe in config.recipes:
                if not isinstance(recipe, Variant) or _asked(recipe, seed) in known:
                    frames.append(_measured(config, recipe, seed))
                bar.advance(1)
    return pd.concat(frames, ignore_index=True).assign(
        preset=config.preset,
        images_seen=max(lengths),
        machine="; ".join(sorted(machines)),
        data=config.source,
        network=NETWORK,
    )


def _asked(recipe: Variant, seed: int) -> tuple[str, str, int]:
    """What distinguishes a run among those of the plan."""
    return recipe.variant, str(parse_perturbation(recipe.motion)), seed


def _measured(config: Config, recipe: Recipe, seed: int) -> pd.DataFrame:
    """The rows of a network: measured once, and kept beside its weights."""
    methods = [
        method
        for method in METHODS
        if method.recipe == recipe.name and method.name in config.methods
    ]
    kept = recipe.folder(config, seed) / f"measured-{config.images}-{config.fitted}.parquet"
    if kept.is_file():
        found = files.read_parquet(kept)
        if {method.name for method in methods} <= set(found["method"]):
            return found[found["method"].isin(config.methods)]
    network = recipe.trained(config, seed)
    test, train = config.dataset.test, config.dataset.train
    digits, labels = test.images[: config.images].float() / 255, test.labels[: config.images, 0]
    fitted = train.images[: config.fitted].float() / 255
    found = pd.concat(
        [
            measuring.rows(method, method.view(network, fitted).eval(), digits, labels).assign(
                seed=seed
            )
            for method in methods
        ],
        ignore_index=True,
    )
    files.write_file(kept, found.to_parquet)
    return found


def summary(frame: pd.DataFrame) -> pd.DataFrame:
    """Judge each method under each group of motions.

    Args:
        frame: What `measure` returned.

    Returns:
        One row per ``method`` and ``motions``, with ``moves``: ``left``, ``left_true`` and
        ``share`` (of the way from floor to chance, see `_shares`) with ``_low`` and ``_high``, 95 %
        intervals over seeds; means of ``floor`` (the larger of both), ``chance``, ``error``,
        ``error_upright``, ``agreement``, ``slope`` and ``spread``; ``theory`` (``aligns``, or
        ``leaves``), ``verdict``, see `verdict`; ``seeds``, and
        how many more ``died``.
    """
    lines = []
    for method in METHODS:
        for motions in method.motions:
            seeds = by_seed(frame, method.name, str(motions))
            if seeds.empty:
                continue
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
            line["theory"] = "aligns" if motions in method.aligned else "leaves"
            line["verdict"] = verdict(line, t_interval(own.to_numpy(float)))
            trained = frame.loc[frame["method"] == method.name, "seed"].nunique()
            lines.append(line | {"seeds": len(seeds), "died": trained - len(seeds)})
    return pd.DataFrame(lines)


def by_seed(frame: pd.DataFrame, method: str, motions: str) -> pd.DataFrame:
    """Average over the motions of a group.

    Args:
        frame: What `measure` returned.
        method: Name of a method.
        motions: Name of a group.

    Returns:
        Its numbers, a row a seed that has not died, with ``floor``, the larger of both.
    """
    here = frame[(frame["method"] == method) & (frame["motions"] == motions)]
    seeds = here.groupby("seed").mean(numeric_only=True)
    seeds = seeds[seeds["chance"] > DEAD]
    return seeds.assign(floor=seeds[["floor_input", "floor_map"]].max(axis=1))


_MEANS = ("error", "error_upright", "agreement", "slope", "spread")


def _shares(seeds: pd.DataFrame, column: str) -> pd.Series:
    """What is left, of the way from floor (0) to chance (1)."""
    share: pd.Series = (seeds[column] - seeds["floor"]) / (seeds["chance"] - seeds["floor"])
    return share


def verdict(line: dict[str, Any], own: tuple[float, float, float]) -> str:
    """Say whether the theory holds.

    Args:
        line: ``theory``, ``share_low``, ``share_high``, ``left``, ``left_true``, ``floor`` and
            ``chance``.
        own: The share, and its ends, of what is left by the pose that the method finds.

    Returns:
        What was found by the true pose against what the theory says; where the method aligns by
        the true pose and not by its own, what it leaves then.
    """
    left, of = line["left_true"], f"of {line['chance']:.2f}"
    exact = line["floor"] < ROUNDING
    if line["share_low"] > (ROUNDING if exact else MARGIN):
        little = ", which is little" if line["share_high"] < MARGIN else ""
        found, aligns = f"leaves {left:.2g} {of}{little}", False
    elif line["share_high"] < MARGIN and (exact or line["theory"] == "aligns"):
        found, aligns = "aligned as far as interpolation allows", True
        if own[1] > MARGIN:
            found += f" by the true pose, by its own {line['left']:.2f} {of} left"
    else:
        return "undecided"
    holds = aligns == (line["theory"] == "aligns")
    return f"{found}: {'the theory holds' if holds else 'against the theory'}"


def plot(frame: pd.DataFrame) -> Figure:
    """Draw what each method leaves, by what it moves; a panel a group of motions.

    Args:
        frame: What `measure` returned.

    Returns:
        The figure.
    """
    methods = [method for method in METHODS if method.name in set(frame["method"])]
    groups = [str(motions) for motions in Motions if str(motions) in set(frame["motions"])]
    places, heads = _places(methods)
    figure = Figure(
        figsize=(3.5 + 2.6 * len(groups), 0.25 * len(places) + 0.3 * len(heads) + 2.2),
        layout="constrained",
    )
    panels = figure.subplots(1, len(groups), sharey=True, squeeze=False)[0]
    for axes, motions in zip(panels, groups, strict=True):
        for method in methods:
            seeds = by_seed(frame, method.name, motions)
            if len(seeds):
                _draw(axes, seeds, places[method.name], motions in method.aligned, method.given)
        axes.axvline(1, color="#767676", linewidth=0.9, linestyle=":")
        for place in heads.values():
            axes.axhline(place + 0.5, color="#cccccc", linewidth=0.6)
        axes.set_xlim(-0.04, _FAR)
        axes.set_title(motions, fontsize=11)
        axes.set_xlabel("left / left by another digit", fontsize=10)
        axes.tick_params(axis="y", length=0)
    panels[0].set_yticks([*heads.values(), *places.values()], [*heads, *places], fontsize=10)
    for label in panels[0].get_yticklabels()[: len(heads)]:
        label.set_fontweight("bold")
    panels[0].set_ylim(min(places.values()) - 0.7, max(heads.values()) + 0.5)
    figure.legend(handles=_marks(), loc="outside lower center", ncols=3, frameon=False, fontsize=10)
    figure.suptitle(
        "What methods leave of a motion, by what they move\n"
        f"{training_figures.caption(frame).replace('large marks', 'marks')}",
        fontsize=12,
    )
    return figure


_FAR = 1.75
"""End of the axis; what lies beyond is drawn there."""
_ALIGNS, _LEAVES, _FLOOR = "#009E73", "#D55E00", "#cccccc"


def _places(methods: list[Method]) -> tuple[dict[str, float], dict[str, float]]:
    """Where rows stand: of methods, and of the headings of what they move."""
    places, heads, place = {}, {}, 0.0
    for method in methods:
        head = f"moves {method.moves}"
        if head not in heads:
            place -= 1.2
            heads[head] = place
        place -= 1
        places[method.name] = place
    return places, heads


def _draw(axes: Axes, seeds: pd.DataFrame, place: float, aligns: bool, given: bool) -> None:
    """One method under one group of motions: floor, with the true pose, and by itself."""
    floor = (seeds["floor"] / seeds["chance"]).mean()
    axes.barh(place, floor, height=0.62, color=_FLOOR, linewidth=0)
    colour = _ALIGNS if aligns else _LEAVES
    drawn = [("left_true", colour, place if given else place + 0.16)]
    drawn += [] if given else [("left", "none", place - 0.16)]
    for column, face, at in drawn:
        shares = (seeds[column] / seeds["chance"]).clip(upper=_FAR).to_numpy(float)
        mean, low, high = t_interval(shares)
        axes.plot(shares, np.full(len(shares), at), ".", color=colour, alpha=0.4, markersize=4)
        axes.hlines(at, max(low, 0), min(high, _FAR), color=colour, linewidth=1.6)
        axes.plot(mean, at, "o", color=colour, markerfacecolor=face, markersize=5.5, clip_on=False)


def _marks() -> list[Artist]:
    """What the legend explains."""

    def dot(colour: str, face: str, label: str) -> Line2D:
        return Line2D(
            [], [], color=colour, marker="o", markerfacecolor=face, linestyle="", label=label
        )

    return [
        dot(_ALIGNS, _ALIGNS, "true pose, the theory says: aligns"),
        dot(_LEAVES, _LEAVES, "true pose, the theory says: leaves"),
        dot("#555555", "none", "by the pose that it finds, or none"),
        Patch(color=_FLOOR, label="floor: interpolation and sampling"),
        Line2D([], [], color="#767676", linestyle=":", label="another digit"),
    ]
