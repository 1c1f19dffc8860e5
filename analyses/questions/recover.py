"""Would a perfect transformer at a feature map bring the answer back, and does its residual tell?

Images are rotated, scaled and shifted; at each layer the map is warped back by the exact inverse
and put back, and the rest of the network runs. What it *loses* is what the image warped back
(``input``) is better by: in accuracy (points) or agreement with the upright answer (points), and in
Kullback-Leibler divergence from it (nats). Networks that were never trained on such motions: CNNs
of five layers on upright digits, a seed each, and EfficientNet-Lite with its weights for ImageNet.
These are what to probe before a transformer is placed: it will hand upright maps on. CNNs that were
trained on turned digits stand beside them (`TURNED`), apart from all correlations over networks.
They know turned digits by maps of their own, and warping these back takes away what they know.

Outside the region of the comparison a map holds the upright image's own; the same is asked under
the other rules of `invariance_probe.probing.readout.Outside`. ``moved`` replaces nothing: it is
what a transformer in the network would do.

Against the loss stand, rank by rank over motions and layers, the residual under the exact inverse
(fvu), that of the best affine warp where it was searched for, that of no warp, the layer's depth,
and how far the motion moves the content. Intervals leave out each motion and each network; a
p-value pairs cells at random. ``within`` ranks the motions of one layer: residuals of different
layers weigh channels by their variance, which a layer that normalises undoes.
"""

import math
import multiprocessing
import operator
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
import torch
import torch.nn.functional as F
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor, nn

import invariance_probe as ip
from analyses import rank_correlation
from analyses.efficientnet import photographs
from analyses.rank_correlation import Cloud
from analyses.trained_maps import Named
from analyses.training_plan import Setup, TrainingPlan
from invariance_probe.network.models import load_model
from invariance_probe.probing.readout import Outside
from invariance_probe.results.methods import Method
from invariance_probe.statistics import share_interval, t_interval
from invariance_probe.training import parallel
from invariance_probe.training.configuration import TrainConfig

DIGITS, TURNED = CNNS = "digits", "turned digits"
"""Names of the CNNs that are trained here, by what on; the others are models' names."""
CANVAS, AROUND = 40, 10
"""Side of what the digits' CNN sees, and what lies around it for motions to bring in, in pixels."""
KEYS = ("layer", "depth", "motion", "distance")
"""What makes a cell."""
PREDICTORS = {
    "oracle": "residual under the exact inverse",
    "affine": "residual under the best affine warp",
    "identity": "residual without a warp",
    "depth": "depth of the layer",
    "motion": "distance of the motion",
}
TARGETS = {"answers": "right answers lost (points)", "kl": "divergence lost (nats)"}
_CONTROLS = (Method.IDENTITY, Method.INPUT, Method.ORACLE, Method.UNRELATED)
"""Put back under every rule for what lies outside."""
_MORE = (Method.FLOOR, Method.ORACLE_PERMUTATION, Method.ORACLE_LINEAR)
"""Put back under the usual rule."""


@dataclass(frozen=True, kw_only=True)
class Config(TrainingPlan):
    """What to put back, where `TrainingPlan` does not say how digits' CNNs are trained.

    Attributes:
        degrees: Rotations of digits.
        factors: Scalings.
        shifts: Translations by as many pixels to the right and upwards.
        digits: Test digits, the first ones.
        models: Pretrained networks.
        blocks: Blocks of these that are looked behind, as shares of all, beside the stem.
        photographs: Number of photographs (10 at most).
        photograph_degrees: Rotations of photographs.
        photograph_shifts: Translations of photographs.
        searched: Whether best affine warps are searched for in the photographs' maps.
        seed: Root of all random choices.
    """

    degrees: tuple[float, ...] = (30, 60, 90, 180)
    factors: tuple[float, ...] = (0.6, 1.4)
    shifts: tuple[int, ...] = (4, 6)
    digits: int = 500
    models: tuple[str, ...] = ("efficientnet-lite0", "efficientnet-lite1", "efficientnet-lite2")
    blocks: tuple[float, ...] = (0, 0.13, 0.27, 0.47, 0.67, 0.87, 1)
    photographs: int = 10
    photograph_degrees: tuple[float, ...] = (15, 45, 90, 180)
    photograph_shifts: tuple[int, ...] = (32,)
    searched: bool = True
    seed: int = 0

    def setups(self) -> tuple[Setup, ...]:
        """List the trainings.

        Returns:
            A CNN on upright digits, and one on digits turned by up to 90 degrees.
        """
        trained = tuple(f"{motion}on:{CANVAS}" for motion in ("none=", "rotation=90,"))
        return (Setup(perturbations=trained, variants=("cnn",), network="mnist-five"),)

    @property
    def kept(self) -> None:
        """None: maps are put back, which takes weights."""


