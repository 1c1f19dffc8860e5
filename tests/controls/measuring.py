"""What the tests of the controls share: the engine's answer, and the maps it was got from."""

from collections.abc import Iterator, Sequence

import pandas as pd
import torch
from torch import Tensor, nn

import invariance_probe as ip
from invariance_probe.network import features, hooks
from invariance_probe.plane import sampling
from tests.tolerances import rounded

QUARTER_TURNS = (ip.Rotation(90), ip.Rotation(180), ip.Rotation(-90))
EXACT = {name: rounded(getattr(torch, name)) ** 2 for name in ("float32", "float64")}
"""Largest fvu that passes as exact: the square of the relative error of a cell."""


def residuals(
    network: nn.Module, images: Tensor, transforms: Sequence[ip.Transform], **options: object
) -> pd.DataFrame:
    """Fvu of the network's output by (transform number, image), one column a method."""
    result = ip.probe(network, images, layers="(model)", transforms=transforms, **options)
    frame = result.frame()
    return frame[frame["metric"] == "fvu"].pivot_table(
        index=["transform_number", "image"], columns="method", values="value", observed=True
    )


def oracle_warped(
    network: nn.Module,
    canvases: Tensor,
    transforms: Sequence[ip.Transform],
    layers: Sequence[str] = ("(model)",),
    crop: int | None = None,
) -> Iterator[tuple[ip.Transform, Tensor, Tensor]]:
    """Maps of images, and those of the transformed images warped back by the oracle."""
    still = ip.Rotation(0)(canvases, crop=crop)
    chosen = features.find_layers(network, still, layers)
    with hooks.evaluating(network):
        references = features.tap(network, still, chosen)
        for transform in transforms:
            moved = features.tap(network, transform(canvases, crop=crop), chosen)
            for layer in chosen:
                oracle = layer.oracle(transform.matrix, *still.shape[-2:])
                warped = sampling.warp(moved[layer.name], oracle.expand(len(still), -1, -1))
                yield transform, references[layer.name], warped


def relative_gap(a: Tensor, b: Tensor) -> float:
    """Largest difference over the largest value."""
    return float((a - b).abs().max() / torch.maximum(a.abs().max(), b.abs().max()))
