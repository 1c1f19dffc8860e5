"""What a probe measured, on its way into the rows of the table."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from invariance_probe.alignment import metrics
from invariance_probe.alignment.outcomes import Outcome
from invariance_probe.network.features import Layer
from invariance_probe.plane.transforms import Transform
from invariance_probe.results.methods import METHODS, Method

THETA = ("theta_00", "theta_01", "theta_02", "theta_10", "theta_11", "theta_12")
SHAPE = ("channels", "height", "width")


@dataclass(frozen=True, kw_only=True)
class Block:
    """Results of one layer and method for some pairs of image and transform.

    Attributes:
        layer: Name of the layer.
        method: What was compared.
        images: Number of the image, by pair.
        transforms: Number of the transform, by pair.
        values: The metrics of the run, by pair.
        theta: The warp, by pair.
        outcome: How a search ended, why there is no value or why to doubt it, by pair.
        n_iter: Steps of the search, by pair.
    """

    layer: str
    method: Method
    images: list[int]
    transforms: list[int]
    values: Float[Tensor, "pair metric"]
    theta: Float[Tensor, "pair 6"]
    outcome: list[Outcome | None]
    n_iter: list[int]


def long_table(
    blocks: Sequence[Block],
    config: dict[str, Any],
    layers: Sequence[Layer],
    transforms: Sequence[Transform],
    region_frac: Sequence[Sequence[float]],
    filled_frac: Sequence[float],
    names: Sequence[str] = metrics.METRICS,
) -> pd.DataFrame:
    """Lay out a probe's blocks as the tidy long table.

    Args:
        blocks: All results.
        config: Resolved configuration.
        layers: The probed layers.
        transforms: The transforms.
        region_frac: Share of the map that was compared, by layer and transform.
        filled_frac: Share of the crop that had to be filled, by transform.
        names: Of the metrics, in the order of the blocks' values.

    Returns:
        See `tables.ProbeTables.frame`.
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
    said = [outcome.value if outcome else "" for block in blocks for outcome in block.outcome]
    outcome = np.asarray(said, dtype=object)[order]
    n_iter = np.concatenate([block.n_iter for block in blocks])[order]
    values = torch.cat([block.values for block in blocks]).double().numpy()[order]
    theta = torch.cat([block.theta for block in blocks]).double().numpy()[order]
    layer, image, move, method = layer[order], image[order], move[order], method[order]
    kinds = list(dict.fromkeys(t.kind for t in transforms))
    rows = len(layer)

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
        "method": each(method, [one.value for one in methods]),
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
