"""Does a perfect layer leave the floor, whatever its grid, and does another one leave more?"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from torch import Tensor, nn

import invariance_probe as ip
from analyses.efficientnet import photographs
from analyses.legends import shared_legend
from invariance_probe import controls
from invariance_probe.results.methods import Method

EXACT = 1e-6
"""A residual below this counts as none, and then so must the floor."""
PERFECT = (0.5, 1.25)
"""What a perfect layer may leave, in floors."""
MORE = 1.5
"""What a layer that is not equivariant must leave, in floors: then a report says that it is not."""
MOVES = {
    "quarter turns": (ip.Rotation(90), ip.Rotation(180), ip.Rotation(-90)),
    "other rotations": (ip.Rotation(20), ip.Rotation(-45)),
    "scalings and shears": (ip.Scaling(0.7), ip.Scaling(1.4), ip.Shear(0.3)),
}
NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[str, ...]]] = {
    "pointwise": (controls.pointwise_network, tuple(MOVES)),
    "isotropic": (controls.isotropic_network, ("quarter turns", "other rotations")),
    "4-fold": (controls.four_fold_network, ("quarter turns",)),
    "C4, pooled": (controls.c4_pooled_network, ("quarter turns",)),
    "random": (controls.random_network, ()),
}
"""Networks of stride 1, and where they are perfect; a last step drops rows and columns."""
STRIDES = ((1, 1), (2, 2), (4, 4), (2, 1), (1, 4))
"""Along y and x."""
STRIDED = "C4, pooled, strided first"
"""The issue's case: strides in the first layer, filters on what is left."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """What to measure.

    Attributes:
        sizes: Sides of the images, in pixels; odd and even.
        images: Number of photographs (10 at most), on canvases of twice the largest size.
        strides: Which of `STRIDES`.
    """

    sizes: tuple[int, ...] = (64, 65, 70)
    images: int = 10
    strides: tuple[tuple[int, int], ...] = STRIDES


PRESETS = {"quick": Config(), "tiny": Config(sizes=(48,), images=4, strides=((2, 2),))}


def _networks(config: Config) -> Iterator[tuple[str, tuple[int, int], nn.Module]]:
    """Every network, with its strides."""
    for strides in config.strides:
        for name, (build, _) in NETWORKS.items():
            yield name, strides, nn.Sequential(build(), nn.MaxPool2d(1, strides))
        if strides[0] == strides[1]:
            first = controls.c4_network(fields=8, stride=strides[0])
            yield STRIDED, strides, nn.Sequential(first, controls.OrbitPool(controls.C4))


def measure(config: Config) -> pd.DataFrame:
    """Probe perfect networks, and a random one, on grids of several strides.

    Args:
        config: What to measure.

    Returns:
        One row a network x strides x size x transform x image: ``network``, ``stride`` (along y and
        x), ``size``, ``moves`` (family), ``transform``, ``parameter``, ``perfect`` (whether the
        network is under this family), ``image``, ``oracle`` and ``floor`` (fvu).
    """
    canvases, names = photographs(config.images, 2 * max(config.sizes))
    frames = []
    for name, (down, right), network in _networks(config):
        for size in config.sizes:
            frame = _probed(network, canvases, size)
            known = NETWORKS.get(name, NETWORKS["C4, pooled"])[1]
            frames.append(
                frame.assign(
                    network=name,
                    stride=f"{down} x {right}",
                    size=size,
                    perfect=frame["moves"].isin(known),
                    image=[names[int(image)] for image in frame["image"]],
                )
            )
    return pd.concat(frames, ignore_index=True)


def _probed(network: nn.Module, canvases: Tensor, size: int) -> pd.DataFrame:
    """What the oracle leaves, and the floor."""
    moves = [(family, move) for family, some in MOVES.items() for move in some]
    frame = ip.probe(
        network,
        canvases,
        layers="(model)",
        methods=[Method.ORACLE, Method.FLOOR],
        transforms=[move for _, move in moves],
        crop=size,
    ).frame()
    wide = frame[frame["metric"] == "fvu"].pivot_table(
        index=["transform_number", "image"], columns="method", values="value", observed=True
    )
    wide = wide.reset_index().rename_axis(columns=None)
    number = wide.pop("transform_number")
    return wide.assign(
        moves=[moves[i][0] for i in number],
        transform=[moves[i][1].kind for i in number],
        parameter=[moves[i][1].parameter for i in number],
    )


def by_transform(frame: pd.DataFrame) -> pd.DataFrame:
    """Average over the images.

    Args:
        frame: What `measure` returned.

    Returns:
        One row a network x strides x size x transform: the means ``oracle`` and ``floor``, their
        ``ratio`` (NaN where both are below `EXACT`), whether it ``holds`` that a perfect layer
        leaves `PERFECT` (where nothing is left there is no floor), and whether the layer ``stands
        out`` by more than `MORE` floors.
    """
    keys = ["network", "stride", "perfect", "size", "moves", "transform", "parameter"]
    means = frame.groupby(keys, sort=False)[["oracle", "floor"]].mean().reset_index()
    exact = means["oracle"] < EXACT
    means["ratio"] = (means["oracle"] / means["floor"]).mask(exact & (means["floor"] < EXACT))
    inside = means["ratio"].between(*PERFECT) | means["ratio"].isna()
    means["holds"] = inside.astype(float).where(means["perfect"])
    means["stands out"] = means["ratio"] > MORE
    return means


def summary(frame: pd.DataFrame) -> pd.DataFrame:
    """Judge every network under every transform.

    Args:
        frame: What `measure` returned.

    Returns:
        By ``network``, ``stride`` and whether it is ``perfect`` under the transforms: the number of
        ``cases`` (sizes x transforms) and of those that are ``exact``; of the others, means of
        ``oracle`` and ``floor`` and the ``lowest``, ``median`` and ``highest`` ratio; the shares of
        cases that ``holds`` and ``stands out`` (see `by_transform`), and of images whose own ratio
        lies in `PERFECT` (``images``).
    """
    means = by_transform(frame)
    keys = ["network", "stride", "perfect"]
    some = means[means["ratio"].notna()]
    judged = {"holds": "mean", "stands out": "mean", "size": "size"}
    table = means.groupby(keys, sort=False).agg(judged).rename(columns={"size": "cases"})
    counted = some.groupby(keys, sort=False).agg(
        inexact=("ratio", "size"),
        oracle=("oracle", "mean"),
        floor=("floor", "mean"),
        lowest=("ratio", "min"),
        median=("ratio", "median"),
        highest=("ratio", "max"),
    )
    table = table.join(counted)
    table["exact"] = table["cases"] - table.pop("inexact").fillna(0).astype(int)
    pairs = frame[frame["oracle"] >= EXACT]
    inside = (pairs["oracle"] / pairs["floor"]).between(*PERFECT)
    table["images"] = inside.groupby([pairs[key] for key in keys], sort=False).mean()
    return table.reset_index()


def plot(frame: pd.DataFrame) -> Figure:
    """Draw what is left against the floor, a panel a network.

    Args:
        frame: What `measure` returned.

    Returns:
        The figure.
    """
    means = by_transform(frame)
    # where a floor is 0, what is not perfect has no place on this scale
    drawn = means["perfect"] | (means["network"] == "random")
    shown = means[means["ratio"].notna() & (means["floor"] > EXACT) & drawn]
    names = sorted(dict.fromkeys(shown["network"]), key=lambda name: name == "random")
    strides = list(dict.fromkeys(means["stride"]))
    colours = dict(zip(strides, sns.color_palette("colorblind", len(strides)), strict=True))
    columns = min(3, len(names))
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(3.3 * columns + 2.6, 3.2 * rows + 0.6), layout="constrained")
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    ends = np.array([0.7 * shown["floor"].min(), 1.4 * shown["floor"].max()])
    low, high = (each * ends for each in PERFECT)
    band = f"{PERFECT[0]:g} to {PERFECT[1]:g} floors"
    green = Method.FLOOR.colour
    for axes, name in zip(panels.flat, names, strict=False):
        axes.fill_between(ends, low, high, color=green, alpha=0.2, linewidth=0, label=band)
        one = shown[shown["network"] == name]
        for stride, colour in colours.items():
            here = one[one["stride"] == stride]
            axes.scatter(here["floor"], here["oracle"], s=16, color=colour, label=stride)
        axes.set_title(name, fontsize=12)
        axes.set_xscale("log")
        axes.set_yscale("log")
    for axes in panels[-1]:
        axes.set_xlabel("floor (fvu)")
    for axes in panels[:, 0]:
        axes.set_ylabel("left by the oracle (fvu)")
    shared_legend(figure, panels[0, 0], "outside right center", title="strides, down x right")
    perfect = means[means["perfect"]]
    figure.suptitle(
        f"{int(perfect['holds'].sum())} of {len(perfect)} perfect cases leave {band}, or nothing; "
        f"means over {frame['image'].nunique()} photographs",
        fontsize=12,
    )
    return figure
