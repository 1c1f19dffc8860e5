"""What does it cost to warp a map and not the image, and does an upright network foretell it?

With the true pose fed, no localizer has to learn, and what is left of the error is the map's:
*price of the map* = error(CX) - error(C0), in points, of networks of the same seed that were
trained with the inverse of each digit's motion applied after layer X, or to the image. Ten
motions, each on the same canvas, three networks.

Against it stands what a CNN of the same shape says that was trained on upright digits alone, and
never on a motion: the residual of its maps under the exact inverse warp, and what putting the
re-aligned map back costs the rest of the network (accuracy, Kullback-Leibler divergence).

A *cell* is a network, a motion and a layer; its price is the mean over seeds. Rank correlations
have intervals over motions (each left out), because motions are what one would draw anew;
``within`` is the mean of the motions' own correlations; ``partial`` holds depth and what the motion
costs a CNN without a transformer; ``ceiling`` is what a predictor could reach that knew the true
prices, from two halves of the seeds; ``away`` is the error, in points, of predicting a motion's
prices from the others by a rising curve, beside that of their mean (``away_mean``).

``two-cores`` are 100 cells and ten seeds of digits; ``two-cores-harder`` 50 cells and five seeds of
digits under the papers' clutter: six crops of other digits, which lie still while the digit moves.
There the upright CNN has learnt from upright digits under clutter as well.
"""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from scipy import optimize, stats

import invariance_probe as ip
from analyses import rank_correlation
from analyses.rank_correlation import Cloud
from analyses.trained_maps import Named, on_canvas
from analyses.training_figures import seen, spoken
from analyses.training_plan import Setup, TrainingPlan, row
from invariance_probe import files
from invariance_probe.errors import InvalidInputError
from invariance_probe.perturbations.parsing import parse_perturbation
from invariance_probe.progress import Progress
from invariance_probe.results.methods import Method
from invariance_probe.training import trainer
from invariance_probe.training.configuration import Execution, Network, TrainConfig

PREDICTORS = {
    "residual": "residual after the exact inverse warp (fvu)",
    "lost": "accuracy lost when the map is put back (points)",
    "kl": "divergence when the map is put back (nats)",
    "depth": "depth alone",
}
CELL = ("network", "motion", "depth")
MOTIONS = (
    *("rotation=30", "rotation=60", "rotation=90", "rotation=180"),
    *("scaling=-1:0,clean", "scaling=0:0.5,clean"),
    *("scaling=-0.5:0.5,clean", "scaling=-1:0.5,clean"),
    *("translation=6,clean", "shear=0.6"),
)
CLUTTERED = tuple(
    motion.removesuffix(",clean") if motion.endswith(",clean") else f"{motion},clutter"
    for motion in MOTIONS
)
"""The same under the papers' clutter, which stays where it is while the digit moves."""
_MARKERS = {"mnist-five": "o", "mnist-deep": "^", "mnist": "s"}
_UPRIGHT = 50
"""Added to the seeds of upright CNNs, so that they share nothing with what is priced."""


@dataclass(frozen=True, kw_only=True)
class Priced:
    """A network whose maps are priced.

    Attributes:
        network: Classifier, as of `TrainConfig.network`.
        depths: Layers X.
        canvas: Side of the canvas for 28 x 28 digits, in pixels.
        width: Factor of its filters.
    """

    network: Network
    depths: tuple[int, ...]
    canvas: int
    width: float

    def on_canvas(self, motion: str) -> str:
        """Write a motion with this network's canvas."""
        return str(dataclasses.replace(parse_perturbation(motion), least_canvas=self.canvas))

    def setups(self, motions: Sequence[str]) -> tuple[Setup, Setup]:
        """List the trainings: transformers with true poses, and the CNN without."""
        placed = Setup(
            perturbations=tuple(map(self.on_canvas, motions)),
            variants=("c0", *(f"c{depth}" for depth in self.depths)),
            network=self.network,
            width=self.width,
            alignment="true",
        )
        return placed, dataclasses.replace(placed, variants=("cnn",), alignment="predicted")


