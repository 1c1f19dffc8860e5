"""Did training make the maps more or less alignable than those of a random network?"""

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor, nn

import invariance_probe as ip
from analyses.efficientnet import blocks, fvu_rows, normalised, photographs, probe, trained
from analyses.efficientnet_pairs import turns_and_scalings
from analyses.legends import shared_legend
from invariance_probe.network import hooks
from invariance_probe.statistics import by_image, statistic_interval

TRAINED, RECALIBRATED = "trained", "trained, statistics anew"
SHUFFLED, DRAWN = "shuffled", "drawn anew"
NETWORKS = (TRAINED, RECALIBRATED, SHUFFLED, DRAWN)
"""All but the first have their batch norms' statistics estimated anew on the photographs: with the
statistics of the trained weights, a random network's activations explode or die."""
COLOURS = dict(zip(NETWORKS, ("#0072B2", "#56B4E9", "#E69F00", "#CC79A7"), strict=True))
METHODS = ("oracle", "affine", "floor", "unrelated")
WARPS = ("oracle", "affine")
KEPT = ["layer", "transform", "parameter", "image", "method", "value"]


@dataclass(frozen=True, kw_only=True)
class Config:
    """What to compare.

    Attributes:
        layers: Layers of EfficientNet-Lite0, from shallow to deep.
        degrees: Rotations of the input.
        factors: Scalings of the input.
        images: Number of photographs (10 at most).
        crop: Side of the square that the networks see, in pixels.
        draws: How many networks of each random kind.
        seed: Root of all random choices.
    """

    layers: tuple[str, ...] = ("_conv_stem", *blocks(0, 2, 4, 7, 10, 15))
    degrees: tuple[float, ...] = (45, 90, 150)
    factors: tuple[float, ...] = (0.7, 1.5)
    images: int = 10
    crop: int = 224
    draws: int = 3
    seed: int = 0


PRESETS = {
    "quick": Config(),
    "tiny": Config(
        layers=("_blocks.4", "_blocks.10"),
        degrees=(90,),
        factors=(0.7,),
        images=3,
        crop=96,
        draws=1,
    ),
}


def shuffled(network: nn.Module, generator: torch.Generator) -> nn.Module:
    """Shuffle the entries of each parameter: the distributions stay, their order is lost.

    Args:
        network: Any network; it is left as it is.
        generator: Source of randomness.

    Returns:
        A copy with shuffled parameters.
    """
    changed = copy.deepcopy(network)
    with torch.no_grad():
        for weights in changed.parameters():
            order = torch.randperm(weights.numel(), generator=generator)
            weights.copy_(weights.flatten()[order].view_as(weights))
    return changed


def drawn_anew(network: nn.Module, seed: int) -> nn.Module:
    """Give each module the weights that it begins with before any training.

    Args:
        network: Any network whose modules with parameters have ``reset_parameters``; it is left as
            it is, and so is the global generator.
        seed: Of the weights.

    Returns:
        A copy with random weights.
    """
    changed = copy.deepcopy(network)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for module in changed.modules():
            reset = getattr(module, "reset_parameters", None)
            if reset is not None:
                reset()
    return changed


def recalibrated(
    network: nn.Module, images: Float[Tensor, "batch channel height width"]
) -> nn.Module:
    """Estimate the statistics of all batch norms anew, in one pass.

    Args:
        network: Any network; it is left as it is.
        images: What the network sees, normalised.

    Returns:
        A copy, in evaluation mode, whose batch norms normalise their inputs on these images.
    """
    changed = copy.deepcopy(network).eval()
    norms = [m for m in changed.modules() if isinstance(m, nn.BatchNorm2d)]
    usual = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        # none: the plain average over all batches, here one
        norm.momentum = None
        norm.train()
    with torch.no_grad():
        changed(images)
    for norm, momentum in zip(norms, usual, strict=True):
        norm.momentum = momentum
    return changed.eval()


def random_networks(
    config: Config, images: Float[Tensor, "batch channel height width"]
) -> Iterator[tuple[str, int, nn.Module]]:
    """Build the networks that are compared.

    Args:
        config: What to compare.
        images: The photographs, larger than the crop.

    Yields:
        Name, one of `NETWORKS`, number of the draw, and the network.
    """
    network = trained()
    seen = normalised(ip.Rotation(0)(images, crop=config.crop))
    yield TRAINED, 0, network
    with hooks.evaluating(network):
        yield RECALIBRATED, 0, recalibrated(network, seen)
        for draw in range(config.draws):
            generator = torch.Generator().manual_seed(1000 * config.seed + draw)
            yield SHUFFLED, draw, recalibrated(shuffled(network, generator), seen)
            fresh = drawn_anew(network, 1000 * config.seed + draw)
            yield DRAWN, draw, recalibrated(fresh, seen)


