"""Which architectures of which libraries can be listed and probed, and are their strides right?

Forty architectures with random weights. Every map is listed with a stride that was measured, or
with a star, where its cells are taken to cover the image evenly. Networks shrink and enlarge by
two, so a measured stride is a power of two times one that is known from the architecture; and two
layers of each have a stride that is known. These two are probed: two images, two rotations.

A library that is not installed is left out; torchvision needs the build of torch that it was made
for.
"""

import warnings
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure

import invariance_probe as ip
from analyses.architectures import ARCHITECTURES, Architecture
from invariance_probe.errors import InvalidInputError, UnmeasuredLayerWarning, first_line

MOVES = (ip.Rotation(30), ip.Rotation(90))
_SHARES = {
    "measured": "stride and offset measured",
    "starred": "starred: taken to cover the image",
    "other": "no map",
}
_COLOURS = ("#0072b2", "#e69f00", "#999999")


@dataclass(frozen=True, kw_only=True)
class Config:
    """What to look at.

    Attributes:
        architectures: Names, such as ``timm:vit_tiny_patch16_224``.
        seed: Of weights and images.
    """

    architectures: tuple[str, ...] = tuple(map(str, ARCHITECTURES))
    seed: int = 0


PRESETS = {
    "quick": Config(),
    "tiny": Config(
        architectures=(
            "torchvision:squeezenet1_1",
            "timm:ghostnet_100",
            "transformers:ViT",
            "segmentation_models_pytorch:Unet/resnet18",
        )
    ),
}


def measure(config: Config) -> pd.DataFrame:
    """List and probe what can be built.

    Args:
        config: What to look at.

    Returns:
        One row per architecture, see `look`.

    Raises:
        InvalidInputError: If none of the libraries is installed.
    """
    chosen = [each for each in ARCHITECTURES if str(each) in config.architectures]
    there = [each for each in chosen if not each.missing()]
    if not there:
        raise InvalidInputError(
            "none of the libraries is installed; install them with `pip install '.[zoo]'`"
        )
    return pd.DataFrame([look(each, config.seed) for each in there])


def look(architecture: Architecture, seed: int = 0) -> dict[str, object]:
    """List and probe one architecture.

    Args:
        architecture: Which.
        seed: Of weights and images.

    Returns:
        ``library``, ``architecture``, ``outputs``, ``maps``, ``measured`` and ``starred`` (numbers
        of layers), ``wrong`` (measured strides that cannot be), ``known`` (of the two layers, how
        many are listed with their stride), ``probed`` (whether all values are there), ``affine``
        (mean fvu of the two layers) and ``said`` (what was refused).
    """
    torch.manual_seed(seed)
    net, side = architecture.build(), architecture.side
    row: dict[str, object] = {
        "library": architecture.library,
        "architecture": architecture.name,
        **dict.fromkeys(("outputs", "maps", "measured", "starred", "wrong", "known"), 0),
        "probed": False,
        "affine": float("nan"),
        "said": "",
    }
    try:
        frame = ip.list_layers(net, torch.rand(1, 3, side, side)).set_index("name")
        maps = frame[frame["spatial"]]
        measured = maps[maps["measured"]]
        known = next(iter(architecture.layers.values()))
        powers = np.log2(measured[["stride_y", "stride_x"]].to_numpy(dtype=float) / known)
        strides = frame.reindex(list(architecture.layers))[["stride_y", "stride_x"]]
        want = np.array(list(architecture.layers.values()))[:, None]
        row |= {
            "outputs": len(frame),
            "maps": len(maps),
            "measured": len(measured),
            "starred": len(maps) - len(measured),
            "wrong": int((powers != powers.round()).any(1).sum()),
            "known": int((strides.to_numpy(dtype=float) == want).all(1).sum()),
        }
        coarse = torch.rand(2, 3, 12, 12)
        images = torch.nn.functional.interpolate(
            coarse, size=round(1.5 * side), mode="bicubic", antialias=True
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UnmeasuredLayerWarning)  # a star is counted above
            result = ip.probe(
                net, images, layers=list(architecture.layers), transforms=MOVES, crop=side
            )
        values = result.frame().query("metric == 'fvu' and method == 'affine'")["value"]
        whole = len(values) == len(images) * len(MOVES) * len(architecture.layers)
        row |= {"probed": whole and bool(values.notna().all()), "affine": float(values.mean())}
    except InvalidInputError as error:
        row["said"] = first_line(error)
    return row


def summary(frame: pd.DataFrame) -> pd.DataFrame:
    """Bring the table into the order in which it is read.

    Args:
        frame: What `measure` returned.

    Returns:
        The same rows, and one for each library with sums.
    """
    numbers = ["outputs", "maps", "measured", "starred", "wrong", "known", "probed"]
    sums = frame.groupby("library", sort=False)[numbers].sum().reset_index()
    counts = frame.groupby("library", sort=False).size().to_numpy()
    sums.insert(1, "architecture", [f"all {count}" for count in counts])
    rows = frame.assign(probed=frame["probed"].astype(int))
    return pd.concat([rows, sums], ignore_index=True)


def plot(frame: pd.DataFrame) -> Figure:
    """Draw how many outputs of each architecture are measured, starred or no map.

    Args:
        frame: What `measure` returned.

    Returns:
        The figure, a panel a library.
    """
    libraries = list(dict.fromkeys(frame["library"]))
    counts = [int((frame["library"] == library).sum()) for library in libraries]
    figure = Figure(
        figsize=(8.2, 0.235 * len(frame) + 0.55 * len(libraries) + 0.9), layout="constrained"
    )
    panels = figure.subplots(
        len(libraries), 1, sharex=True, squeeze=False, gridspec_kw={"height_ratios": counts}
    )[:, 0]
    for axes, library in zip(panels, libraries, strict=True):
        rows = frame[frame["library"] == library].iloc[::-1]
        rows = rows.assign(other=rows["outputs"] - rows["maps"])
        start = np.zeros(len(rows))
        for (column, label), colour in zip(_SHARES.items(), _COLOURS, strict=True):
            share = rows[column].to_numpy(dtype=float) / rows["outputs"].clip(lower=1).to_numpy()
            axes.barh(
                rows["architecture"], share, left=start, color=colour, label=label, height=0.7
            )
            start += share
        for place, probed in enumerate(rows["probed"]):
            axes.text(1.01, place, "probed" if probed else "not probed", va="center", fontsize=8)
        axes.set_title(library.replace("_", "-"), fontsize=10, loc="left")
        axes.tick_params(labelsize=8, length=0)
        axes.set_xlim(0, 1)
        axes.margins(y=0.01)
    panels[-1].set_xlabel("share of the modules' outputs", fontsize=9)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=3, fontsize=9, frameon=False)
    return figure
