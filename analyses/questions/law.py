"""Does the spectral law predict a first layer's residual from its weights and a spectrum?

At stride 1 and at the stem's own stride of 2, where the map cannot carry all that the image holds:
the law of a sampled map (P13c) knows what aliasing and interpolation add, and stands beside the law
that leaves sampling out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import pandas as pd
from jaxtyping import Float64
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from invariance_probe.data.pictures import open_images
from invariance_probe.statistics import statistic_interval
from proofs.claims.p13_spectral_law import SIDE, curves, sampled_curves
from proofs.worlds import plane_maps, spectral
from proofs.worlds.packaged import LUMINANCE, stem_kernels
from proofs.worlds.plane_maps import Matrix
from proofs.worlds.spectral import Grey

RADIUS, STEP = 60.0, 2
"""Of the disc that is compared, in pixels: twice as large, it still lies in the image."""
CUT = 0.35
"""Highest frequency of the noise, in cycles per pixel: shrunk by 0.7 it can still be sampled."""
NOISE, MATCHED, PHOTOGRAPHS = "1/f noise", "noise, photographs' spectrum", "photographs"
KINDS = ("linear", "after ReLU")
COLOURS = {"rotation": "#0072B2", "scaling": "#D55E00"}


@dataclass(frozen=True, kw_only=True)
class Config:
    """What to predict and to measure.

    Attributes:
        degrees: Rotations of the images.
        factors: Scalings of the images, 0.7 to 2.
        strides: Of the layer.
        images: Number of images of each kind; photographs 10 at most.
        seed: Of the noise.
    """

    degrees: tuple[float, ...] = (5, 10, 20, 30, 45, 60, 90, 135, 180)
    factors: tuple[float, ...] = (0.7, 0.8, 0.9, 1.1, 1.2, 1.4, 2)
    strides: tuple[int, ...] = (1, 2)
    images: int = 10
    seed: int = 0


PRESETS = {
    "quick": Config(),
    "tiny": Config(degrees=(10, 90), factors=(0.8, 1.4), images=3),
}


def measure(config: Config) -> pd.DataFrame:
    """Predict the residuals of EfficientNet-Lite0's stem on grey images, and measure.

    Args:
        config: What to predict and to measure.

    Returns:
        One row per ``images`` (kind), ``stride``, ``image``, ``transform``, ``parameter``, ``kind``
        (linear or after ReLU) and ``channel``: ``error``, the mean squared difference that warping
        back leaves on this image, and ``energy``, the mean square of its reference map, both
        divided by the mean energy over images, so that the sum of errors over the sum of energies
        is the measured residual; ``predicted``, the residual that the law states for this kind of
        images, and ``unsampled``, that of the law without sampling.
    """
    bank = stem_kernels()
    moves: list[tuple[str, float, Matrix]] = [
        *(("rotation", d, plane_maps.rotation(d)) for d in config.degrees),
        *(("scaling", f, plane_maps.scaling(f)) for f in config.factors),
    ]
    frames = []
    transforms = tuple(h for *_, h in moves)
    for (name, images, power), stride in product(_images(config), config.strides):
        law = sampled_curves(bank, power, transforms, stride=stride, radius=RADIUS)
        error, energy = _errors(images, bank, transforms, stride, negatives=name != PHOTOGRAPHS)
        unit = energy.mean(axis=0)
        index = pd.MultiIndex.from_product(
            [range(len(images)), KINDS, range(len(moves)), range(len(bank))],
            names=["image", "kind", "move", "channel"],
        )
        rows = index.to_frame(index=False).assign(
            images=name,
            stride=stride,
            error=(error / unit).ravel(),
            energy=np.broadcast_to(energy / unit, error.shape).ravel(),
            predicted=np.broadcast_to(law, error.shape).ravel(),
            unsampled=np.broadcast_to(curves(bank, power, transforms), error.shape).ravel(),
        )
        frames.append(rows)
    frame = pd.concat(frames, ignore_index=True)
    frame.insert(2, "transform", [moves[number][0] for number in frame["move"]])
    frame.insert(3, "parameter", [float(moves[number][1]) for number in frame.pop("move")])
    return frame.astype(dict.fromkeys(("error", "energy", "predicted", "unsampled"), "float32"))


def _images(
    config: Config,
) -> list[tuple[str, list[Grey], Float64[np.ndarray, " n"]]]:
    """Kinds of images with their spectra; the matched noise knows the photographs' alone."""
    frequencies = spectral.frequency_grid(SIDE)
    files, _ = open_images("photographs", SIDE)
    colour = [
        files[i].double().permute(1, 2, 0).numpy() for i in range(min(config.images, len(files)))
    ]
    grey = [pixels @ LUMINANCE - (pixels @ LUMINANCE).mean() for pixels in colour]
    power = spectral.periodogram(grey)
    below = power * ((frequencies**2).sum(axis=1) <= CUT**2)
    seeds = [config.seed + i for i in range(config.images)]
    return [
        (
            NOISE,
            [spectral.noise(SIDE, CUT, s) for s in seeds],
            spectral.noise_power(frequencies, CUT),
        ),
        (MATCHED, [spectral.shaped_noise(below, s) for s in seeds], below),
        (PHOTOGRAPHS, grey, power),
    ]


