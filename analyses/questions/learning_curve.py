"""From how many images can a mixing of channels be learnt?"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import seaborn as sns
import torch
from matplotlib.figure import Figure

import invariance_probe as ip
from analyses.efficientnet_pairs import MapPairs, efficientnet_pairs
from analyses.legends import shared_legend
from invariance_probe.alignment import mixing as channels
from invariance_probe.alignment.mixing import Moments
from invariance_probe.plane import sampling

KINDS = ("none", "permutation", "orthogonal", "linear")


@dataclass(frozen=True, kw_only=True)
class Config:
    """What to learn from how much.

    Attributes:
        layers: Layers of EfficientNet-Lite0, from shallow to deep.
        degrees: Rotation of the input.
        images: Number of photographs (10 at most).
        draws: How often the images to fit to are drawn.
        seed: Root of the draws.
    """

    layers: tuple[str, ...] = ("_blocks.0", "_blocks.2", "_blocks.4", "_blocks.10", "_blocks.15")
    degrees: float = 90
    images: int = 10
    draws: int = 12
    seed: int = 0


PRESETS = {
    "quick": Config(),
    "tiny": Config(layers=("_blocks.10",), images=4, draws=2),
}


def measure(config: Config) -> pd.DataFrame:
    """Fit mixings to some images under the oracle warp and score them on all the others.

    Args:
        config: What to learn from how much.

    Returns:
        One row per ``layer``, ``warp`` (``oracle`` or ``affine``), ``kind`` (``none`` is the warp
        alone), ``images`` fitted to and ``draw``: ``value``, the fvu of the images outside the fit;
        ``positions`` fitted to, ``channels``. A fit to one image takes a fixed penalty; of more,
        each is left out once to choose it.
    """
    rng = np.random.default_rng(config.seed)
    subsets = [
        (count, draw, rng.permutation(config.images))
        for count in range(1, config.images)
        for draw in range(config.draws)
    ]
    rows: list[dict[str, object]] = []
    for pairs in efficientnet_pairs(config.layers, [ip.Rotation(config.degrees)], config.images):
        found = ip.align(pairs.reference, pairs.moved, oracle=pairs.oracle, region=pairs.region)
        for warp, theta in (("oracle", pairs.oracle), ("affine", found.theta)):
            moments, variance = _moments(pairs, theta)
            for count, draw, order in subsets:
                fitted, held = order[:count], order[count:]
                scored = moments[torch.from_numpy(held)].sum()
                spread = float(variance[held].sum())
                for kind in KINDS:
                    mixing = _fit(kind, moments[torch.from_numpy(fitted)])
                    rows.append({
                        "layer": pairs.layer,
                        "warp": warp,
                        "kind": kind,
                        "images": count,
                        "draw": draw,
                        "value": float(mixing.error(scored)) / spread,
                        "positions": int(moments.count[torch.from_numpy(fitted)].sum()),
                        "channels": pairs.reference.shape[1],
                    })
    return pd.DataFrame(rows)


def _moments(pairs: MapPairs, theta: torch.Tensor) -> tuple[Moments, np.ndarray]:
    """Moments of each image, and its variance about the channel means of all."""
    inside = pairs.region[0].flatten().nonzero().flatten()
    f = pairs.reference.flatten(2)[:, :, inside]
    g = sampling.warp(pairs.moved, theta).flatten(2)[:, :, inside]
    centred = f - f.mean((0, 2), keepdim=True)
    return Moments.of(f, g), centred.double().square().sum((1, 2)).numpy()


def _fit(kind: str, fitted: Moments) -> channels.Mixing:
    if kind == "none":
        return channels.Permutation(torch.arange(fitted.cross.shape[-1]))
    return channels.fit(channels.Kind(kind), fitted)


def summary(frame: pd.DataFrame) -> pd.DataFrame:
    """Average over draws.

    Args:
        frame: What `measure` returned.

    Returns:
        One row per layer, warp and number of images, one column a kind.
    """
    keys = ["layer", "channels", "warp", "images"]
    wide = frame.pivot_table(index=keys, columns="kind", values="value", sort=False)
    return wide[list(KINDS)].reset_index()


def plot(frame: pd.DataFrame) -> Figure:
    """Draw the held-out residual against the number of images fitted to, a panel a layer.

    Args:
        frame: What `measure` returned.

    Returns:
        The figure.
    """
    layers = list(dict.fromkeys(frame["layer"]))
    figure = Figure(figsize=(3.3 * len(layers) + 2.6, 7), layout="constrained")
    panels = figure.subplots(2, len(layers), sharex=True, sharey=True, squeeze=False)
    for row, warp in enumerate(("oracle", "affine")):
        for column, layer in enumerate(layers):
            axes = panels[row, column]
            rows = frame[(frame["layer"] == layer) & (frame["warp"] == warp)]
            sns.lineplot(
                rows,
                x="images",
                y="value",
                hue="kind",
                style="kind",
                errorbar=("pi", 90),
                palette="colorblind",
                markers=True,
                dashes=False,
                ax=axes,
                legend=row + column == 0,
            )
            axes.axhline(1, color="#767676", linewidth=0.8, linestyle=":")
            axes.set_ylim(0, 2)
            axes.set_xlabel("images fitted to" if row else "")
            axes.set_ylabel(f"fvu outside the fit\nafter the {warp} warp" if not column else "")
            if row == 0:
                axes.set_title(f"{layer}, {rows['channels'].iloc[0]} channels", fontsize=12)
    panels[0, 0].get_legend().remove()
    shared_legend(figure, panels[0, 0], "outside right center", title="mixing of channels")
    figure.suptitle(
        "EfficientNet-Lite0, photographs turned: mean and 90 % range over draws of the images; "
        "dotted: the channel means",
        fontsize=11,
    )
    return figure