def measure(config: Config) -> pd.DataFrame:
    """Probe the trained network and the random ones on the same photographs.

    Args:
        config: What to compare.

    Returns:
        One row per ``network``, ``draw``, ``layer``, ``transform``, ``parameter``, ``image`` and
        ``method``, with ``value``, the fvu.
    """
    # enough for any rotation of the crop
    images, _ = photographs(config.images, math.ceil(math.sqrt(2) * config.crop) + 1)
    frames = []
    for name, draw, network in random_networks(config, images):
        result = probe(
            images,
            network=network,
            layers=config.layers,
            transforms=turns_and_scalings(config.degrees, config.factors),
            methods=METHODS,
            crop=config.crop,
            seed=config.seed,
        )
        frames.append(fvu_rows(result, KEPT).assign(network=name, draw=draw))
    frame = pd.concat(frames, ignore_index=True)
    return frame.assign(network=pd.Categorical(frame["network"], NETWORKS, ordered=True))


def _places(values: np.ndarray) -> np.ndarray:
    """Rows (residual, floor, chance) a network to where the residual lies between the two."""
    residual, floor, chance = values[0::3], values[1::3], values[2::3]
    with np.errstate(invalid="ignore", divide="ignore"):
        place: np.ndarray = (residual - floor) / (chance - floor)
    return place


def _with_gap(values: np.ndarray) -> np.ndarray:
    """Places of the recalibrated network and of another, and the former less the latter."""
    place = _places(values)
    return np.vstack([place, place[:1] - place[1:]])


def summary(frame: pd.DataFrame) -> pd.DataFrame:
    """Place each residual between the floor (0) and unrelated images (1), and compare.

    Args:
        frame: What `measure` returned.

    Returns:
        One row per ``layer``, ``transform``, ``warp`` and ``network``: ``fvu``, ``floor``,
        ``chance``; ``place`` with ``low`` and ``high``; ``trained_less_this``, the place of the
        trained network with its statistics estimated anew, as those of the random ones are, less
        this one's (below 0: the trained weights are the more alignable), with ``gap_low`` and
        ``gap_high`` (95 % intervals over photographs, draws averaged); ``draws_low`` and
        ``draws_high``, the least and the greatest place of a single draw.
    """
    rows = []
    wide = by_image(frame, ["layer", "transform", "network", "method"])
    single = by_image(frame, ["layer", "transform", "network", "draw", "method"]).mean(axis=1)
    for layer in dict.fromkeys(frame["layer"]):
        for family in dict.fromkeys(frame["transform"]):
            for warp in WARPS:
                needed = [warp, "floor", "unrelated"]
                base = wide.loc[[(layer, family, RECALIBRATED, m) for m in needed]].to_numpy(float)
                for network in NETWORKS:
                    own = wide.loc[[(layer, family, network, m) for m in needed]].to_numpy(float)
                    found, low, high = statistic_interval(np.vstack([base, own]), _with_gap, 0)
                    each = single.loc[layer, family, network].unstack("method")[needed]
                    places = _places(each.to_numpy(float).T)[0]
                    residual, floor, chance = own.mean(1)
                    rows.append({
                        "layer": layer,
                        "transform": family,
                        "warp": warp,
                        "network": network,
                        "fvu": residual,
                        "floor": floor,
                        "chance": chance,
                        "place": found[1],
                        "low": low[1],
                        "high": high[1],
                        "trained_less_this": found[2],
                        "gap_low": low[2],
                        "gap_high": high[2],
                        "draws_low": places.min(),
                        "draws_high": places.max(),
                    })
    return pd.DataFrame(rows)


def plot(frame: pd.DataFrame) -> Figure:
    """Draw the place between floor and chance by layer, one line a network.

    Args:
        frame: What `measure` returned.

    Returns:
        The figure.
    """
    table = summary(frame)
    layers = list(dict.fromkeys(table["layer"]))
    families = list(dict.fromkeys(table["transform"]))
    draws = int(frame["draw"].max()) + 1
    figure = Figure(figsize=(4.9 * len(families) + 0.8, 8.4), layout="constrained")
    panels = figure.subplots(2, len(families), sharex=True, sharey=True, squeeze=False)
    for row, warp in enumerate(WARPS):
        for column, family in enumerate(families):
            axes = panels[row, column]
            for network in NETWORKS:
                here = (table["warp"] == warp) & (table["transform"] == family)
                one = table[here & (table["network"] == network)]
                x = [layers.index(layer) for layer in one["layer"]]
                axes.fill_between(
                    x, one["low"], one["high"], color=COLOURS[network], alpha=0.18, linewidth=0
                )
                axes.plot(
                    x,
                    one["place"],
                    color=COLOURS[network],
                    marker="o",
                    markersize=5,
                    linestyle="-" if network in {TRAINED, RECALIBRATED} else "--",
                    label=network,
                )
            for level in (0, 1):
                axes.axhline(level, color="#767676", linewidth=0.8, linestyle=":")
            axes.set_xticks(range(len(layers)), layers, rotation=35, ha="right", fontsize=11)
            if row == 0:
                axes.set_title(family)
        panels[row, 0].set_ylabel(
            f"residual after the {'best affine' if warp == 'affine' else 'oracle'} warp\n"
            "(0: floor, 1: chance)"
        )
    shared_legend(figure, panels[0, 0], ncols=4)
    figure.suptitle(
        f"EfficientNet-Lite0 and random networks ({draws} of each kind), "
        f"{frame['image'].nunique()} photographs;\nribbons: 95 % intervals over photographs",
        fontsize=12,
    )
    return figure