@dataclass(frozen=True, kw_only=True)
class Config(TrainingPlan):
    """What to train and probe, where `TrainingPlan` does not say it.

    Attributes:
        networks: Which networks, at which layers.
        motions: What is done to the digits.
        still: What upright CNNs are trained on: digits that do not move, cluttered as the others.
        images: Test images that are put through upright CNNs, the first ones.
        sweep: Motions of each kind, spread evenly over its range.
    """

    networks: tuple[Priced, ...]
    motions: tuple[str, ...] = MOTIONS
    still: str = "none"
    images: int = 300
    sweep: int = 6

    def setups(self) -> tuple[Setup, ...]:
        """List the trainings.

        Returns:
            Those of all networks.
        """
        return tuple(setup for each in self.networks for setup in each.setups(self.motions))

    @cached_property
    def upright(self) -> "Config":
        """The same with a folder of its own for upright CNNs, which are no part of the plan."""
        return dataclasses.replace(self, trainings=self.root / "upright")


_FIVE = Priced(network="mnist-five", depths=(1, 2, 3, 4, 5), canvas=40, width=1.0)
_NETWORKS = (
    _FIVE,
    Priced(network="mnist-deep", depths=(1, 3, 5), canvas=40, width=0.5),
    Priced(network="mnist", depths=(1, 2), canvas=60, width=0.25),
)
PRESETS = {
    "tiny": Config(
        preset="tiny",
        data="mnist-5k",
        networks=(Priced(network="mnist-five", depths=(1, 3), canvas=40, width=0.5),),
        motions=("rotation=180", "translation=6,clean", "shear=0.6"),
        seeds=2,
        images=12,
        sweep=2,
        processes=1,
    ),
    "quick": Config(preset="brief", networks=(_FIVE,), seeds=2),
    "two-cores": Config(preset="brief", data="mnist", networks=_NETWORKS, seeds=10),
    "two-cores-harder": Config(
        preset="brief",
        data="mnist",
        networks=(_FIVE,),
        motions=CLUTTERED,
        still="none=clutter",
        seeds=5,
    ),
}


def measure(config: Config) -> pd.DataFrame:
    """Train what is missing, and put maps of upright CNNs back.

    Args:
        config: What to train and probe.

    Returns:
        One row per ``network``, ``motion``, ``depth`` and ``seed``: ``error``, ``error_image`` (C0)
        and ``error_cnn``, fractions of the test images; ``price``, the first less the second, in
        points; of the upright CNN of this seed ``residual``, ``lost`` (points) and ``kl``, means
        over images and motions; ``share``, the depth over the network's layers; ``standard_error``
        of `error`, in points; ``preset``, ``images_seen``, ``machine``, ``data`` (and whether under
        clutter). Seeds of which runs are left out are no part of it.

    Raises:
        InvalidInputError: If there is no seed of which all runs are there.
    """
    errors, machines, lengths = {}, set(), set()
    for result in config.results():
        about = row(result, config.preset)
        key = (about["network"], about["perturbation"], about["variant"], about["seed"])
        errors[key] = (float(about["error"]), int(about["test_images"]))
        machines.add(about["machine"])
        lengths.add(about["images_seen"])
    # so that all cells are means of as many
    lacking = {run.seed for run in config.configs() if _key(run) not in errors}
    whole = [seed for seed in range(config.seeds) if seed not in lacking]
    if not whole:
        raise InvalidInputError(
            f"{len(errors)} trainings are there, of no seed all; train on, or wait for the first"
        )
    rows = []
    with Progress(True, doing="putting maps back", units="networks") as bar:
        bar.start(len(whole) * len(config.networks))
        for seed, each in product(whole, config.networks):
            foretold = _foretold(config.upright, each, seed)
            for motion in config.motions:
                found = {
                    variant: errors[each.network, each.on_canvas(motion), variant, seed]
                    for variant in ("cnn", "c0", *(f"c{depth}" for depth in each.depths))
                }
                rows += _rows(each, motion, seed, found, foretold.loc[motion])
            bar.advance(1)
    cluttered = " under clutter" * (parse_perturbation(config.still).pieces > 0)
    (images_seen,) = lengths
    return pd.DataFrame(rows).assign(
        preset=config.preset,
        images_seen=images_seen,
        machine="; ".join(sorted(machines)),
        data=config.source + cluttered,
    )