PRESETS = {
    "tiny": Config(
        preset="tiny",
        data="mnist-5k",
        width=1.0,
        seeds=3,
        degrees=(40, 90),
        factors=(0.6,),
        shifts=(4,),
        digits=16,
        models=("efficientnet-lite0",),
        blocks=(1,),
        photographs=3,
        photograph_degrees=(90,),
        photograph_shifts=(),
        searched=False,
        processes=1,
    ),
    "quick": Config(preset="brief", data="mnist-5k", width=1.0),
    "standard": Config(
        preset="brief",
        data="mnist",
        width=1.0,
        digits=1000,
    ),
}


def measure(config: Config) -> pd.DataFrame:
    """Train what is missing, probe, and put maps back, of as many networks at once.

    Args:
        config: What to train and put back.

    Returns:
        One row per ``network``, ``unit`` (seed of a digits' CNN, photograph), ``layer``, ``depth``
        (0 to 1), ``motion``, ``distance`` (see `_distance`), ``outside``, ``method`` and ``metric``
        (fvu, and those of `recover`), with ``value``, for digits the mean over them.
    """
    finished = [result.config for result in config.results()]
    known = {(each["perturbation"], each["seed"]) for each in finished}
    asked = [
        *(partial(_digits, config, run) for run in config.configs() if _trained_on(run) in known),
        *(partial(_photographs, config, name) for name in config.models),
    ]
    with ProcessPoolExecutor(
        config.processes or parallel.default_processes(),
        # a forked child would inherit locks of torch's threads
        mp_context=multiprocessing.get_context("spawn"),
        initializer=torch.set_num_threads,
        initargs=(1,),
    ) as pool:
        # the last take longest, and begin first
        frames = list(pool.map(operator.call, reversed(asked)))
    return pd.concat(reversed(frames), ignore_index=True)


def _trained_on(run: TrainConfig) -> tuple[str, int]:
    """What distinguishes a run among those of the plan."""
    return str(run.perturbation), run.seed


