"""Rows of a probe on their way into the table, and the maps that its picture shows."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from invariance_probe.alignment import metrics
from invariance_probe.network.features import Layer
from invariance_probe.plane.transforms import Transform, is_identity
from invariance_probe.results.methods import METHODS

THETA = ("theta_00", "theta_01", "theta_02", "theta_10", "theta_11", "theta_12")
SHAPE = ("channels", "height", "width")


@dataclass(frozen=True, kw_only=True)
class Block:
    """Results of one layer and method for some pairs of image and transform.

    Attributes:
        layer: Name of the layer.
        method: Name of the method.
        images: Number of the image, by pair.
        transforms: Number of the transform, by pair.
        values: The metrics, by pair.
        theta: The warp, by pair.
        outcome: How the search ended or why there is no value, by pair.
        n_iter: Steps of the search, by pair.
    """

    layer: str
    method: str
    images: list[int]
    transforms: list[int]
    values: Float[Tensor, "pair 3"]
    theta: Float[Tensor, "pair 6"]
    outcome: list[str]
    n_iter: list[int]


@dataclass(frozen=True, kw_only=True)
class Strip:
    """Maps of one image, to be looked at.

    Attributes:
        layer: Name of the layer.
        transform: Number of the transform.
        channels: Numbers of the strongest channels (largest standard deviation).
        maps: Reference, moved, oracle-warped, best-warped.
        region: Where they were compared.
        images: Pixel values before and after the transform.
    """

    layer: str
    transform: int
    channels: list[int]
    maps: Float[np.ndarray, "stage channel height width"]
    region: Bool[np.ndarray, "height width"]
    images: Float[np.ndarray, "2 colour crop_height crop_width"]


def shown_transforms(moves: Sequence[Transform]) -> list[int]:
    """Choose the transforms whose maps are kept for the picture.

    Args:
        moves: All transforms of the run.

    Returns:
        One number a family: the largest of the milder half of its transforms.
    """
    chosen = []
    for kind in dict.fromkeys(move.kind for move in moves):
        family = [
            (float((move.matrix - torch.eye(3)).norm()), -i)
            for i, move in enumerate(moves)
            if move.kind == kind and not is_identity(move)
        ]
        if family:
            chosen.append(-sorted(family)[(len(family) - 1) // 2][1])
    return chosen


def table(
    blocks: Sequence[Block],
    config: dict[str, Any],
    layers: Sequence[Layer],
    transforms: Sequence[Transform],
    region_frac: Sequence[Sequence[float]],
    filled_frac: Sequence[float],
) -> pd.DataFrame:
    """Lay out a probe's blocks as the tidy long table.

    Args:
        blocks: All results.
        config: Resolved configuration.
        layers: The probed layers.
        transforms: The transforms.
        region_frac: Share of the map that was compared, by layer and transform.
        filled_frac: Share of the crop that had to be filled, by transform.

    Returns:
        See `result.ProbeResult.frame`.
    """
    place = {one.name: number for number, one in enumerate(layers)}
    layer = np.concatenate([np.full(len(block.images), place[block.layer]) for block in blocks])
    image = np.concatenate([block.images for block in blocks])
    move = np.concatenate([block.transforms for block in blocks])
    methods = [m for m in METHODS if m in config["methods"]]
    method = np.concatenate([
        np.full(len(block.images), methods.index(block.method)) for block in blocks
    ])
    order = np.lexsort((method, image, move, layer))
    outcome = np.concatenate([np.asarray(block.outcome, dtype=object) for block in blocks])[order]
    n_iter = np.concatenate([block.n_iter for block in blocks])[order]
    values = torch.cat([block.values for block in blocks]).double().numpy()[order]
    theta = torch.cat([block.theta for block in blocks]).double().numpy()[order]
    layer, image, move, method = layer[order], image[order], move[order], method[order]
    kinds = list(dict.fromkeys(t.kind for t in transforms))
    rows, names = len(layer), metrics.METRICS

    def each(numbers: np.ndarray, labels: Sequence[str]) -> pd.Categorical:
        return pd.Categorical.from_codes(
            np.repeat(numbers, len(names)), categories=list(labels), ordered=True
        )

    def spread(of: Sequence[float], numbers: np.ndarray) -> np.ndarray:
        return np.repeat(np.asarray(of)[numbers], len(names))

    kind_of = np.asarray([kinds.index(t.kind) for t in transforms])
    columns: dict[str, Any] = {
        "model": pd.Categorical.from_codes(
            np.zeros(rows * len(names), dtype=int), categories=[config["model"]]
        ),
        "layer": each(layer, [one.name for one in layers]),
        "call": spread([one.call for one in layers], layer),
        "image": each(image, config["images"]),
        "transform": each(kind_of[move], kinds),
        "parameter": spread([t.parameter for t in transforms], move),
        "transform_number": np.repeat(move, len(names)),
        "method": each(method, methods),
        "metric": pd.Categorical.from_codes(
            np.tile(np.arange(len(names)), rows), categories=list(names), ordered=True
        ),
        "value": values.reshape(-1),
        "outcome": pd.Categorical(np.repeat(outcome, len(names))),
        "n_iter": np.repeat(n_iter, len(names)),
    }
    for i, name in enumerate(THETA):
        columns[name] = np.repeat(theta[:, i], len(names))
    columns["region_frac"] = np.repeat(np.asarray(region_frac)[layer, move], len(names))
    columns["filled_frac"] = spread(filled_frac, move)
    for name, attribute in (("stride", "stride_x"), *((n, n) for n in SHAPE)):
        columns[name] = spread([getattr(one, attribute) for one in layers], layer)
    return pd.DataFrame(columns)


def save_strips(path: Path, strips: Sequence[Strip]) -> None:
    """Write strips into one compressed file.

    Args:
        path: The file, ``.npz``.
        strips: What to write.
    """
    arrays: dict[str, np.ndarray] = {}
    for i, strip in enumerate(strips):
        arrays[f"maps/{i}"] = strip.maps.astype(np.float32)
        arrays[f"region/{i}"] = strip.region
        # all layers of one transform show the same two images
        arrays[f"images/{strip.transform}"] = strip.images.astype(np.float32)
        described = json.dumps([strip.layer, strip.transform, strip.channels])
        arrays[f"about/{i}"] = np.frombuffer(described.encode(), dtype=np.uint8)
    with path.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


def load_strips(path: Path) -> list[Strip]:
    """Read what `save_strips` wrote.

    Args:
        path: The file; it may be missing.

    Returns:
        The strips.
    """
    if not path.is_file():
        return []
    strips = []
    with np.load(path, allow_pickle=False) as arrays:
        for i in range(sum(name.startswith("about/") for name in arrays.files)):
            layer, transform, channels = json.loads(arrays[f"about/{i}"].tobytes())
            strips.append(
                Strip(
                    layer=layer,
                    transform=transform,
                    channels=channels,
                    maps=arrays[f"maps/{i}"],
                    region=arrays[f"region/{i}"],
                    images=arrays[f"images/{transform}"],
                )
            )
    return strips