def _key(run: TrainConfig) -> tuple[str, str, str, int]:
    """What distinguishes a run among those of the plan."""
    return run.network, str(run.perturbation), run.variant.name, run.seed


def _rows(
    priced: Priced,
    motion: str,
    seed: int,
    found: dict[str, tuple[float, int]],
    foretold: pd.DataFrame,
) -> list[dict[str, object]]:
    """A row a layer."""
    layers = max(priced.depths)
    out = []
    for depth in priced.depths:
        error, images = found[f"c{depth}"]
        out.append({
            "network": priced.network,
            "motion": motion,
            "depth": depth,
            "share": depth / layers,
            "seed": seed,
            "error": error,
            "error_image": found["c0"][0],
            "error_cnn": found["cnn"][0],
            "price": 100 * (error - found["c0"][0]),
            "standard_error": 100 * math.sqrt(error * (1 - error) / images),
            **foretold.loc[depth].to_dict(),
        })
    return out


def _foretold(config: Config, priced: Priced, seed: int) -> pd.DataFrame:
    """What an upright CNN says, by motion and layer: asked once, and kept beside its weights."""
    _, setup = priced.setups(config.motions)
    run = config.config(setup, priced.on_canvas(config.still), "cnn", _UPRIGHT + seed)
    folder = config.root / run.name
    kept = folder / f"foretold-{config.images}x{config.sweep}.parquet"
    if kept.is_file():
        found = files.read_parquet(kept)
        if set(config.motions) <= set(found.index.get_level_values("motion")):
            return found
    trainer.train(run, folder, execution=Execution(data_root=config.files, device="cpu"))
    network = Named(config.trained(run).classifier)
    test = config.dataset.test
    images = test.images[: config.images].float() / 255
    labels = test.labels[: config.images, 0]
    names = {depth: f"layers.{depth - 1}" for depth in priced.depths}
    rows = []
    for motion in config.motions:
        perturbation = parse_perturbation(priced.on_canvas(motion))
        canvases = on_canvas(images, perturbation, 0.0)
        layers = list(names.values())
        transforms = perturbation.sweep(config.sweep, images.shape[-1])
        options = ip.ProbeOptions(
            crop=perturbation.canvas(images.shape[-1]),
            fill=0.0,
            device="cpu",
            methods=(Method.INPUT, Method.ORACLE),
        )
        probed = ip.probe(network, canvases, layers=layers, transforms=transforms, options=options)
        put_back = ip.recover(
            network, canvases, layers=layers, transforms=transforms, labels=labels, options=options
        )
        left = _means(probed, "fvu")
        right, away = _means(put_back, "accuracy"), _means(put_back, "kl")
        rows += [
            {
                "motion": motion,
                "depth": depth,
                "residual": left[name, "oracle"],
                "lost": 100 * (right[name, "input"] - right[name, "oracle"]),
                "kl": away[name, "oracle"],
            }
            for depth, name in names.items()
        ]
    found = pd.DataFrame(rows).set_index(["motion", "depth"])
    files.write_file(kept, found.to_parquet)
    return found


def _means(result: ip.ProbeResult, metric: str) -> dict[tuple[str, str], float]:
    """Means over images and motions, by layer and method."""
    table = result.frame()
    table = table[table["metric"] == metric]
    means = table.groupby(["layer", "method"], observed=True)["value"].mean()
    return {(str(layer), str(method)): float(v) for (layer, method), v in means.items()}


