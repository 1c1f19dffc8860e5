"""Results whose numbers are planted: what a probe would have measured."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import torch

from invariance_probe.alignment.outcomes import Outcome
from invariance_probe.network.features import Layer
from invariance_probe.plane.transforms import Rotation, Transform, described, is_identity
from invariance_probe.results import predictions
from invariance_probe.results.methods import RECOVERY_METHODS, Method
from invariance_probe.results.recovery import CLASS_METRICS
from invariance_probe.results.result import ProbeResult, assemble
from invariance_probe.results.rows import Block, Layout, wide_table
from invariance_probe.results.store import InMemory
from invariance_probe.results.strips import Strip, shown_transforms, stored

QUARTER = (Rotation(90),)
LAYERS = ("shallow", "deep")

EXPLAINED = {
    Method.ORACLE: [1.0, 1.2, 0.8],
    Method.ORACLE_PERMUTATION: [0.8, 0.9, 0.7],
    Method.ORACLE_LINEAR: [0.5, 0.5, 0.5],
    Method.AFFINE: [0.9, 1.1, 0.7],
    Method.AFFINE_PERMUTATION: [0.7, 0.8, 0.6],
    Method.AFFINE_LINEAR: [0.4, 0.5, 0.3],
    Method.ANY_WARP: [0.2, 0.3, 0.1],
    Method.FLOOR: [0.1, 0.1, 0.1],
}
"""Residuals of three images by method. Means: oracle 1, affine 0.9, permuted 0.7, mixed 0.4, floor
0.1: so the parts are 0.1, 0.2, 0.3, 0.3, 0.1 from top to bottom, and 0.2 is proven."""


def layer(name: str, channels: int = 4) -> Layer:
    """A layer of maps of 8 x 8 cells."""
    shape = {"channels": channels, "height": 8, "width": 8, "stride_y": 2.0, "stride_x": 2.0}
    place = {"offset_y": 0.5, "offset_x": 0.5, "measured": True}
    return Layer(name=name, module=name, type="Conv2d", call=1, path="", **shape, **place)


def block(
    name: str,
    method: Method,
    fvu: Sequence[float],
    transform: int = 0,
    outcome: Outcome | None = None,
) -> Block:
    """What a method left of each image under one transform; the other metrics follow from fvu."""
    values = torch.tensor(fvu, dtype=torch.float64)
    count = len(values)
    return Block(
        layer=name,
        method=method,
        images=list(range(count)),
        transforms=[transform] * count,
        values=torch.stack([values, values.sqrt(), 1 - values], dim=1),
        theta=torch.eye(2, 3).flatten().expand(count, 6),
        outcome=[outcome] * count,
        n_iter=[7] * count,
    )


def planted(
    left: Mapping[Method, Sequence[float]],
    *,
    layers: Sequence[str] = LAYERS,
    moves: Sequence[Transform] = QUARTER,
    strips: Sequence[Strip] = (),
    permutations: pd.DataFrame | None = None,
) -> ProbeResult:
    """A result with these residuals by image, half as large in each further layer.

    Transforms that change nothing leave 0.
    """
    blocks = [
        block(
            name,
            method,
            [0.0 if is_identity(move) else value / 2**depth for value in fvu],
            transform,
        )
        for depth, name in enumerate(layers)
        for transform, move in enumerate(moves)
        for method, fvu in left.items()
    ]
    images = len(next(iter(left.values())))
    layout = Layout(
        config={
            "model": "planted",
            "layers": list(layers),
            "images": [f"image {number}" for number in range(images)],
            "methods": list(left),
            "seed": 0,
        },
        layers=[layer(name) for name in layers],
        transforms=moves,
        region_frac=[[0.5] * len(moves)] * len(layers),
        filled_frac=[0.0] * len(moves),
    )
    return assemble(
        InMemory(layout.tidy(wide_table(blocks, layers))),
        layout,
        strips=list(strips),
        permutations=pd.DataFrame() if permutations is None else permutations,
        wall_time=1.0,
    )


def permuted(source: Sequence[int], name: str = "shallow", **columns: object) -> pd.DataFrame:
    """Which channel takes whose place in one layer, as a probe tells it."""
    channels = len(source)
    return pd.DataFrame({
        "layer": name,
        "transform_number": 0,
        "warp": "oracle",
        "channel": np.arange(channels),
        "source": np.asarray(source),
        "agreement": 1.0,
        "better": 3,
        "worse": 0,
        "p_value": 0.125,
    }).assign(**columns)


def strip(name: str, transform: int = 0, seed: int = 0) -> Strip:
    """Random maps of one layer, compared in the left half."""
    rng = np.random.default_rng(seed)
    region = np.zeros((8, 8), dtype=bool)
    region[:, :4] = True
    return Strip(
        layer=name,
        transform=transform,
        channels=[3, 1],
        maps=stored(rng.random((4, 2, 8, 8), dtype=np.float32)),
        region=region,
        images=rng.random((2, 3, 16, 16), dtype=np.float32),
    )


PUT_BACK = tuple(method for method in RECOVERY_METHODS if method is not Method.AFFINE)


def put_back(
    metrics: Sequence[str] = CLASS_METRICS[:3],
    *,
    layers: Sequence[str] = LAYERS,
    moves: Sequence[Transform] = QUARTER,
    images: int = 4,
) -> ProbeResult:
    """A result of maps put back: random scores and, of classes, what is said of one image."""
    rng = np.random.default_rng(0)
    blocks = []
    for name in layers:
        for transform in range(len(moves)):
            for method in PUT_BACK:
                one = block(name, method, [0.0] * images, transform)
                values = rng.random((images, len(metrics)))
                values[:, 0] = values[:, 0].round() if metrics[0] == "agreement" else values[:, 0]
                blocks.append(replace(one, values=torch.tensor(values)))
    shown = shown_transforms(described(moves)) if metrics[0] == "agreement" else []
    rows = []
    strips = []
    for number in shown:
        about = {"image": "image 1", "transform_number": number}
        for layer_name in ("", *layers):
            for method in ("", *PUT_BACK) if layer_name == "" else PUT_BACK:
                said = torch.tensor(rng.random(5))
                rows += predictions.rows(said, None, **about, layer=layer_name, method=str(method))
        strips += [strip(name, number) for name in layers]
    three = [replace(one, images=np.concatenate([one.images, one.images[:1]])) for one in strips]
    layout = Layout(
        config={
            "model": "planted",
            "layers": list(layers),
            "images": [f"image {number}" for number in range(images)],
            "methods": [method.value for method in PUT_BACK],
            "seed": 0,
        },
        layers=[layer(name) for name in layers],
        transforms=moves,
        region_frac=[[0.5] * len(moves)] * len(layers),
        filled_frac=[0.0] * len(moves),
        metrics=metrics,
    )
    return assemble(
        InMemory(layout.tidy(wide_table(blocks, layers, metrics))),
        layout,
        strips=three,
        permutations=pd.DataFrame(),
        wall_time=1.0,
        predictions=pd.DataFrame(rows),
    )
