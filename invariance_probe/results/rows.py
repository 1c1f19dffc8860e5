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


def wide_table(
    blocks: Sequence[Block], layers: Sequence[str], names: Sequence[str] = metrics.METRICS
) -> pd.DataFrame:
    """Lay out some blocks, a row a pair, as short as they can be kept.

    Args:
        blocks: Results, some at least.
        layers: Names of the run's layers.
        names: Of the metrics, in the order of the blocks' values.

    Returns:
        Columns ``layer``, ``method``, ``image`` and ``transform``, numbers (methods as in
        `methods.METHODS`); ``outcome``, a text; ``n_iter``; the warp; the metrics.
    """
    place = {name: number for number, name in enumerate(layers)}
    sizes = [len(block.images) for block in blocks]
    said = [outcome.value if outcome else "" for block in blocks for outcome in block.outcome]
    numbers = {
        "layer": np.repeat([place[block.layer] for block in blocks], sizes),
        "method": np.repeat([METHODS.index(block.method) for block in blocks], sizes),
        "image": np.concatenate([block.images for block in blocks]),
        "transform": np.concatenate([block.transforms for block in blocks]),
        "n_iter": np.concatenate([block.n_iter for block in blocks]),
    }
    theta = torch.cat([block.theta for block in blocks]).double().numpy()
    values = torch.cat([block.values for block in blocks]).double().numpy()
    return pd.DataFrame(
        {name: each.astype(np.int32) for name, each in numbers.items()}
        | {"outcome": pd.Categorical(said)}
        | dict(zip((*THETA, *names), (*theta.T, *values.T), strict=True))
    )


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What the numbers in the rows of a run stand for.

    Attributes:
        config: Resolved configuration.
        layers: The probed layers.
        transforms: The transforms.
        region_frac: Share of the map that was compared, by layer and transform.
        filled_frac: Share of the crop that had to be filled, by transform.
        metrics: Names of what the blocks' values are.
    """

    config: dict[str, Any]
    layers: Sequence[Layer]
    transforms: Sequence[Transform]
    region_frac: Sequence[Sequence[float]]
    filled_frac: Sequence[float]
    metrics: Sequence[str] = metrics.METRICS

    @property
    def kinds(self) -> list[str]:
        """Families of the transforms."""
        return list(dict.fromkeys(t.kind for t in self.transforms))

    @property
    def methods(self) -> list[Method]:
        """Methods of the run, in natural order."""
        return [m for m in METHODS if m in self.config["methods"]]

    @property
    def names(self) -> dict[str, list[str]]:
        """What each column of names of the tidy table may hold, in natural order."""
        return {
            "model": [self.config["model"]],
            "layer": [one.name for one in self.layers],
            "image": list(self.config["images"]),
            "transform": self.kinds,
            "method": [one.value for one in self.methods],
            "metric": list(self.metrics),
            "outcome": sorted({"", *(one.value for one in Outcome)}),
        }

    def tidy(self, wide: pd.DataFrame) -> pd.DataFrame:
        """Lay rows out as the tidy long table.

        Args:
            wide: Results, see `wide_table`.

        Returns:
            See `tables.ProbeTables.frame`.
        """
        methods, kinds, names = self.methods, self.kinds, self.metrics
        config, layers, transforms = self.config, self.layers, self.transforms
        place = np.zeros(len(METHODS), dtype=int)
        place[[METHODS.index(m) for m in methods]] = range(len(methods))
        wide = wide.iloc[np.lexsort([wide[n] for n in ("method", "image", "transform", "layer")])]
        layer, image, move, method, n_iter = (
            wide[n].to_numpy(dtype=int) for n in ("layer", "image", "transform", "method", "n_iter")
        )
        method = place[method]
        outcome = wide["outcome"].to_numpy(dtype=object)
        values, theta = (wide[list(some)].to_numpy() for some in (names, THETA))
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
        columns["region_frac"] = np.repeat(np.asarray(self.region_frac)[layer, move], len(names))
        columns["filled_frac"] = spread(self.filled_frac, move)
        for name, attribute in (("stride", "stride_x"), *((n, n) for n in SHAPE)):
            columns[name] = spread([getattr(one, attribute) for one in layers], layer)
        return pd.DataFrame(columns)