def cells(frame: pd.DataFrame) -> pd.DataFrame:
    """Average over seeds.

    Args:
        frame: What `measure` returned.

    Returns:
        A row a cell, with ``halves``, the price from even and from odd seeds.
    """
    numbers = ["price", "residual", "lost", "kl", "share", "error_cnn", "error_image"]
    found = frame.groupby(list(CELL), sort=False)[numbers].mean()
    for half in (0, 1):
        part = frame[frame["seed"] % 2 == half]
        found[f"price_{half}"] = part.groupby(list(CELL), sort=False)["price"].mean()
    return found.reset_index()


def summary(frame: pd.DataFrame) -> pd.DataFrame:
    """Correlate what upright CNNs foretell with the price of the map.

    Args:
        frame: What `measure` returned.

    Returns:
        One row per predictor and network (``all`` first), as the module's docstring explains:
        ``rho``, ``low``, ``high``, ``least`` (the smallest with one motion left out), ``within``,
        ``partial``, ``ceiling``, ``away``, ``away_mean``, ``cells``, ``motions``, ``seeds``.
    """
    found = cells(frame)
    networks = list(dict.fromkeys(found["network"]))
    rows = []
    for network in ("all", *networks) if len(networks) > 1 else networks:
        part = found if network == "all" else found[found["network"] == network]
        for predictor in PREDICTORS:
            rows.append({
                "network": network,
                "predictor": predictor,
                **_judged(part, "share" if predictor == "depth" else predictor),
                "cells": len(part),
                "motions": part["motion"].nunique(),
                "seeds": frame["seed"].nunique(),
            })
    return pd.DataFrame(rows)


def _judged(part: pd.DataFrame, predictor: str) -> dict[str, float]:
    """How well one predictor ranks the prices of some cells."""
    x, y = part[predictor].to_numpy(float), part["price"].to_numpy(float)
    motions, _ = pd.factorize(part["motion"])
    cloud = Cloud(x=x, y=y, cell=np.arange(len(x)), points="all")
    low, high = rank_correlation.interval(cloud, motions)
    each = [cloud.take(np.flatnonzero(motions != one)).rho() for one in np.unique(motions)]
    within = [cloud.take(np.flatnonzero(motions == one)).rho() for one in np.unique(motions)]
    # how deep, and what the motion costs without a transformer
    known = np.column_stack([part["share"], part["error_cnn"] - part["error_image"]])
    away, away_mean = _left_out(x, y, motions)
    return {
        "rho": cloud.rho(),
        "low": low,
        "high": high,
        "least": float(np.min(each)) if len(each) > 1 else math.nan,
        "within": float(np.nanmean(within)) if np.isfinite(within).any() else math.nan,
        "partial": _partial(x, y, known),
        "ceiling": _ceiling(part),
        "away": away,
        "away_mean": away_mean,
    }


def _partial(x: np.ndarray, y: np.ndarray, known: np.ndarray) -> float:
    """Rank correlation of what ranks of `known` leave of the others' ranks."""
    ranks = [stats.rankdata(each) for each in (x, y, *known.T)]
    base = np.column_stack([np.ones(len(x)), *ranks[2:]])
    left = [each - base @ np.linalg.lstsq(base, each, rcond=None)[0] for each in ranks[:2]]
    if len(x) < 5 or min(np.ptp(each) for each in left) < 1e-9:
        return math.nan
    return float(np.corrcoef(left)[0, 1])


def _ceiling(part: pd.DataFrame) -> float:
    """Largest correlation with the noisy prices, from how two halves of the seeds agree."""
    halves = part[["price_0", "price_1"]].dropna()
    if len(halves) < 3:
        return math.nan
    agreement = float(stats.spearmanr(halves["price_0"], halves["price_1"]).statistic)
    # Spearman and Brown: the mean of both halves is as reliable as 2 r / (1 + r), and no predictor
    # correlates with a measure by more than the root of its reliability
    return math.sqrt(max(0.0, 2 * agreement / (1 + agreement)))