def _digits(config: Config, run: TrainConfig) -> pd.DataFrame:
    """Put back the maps of a digits' CNN; of one that knows rotations, under rotations."""
    test = config.dataset.test
    images = test.images[: config.digits].float() / 255
    canvases = F.pad(images, ((CANVAS - images.shape[-1]) // 2 + AROUND,) * 4)
    options = ip.ProbeOptions(crop=CANVAS, fill=0.0, device="cpu", batch_size=64, seed=config.seed)
    upright = not run.perturbation.pose_names
    others = (config.factors, config.shifts) if upright else ((), ())
    network = Named(config.trained(run).classifier)
    layers = [f"layers.{number}" for number in range(len(network.layers))]
    labels = test.labels[: config.digits, 0]
    table = _measured(network, canvases, layers, _moves(config.degrees, *others), options, labels)
    return table.assign(network=DIGITS if upright else TURNED, unit=str(run.seed))


def _photographs(config: Config, name: str) -> pd.DataFrame:
    """Put back the maps of a pretrained network."""
    moves = _moves(config.photograph_degrees, config.factors, config.photograph_shifts)
    model = load_model(name)
    side = model.crop or 224
    # enough for any rotation of the crop, whose centre stays the canvas's
    images, names = photographs(config.photographs, side + 2 * math.ceil(0.21 * side))
    last = max(int(block) for block, _ in model.module.get_submodule("_blocks").named_children())
    numbers = dict.fromkeys(round(share * last) for share in config.blocks)
    layers = ["_conv_stem", *(f"_blocks.{number}" for number in numbers)]
    options = ip.ProbeOptions(
        crop=side, mean=model.mean, std=model.std, device="cpu", seed=config.seed
    )
    table = _measured(model.module, images, layers, moves, options, searched=config.searched)
    unit = table["image"].astype(int).map(dict(enumerate(names)))
    return table.assign(network=name, unit=unit)


def _moves(
    degrees: Sequence[float], factors: Sequence[float], shifts: Sequence[int]
) -> list[ip.Transform]:
    return [
        *map(ip.Rotation, degrees),
        *map(ip.Scaling, factors),
        *(ip.Translation(shift, -shift) for shift in shifts),
    ]


def _measured(
    network: nn.Module,
    images: Float[Tensor, "image channel height width"],
    layers: Sequence[str],
    moves: Sequence[ip.Transform],
    options: ip.ProbeOptions,
    labels: Tensor | None = None,
    *,
    searched: bool = False,
) -> pd.DataFrame:
    """Probe a network, and put maps back under each rule for what lies outside."""
    best = [Method.AFFINE] * searched
    left = [Method.IDENTITY, Method.ORACLE, *best]
    asked: dict[str, Any] = {"layers": layers, "transforms": moves}
    frames = [ip.probe(network, images, **asked, options=options, methods=left).frame()]
    frames[0] = frames[0][frames[0]["metric"] == "fvu"]
    for outside in Outside:
        more = (*_MORE, *best) if outside is Outside.REFERENCE else ()
        result = ip.recover(
            network,
            images,
            **asked,
            labels=labels,
            outside=outside,
            options=options,
            methods=(*_CONTROLS, *more),
        )
        frames.append(result.frame().assign(outside=outside.value))
    found = pd.concat([frames[0].assign(outside=Outside.REFERENCE.value), *frames[1:]])
    texts = found[["layer", "image", "method", "metric"]].astype(str)
    number = found["transform_number"]
    # labels are of digits, whose table is of their means: those of photographs are kept apart
    images_apart = [] if labels is not None else ["image"]
    table = texts.assign(
        outside=found["outside"],
        motion=number.map(dict(enumerate(map(repr, moves)))),
        distance=number.map(dict(enumerate(_distance(m, options.crop or 1) for m in moves))),
        depth=texts["layer"].map({name: k / (len(layers) - 1) for k, name in enumerate(layers)}),
        value=found["value"].to_numpy(),
    )
    keys = [*images_apart, *KEYS, "outside", "method", "metric"]
    return table.groupby(keys, sort=False)["value"].mean().reset_index()


def _distance(move: ip.Transform, side: int) -> float:
    """Root mean square of how far a square's content moves, over its side."""
    linear = move.matrix[:2, :2] - torch.eye(2, dtype=move.matrix.dtype)
    # of a position spread evenly over a side s, each coordinate has the variance s^2 / 12
    shift = float((move.matrix[:2, 2] / side).square().sum())
    return math.sqrt(float(linear.square().sum()) / 12 + shift)


def cells(frame: pd.DataFrame) -> pd.DataFrame:
    """Lay out what is compared, a row for each unit of a network, layer and motion.

    Args:
        frame: What `measure` returned.

    Returns:
        Columns ``network``, ``unit`` and `KEYS`; ``fvu METHOD``; ``answers METHOD`` and ``kl
        METHOD``, what putting the method's map back loses, see the module's docstring.
    """
    usual = frame[frame["outside"] == Outside.REFERENCE.value]
    wide = usual.pivot_table(
        index=["network", "unit", *KEYS], columns=["metric", "method"], values="value", sort=False
    )
    out = pd.DataFrame(index=wide.index)
    for method in wide["fvu"]:
        out[f"fvu {method}"] = wide["fvu", method]
    right = wide["agreement"].copy()
    if "accuracy" in wide:
        right = wide["accuracy"].fillna(right)
    for method in right:
        out[f"answers {method}"] = 100 * (right["input"] - right[method])
        out[f"kl {method}"] = wide["kl", method] - wide["kl", "input"]
    return out.reset_index()


def summary(frame: pd.DataFrame) -> pd.DataFrame:
    """Correlate what is left with what is lost, and list what is lost.

    Args:
        frame: What `measure` returned.

    Returns:
        First a row per ``network`` (``all`` is without `TURNED`), ``target`` (`TARGETS`, under the
        exact inverse) and ``predictor`` (`PREDICTORS`): Spearman's ``rho`` over ``points`` cells,
        the means over a network's units, with ``rho_low`` and ``rho_high`` over motions,
        ``units_low`` and ``units_high`` over units (seeds, photographs) and ``p_value``, and
        ``within``, the mean over layers of rho over a layer's motions. Then right answers in per
        cent by method, with intervals over units: a row per ``network``, rule ``outside`` and
        ``layer``, means over motions; and a row per ``network``, ``motion`` and ``layer``.
    """
    found = cells(frame)
    networks = list(dict.fromkeys(found["network"]))
    rows = []
    compared = [network for network in networks if network != TURNED]
    for network in ("all", *networks) if len(compared) > 1 else networks:
        part = found[found["network"].isin(compared if network == "all" else [network])]
        for target in TARGETS:
            for predictor in PREDICTORS:
                column = {"depth": "depth", "motion": "distance"}.get(predictor, f"fvu {predictor}")
                # a dead map has no residual
                known = part.dropna(subset=column) if column in part else part[:0]
                if len(known):
                    said = _correlated(known, column, f"{target} {Method.ORACLE}")
                    about = {"network": network, "target": target, "predictor": predictor}
                    rows.append(about | said)
    usual = frame[frame["outside"] == Outside.REFERENCE.value]
    other = answers(frame[frame["method"].isin(_CONTROLS)], ("outside", "layer"))
    listed = [pd.DataFrame(rows), other, answers(usual, ("motion", "layer"))]
    return pd.concat(listed, ignore_index=True)


def _correlated(part: pd.DataFrame, x: str, y: str) -> dict[str, float]:
    """How one column ranks the cells of another."""
    cell = part.groupby(["network", "layer", "motion"], sort=False).ngroup().to_numpy()
    units, _ = pd.factorize(part["network"] + part["unit"])
    values = {"x": part[x].to_numpy(float), "y": part[y].to_numpy(float)}
    each = Cloud(**values, cell=cell, points="cells")
    firsts = np.unique(cell, return_index=True)[1]
    means = {name: np.bincount(cell, v) / np.bincount(cell) for name, v in values.items()}
    whole = Cloud(**means, cell=np.arange(len(firsts)), points="all")
    motions, _ = pd.factorize(part["motion"].to_numpy()[firsts])
    low, high = rank_correlation.interval(whole, motions)
    layers = part.groupby(["network", "layer"], sort=False).ngroup().to_numpy()[firsts]
    inside = [whole.take(np.flatnonzero(layers == one)).rho() for one in np.unique(layers)]
    units_low, units_high = rank_correlation.interval(each, units)
    return {
        "rho": whole.rho(),
        "rho_low": low,
        "rho_high": high,
        "units_low": units_low,
        "units_high": units_high,
        "p_value": rank_correlation.p_value(whole, seed=0),
        "within": float(np.nanmean(inside)) if np.isfinite(inside).any() else math.nan,
        "points": len(firsts),
    }


def answers(frame: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """List right answers: of digits the label's, of photographs the upright one's.

    Args:
        frame: What `measure` returned.
        keys: What makes a row beside the network; the rest is averaged over.

    Returns:
        Right answers in per cent by method, with their intervals over units.
    """
    known = frame[frame["metric"].isin(["agreement", "accuracy"])]
    labelled = known["network"].isin(known[known["metric"] == "accuracy"]["network"])
    known = known[known["metric"] == np.where(labelled, "accuracy", "agreement")]
    rows = []
    each = known.groupby(["network", *keys, "method", "unit"], sort=False)["value"].mean()
    for group, one in each.groupby(level=["network", *keys], sort=False):
        row: dict[str, object] = dict(zip(("network", *keys), group, strict=True))
        for method, values in one.groupby(level="method", sort=False):
            mean, low, high = _interval(values.to_numpy(float), photographs=group[0] not in CNNS)
            row |= {method: 100 * mean, f"{method}_low": 100 * low, f"{method}_high": 100 * high}
        rows.append(row)
    return pd.DataFrame(rows)


def _interval(values: np.ndarray, *, photographs: bool) -> tuple[float, float, float]:
    """Mean over seeds, or share of photographs."""
    if not photographs:
        return t_interval(values)
    mean, count = np.array([values.mean()]), np.array([len(values)])
    low, high = share_interval(mean, count)
    return float(mean[0]), float(low[0]), float(high[0])


def plot(frame: pd.DataFrame) -> Figure:
    """Draw right answers by layer and motion, and what is lost against the residual.

    Args:
        frame: What `measure` returned.

    Returns:
        The figure: a row a network.
    """
    said = summary(frame)
    networks = list(dict.fromkeys(frame["network"]))
    figure = Figure(figsize=(15, 4.6 * len(networks) + 1.2), layout="constrained")
    panels = figure.subplots(len(networks), 3, squeeze=False)
    for line, network in zip(panels, networks, strict=True):
        motions = list(dict.fromkeys(frame[frame["network"] == network]["motion"]))
        colours = dict(zip(motions, sns.color_palette("husl", len(motions)), strict=True))
        here = said[(said["network"] == network) & said["motion"].notna()]
        _draw_answers(line[0], here, colours)
        found = cells(frame[frame["network"] == network])
        for axes, target in zip(line[1:], TARGETS, strict=True):
            _draw_cells(axes, found, target, colours)
            rows = said[(said["network"] == network) & (said["predictor"] == Method.ORACLE)]
            for row in rows[rows["target"] == target].itertuples():
                ends = f" ({row.rho_low:.2f} to {row.rho_high:.2f})"
                axes.set_title(f"rho {row.rho:.2f}{ends}", fontsize=12)
        line[0].set_title(network)
        line[2].legend(
            *line[0].get_legend_handles_labels(),
            loc="upper left",
            bbox_to_anchor=(1.02, 1),
            frameon=False,
            fontsize=10,
        )
    units = frame.groupby("network", sort=False)["unit"].nunique()
    counted = ", ".join(
        f"{network}: {count} {'CNNs' if network in CNNS else 'photographs'}"
        for network, count in units.items()
    )
    figure.suptitle(
        "Maps warped back by the exact inverse and put back (dashed: nothing is warped, dotted: "
        f"the image is)\n{counted}; bars over CNNs, rho with intervals over motions: 95 %",
        fontsize=12,
    )
    return figure


def _draw_answers(axes: Axes, said: pd.DataFrame, colours: dict[str, tuple[float, ...]]) -> None:
    """Right answers by layer, a colour a motion."""
    for motion, rows in said.groupby("motion", sort=False):
        x, colour = np.arange(len(rows)), colours[str(motion)]
        if rows["network"].iloc[0] in CNNS:  # ten photographs' would hide the lines
            reach = [rows["oracle"] - rows["oracle_low"], rows["oracle_high"] - rows["oracle"]]
            axes.errorbar(x, rows["oracle"], reach, color=colour, elinewidth=0.8, capsize=2)
        kind, _, parameter = str(motion).partition("(")
        label = f"{kind.lower()} {parameter.partition('=')[2].rstrip(')').partition(',')[0]}"
        axes.plot(x, rows["oracle"], color=colour, marker="o", markersize=4, label=label)
        axes.plot(x, rows["identity"], color=colour, linestyle="--", linewidth=0.8)
        axes.plot(x, rows["input"], color=colour, linestyle=":", linewidth=0.8)
    axes.set_xticks(x, rows["layer"], rotation=35, ha="right")
    axes.set_ylabel("right answers (%)")
    axes.set_ylim(0, 103)


def _draw_cells(
    axes: Axes, found: pd.DataFrame, target: str, colours: dict[str, tuple[float, ...]]
) -> None:
    """A point a motion and layer, larger for deeper layers."""
    columns = [f"fvu {Method.ORACLE}", f"{target} {Method.ORACLE}", "depth"]
    means = found.groupby(["motion", "layer"], sort=False)[columns].mean().reset_index()
    axes.scatter(
        means[columns[0]],
        means[columns[1]],
        s=18 + 60 * means["depth"],
        c=[colours[motion] for motion in means["motion"]],
        alpha=0.85,
        linewidths=0,
    )
    axes.axhline(0, color="#767676", linewidth=0.8, linestyle=":")
    axes.set_xlabel(f"{PREDICTORS['oracle']} (fvu)")
    axes.set_ylabel(TARGETS[target])