def _errors(
    images: Sequence[Grey],
    bank: spectral.Bank,
    transforms: Sequence[Matrix],
    stride: int,
    *,
    negatives: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """Mean squared errors and energies: image x kind x transform (1 for energies) x channel."""
    positions = spectral.disc(RADIUS, STEP)
    errors, energies = [], []
    for image in images:
        ratio = spectral.measured_residuals(
            [image],
            bank,
            transforms,
            stride=stride,
            negatives=negatives,
            radius=RADIUS,
            step=STEP,
        )
        maps = spectral.read_at(spectral.feature_maps(image, bank, stride), positions, stride)
        rectified = (maps**2).mean(1) / 2 if negatives else (np.maximum(maps, 0) ** 2).mean(1)
        energy = np.stack([(maps**2).mean(1), rectified])[:, None]
        errors.append(ratio * energy)
        energies.append(energy)
    return np.stack(errors), np.stack(energies)


def points(frame: pd.DataFrame) -> pd.DataFrame:
    """Sum over images.

    Args:
        frame: What `measure` returned.

    Returns:
        One row per kind of images, stride, kind of layer, transform, parameter and channel:
        ``predicted``, ``unsampled`` and ``measured`` residual.
    """
    keys = ["images", "stride", "kind", "transform", "parameter", "channel"]
    sums = frame.groupby(keys, sort=False, as_index=False).agg(
        error=("error", "sum"),
        energy=("energy", "sum"),
        predicted=("predicted", "first"),
        unsampled=("unsampled", "first"),
    )
    return sums.assign(measured=sums.pop("error") / sums.pop("energy"))


def summary(frame: pd.DataFrame) -> pd.DataFrame:
    """Judge the law by kind of images, stride, kind of layer and family.

    Args:
        frame: What `measure` returned.

    Returns:
        One row each, ``transform`` also ``all``: ``r_squared`` of the prediction as it is, without
        any fit, with ``low`` and ``high`` (95 % interval over images); ``unsampled``, that of the
        law without sampling; ``bias``, the mean of
        measured less predicted residuals; ``error``, their root mean square difference;
        ``correlation``; ``n_points``, ``n_images``.
    """
    rows = []
    for keys, one in frame.groupby(["images", "stride", "kind"], sort=False):
        about = dict(zip(("images", "stride", "kind"), keys, strict=True))
        for family in ("all", *dict.fromkeys(one["transform"])):
            here = one if family == "all" else one[one["transform"] == family]
            rows.append({**about, "transform": family, **_judged(here)})
    return pd.DataFrame(rows)


def _judged(rows: pd.DataFrame) -> dict[str, float]:
    """How well the law does on some points."""
    keys = ["transform", "parameter", "channel"]
    wide = rows.pivot(
        index=keys, columns="image", values=["error", "energy", "predicted", "unsampled"]
    )
    errors, energies = (wide[c].to_numpy(float) for c in ("error", "energy"))
    law, unsampled = (wide[c].to_numpy(float)[:, 0] for c in ("predicted", "unsampled"))
    found = errors.sum(1) / energies.sum(1)
    count = errors.shape[1]

    def explained(means: np.ndarray) -> np.ndarray:
        ratios = means[: len(law)] / means[len(law) :]
        return np.array([[spectral.explained(law, values) for values in ratios.T]])

    (fit,), (low,), (high,) = statistic_interval(np.vstack([errors, energies]), explained, 0)
    return {
        "r_squared": float(fit),
        "low": float(low),
        "high": float(high),
        "unsampled": spectral.explained(unsampled, found),
        "bias": float((found - law).mean()),
        "error": float(np.sqrt(((found - law) ** 2).mean())),
        "correlation": float(np.corrcoef(law, found)[0, 1]),
        "n_points": len(found),
        "n_images": count,
    }


def plot(frame: pd.DataFrame) -> Figure:
    """Draw measured against predicted residuals, a panel for each stride and kind.

    Args:
        frame: What `measure` returned.

    Returns:
        The figure.
    """
    cloud, judged = points(frame), summary(frame)
    keys = ["stride", "kind", "images"]
    judged = judged[judged["transform"] == "all"].set_index(keys)
    columns = list(dict.fromkeys(frame["images"]))
    rows = list(product(sorted(frame["stride"].unique()), KINDS))
    top = 1.05 * float(cloud[["predicted", "measured"]].to_numpy().max())
    size = (3.6 * len(columns) + 0.8, 3.3 * len(rows) + 1.4)
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(len(rows), len(columns), sharex=True, sharey=True, squeeze=False)
    for (stride, kind), line in zip(rows, panels, strict=True):
        for images, axes in zip(columns, line, strict=True):
            here = cloud[(cloud[keys] == [stride, kind, images]).all(axis=1)]
            _panel(axes, here, judged.loc[(stride, kind, images)], top)
        line[0].set_ylabel(f"measured, stride {stride},\n{kind}")
    for axes, images in zip(panels[0], columns, strict=True):
        axes.set_title(images, fontsize=12)
    for axes in panels[-1]:
        axes.set_xlabel("predicted residual")
    handles = [
        Line2D([], [], color=c, marker="o", markersize=5, linestyle="", label=f)
        for f, c in COLOURS.items()
    ]
    handles.append(Line2D([], [], color="black", linestyle="--", label="prediction is right"))
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False)
    channels, count = frame["channel"].nunique(), frame["image"].nunique()
    figure.suptitle(
        f"EfficientNet-Lite0's stem: {channels} channels, {count} images of each kind; one "
        "point per channel and transform\nrelative mean squared residual; brackets: 95 % "
        "intervals over images",
        fontsize=11,
    )
    return figure


def _panel(axes: Axes, points_: pd.DataFrame, fit: pd.Series, top: float) -> None:
    """One kind of images and layer, with how well the law does, and would without sampling."""
    axes.plot([0, top], [0, top], color="black", linewidth=0.9, linestyle="--")
    for family, colour in COLOURS.items():
        one = points_[points_["transform"] == family]
        axes.scatter(
            one["predicted"],
            one["measured"],
            s=11,
            color=colour,
            alpha=0.5,
            linewidth=0,
            rasterized=True,
        )
    axes.text(
        0.04,
        0.96,
        f"$R^2$ = {fit['r_squared']:.3f}\n[{fit['low']:.3f}, {fit['high']:.3f}]\n"
        f"sampling left out: {fit['unsampled']:.3f}",
        transform=axes.transAxes,
        va="top",
        fontsize=9,
    )
    axes.set_xlim(0, top)
    axes.set_ylim(0, top)
    axes.set_aspect("equal")