def _left_out(x: np.ndarray, y: np.ndarray, motions: np.ndarray) -> tuple[float, float]:
    """Root mean square error of a motion's prices, foretold by the other motions' cells."""
    curve, mean = np.full(len(y), np.nan), np.full(len(y), np.nan)
    for one in np.unique(motions):
        here, others = motions == one, motions != one
        if others.sum() < 3:
            continue
        order = np.argsort(x[others], kind="stable")
        rising = optimize.isotonic_regression(y[others][order]).x
        curve[here] = np.interp(x[here], x[others][order], rising)
        mean[here] = y[others].mean()
    known = np.isfinite(curve)
    if not known.any():
        return math.nan, math.nan
    away, away_mean = (float(np.sqrt(np.mean((y - each)[known] ** 2))) for each in (curve, mean))
    return away, away_mean


def plot(frame: pd.DataFrame) -> Figure:
    """Draw prices by motion and layer, and against what upright CNNs foretell.

    Args:
        frame: What `measure` returned.

    Returns:
        The figure.
    """
    found, said = cells(frame), summary(frame)
    motions = list(dict.fromkeys(found["motion"]))
    colours = _colours(motions)
    overall = said[said["network"] == said["network"].iloc[0]].set_index("predictor")
    figure = Figure(figsize=(13, 5.6), layout="constrained")
    for axes, predictor in zip(figure.subplots(1, 2), ("lost", "residual"), strict=True):
        _draw(axes, found, predictor, colours)
        judged = overall.loc[predictor]
        ends = f" ({judged['low']:.2f} to {judged['high']:.2f})"
        axes.set_title(
            f"rho {judged['rho']:.2f}{ends if math.isfinite(judged['low']) else ''}, "
            f"ceiling {judged['ceiling']:.2f}",
            fontsize=12,
        )
    marks = [
        Line2D([], [], color=colour, marker="o", linestyle="", label=spoken(motion))
        for motion, colour in colours.items()
    ]
    marks += [
        Line2D([], [], color="#555555", marker=_MARKERS[name], linestyle="", label=name)
        for name in dict.fromkeys(found["network"])
    ]
    marks.append(Line2D([], [], linestyle="", label="(larger: deeper)"))
    figure.legend(handles=marks, loc="outside right upper", frameon=False, fontsize=10)
    first, seeds = frame.iloc[0], frame["seed"].nunique()
    figure.suptitle(
        "What warping the map costs over warping the image, true poses given\n"
        f"{first['data']}, {first['preset']} preset, {seeds} seed{'s' * (seeds != 1)}, "
        f"{len(found)} cells, {seen(frame)}\n{first['machine']}; intervals: 95 % over motions",
        fontsize=12,
    )
    return figure


def _colours(motions: Sequence[str]) -> dict[str, tuple[float, float, float]]:
    """A hue for each kind of motion, and darker for each further one of it."""
    kinds: dict[str, list[str]] = {}
    for motion in motions:
        kinds.setdefault(motion.partition("=")[0], []).append(motion)
    hues = dict(zip(kinds, ("#D55E00", "#009E73", "#0072B2", "#CC79A7"), strict=False))
    return {
        motion: shade
        for kind, those in kinds.items()
        # the palest of a light palette is all but white
        for motion, shade in zip(
            those, sns.light_palette(hues.get(kind, "#767676"), len(those) + 2)[2:], strict=True
        )
    }


def _draw(
    axes: Axes, found: pd.DataFrame, predictor: str, colours: dict[str, tuple[float, float, float]]
) -> None:
    """A point a cell, larger for deeper layers."""
    for (network, motion), part in found.groupby(["network", "motion"], sort=False):
        axes.scatter(
            part[predictor],
            part["price"],
            s=20 + 60 * part["share"],
            color=colours[str(motion)],
            marker=_MARKERS[str(network)],
            alpha=0.85,
            linewidths=0,
        )
    axes.axhline(0, color="#767676", linewidth=0.8, linestyle=":")
    axes.set_xlabel(f"upright CNN: {PREDICTORS[predictor]}")
    axes.set_ylabel("price of the map (percentage points)")
