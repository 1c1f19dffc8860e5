"""What the tests of the controls share: the engine's answer, and the maps it was got from."""

from collections.abc import Sequence

import pandas as pd
import torch
from torch import Tensor, nn

import invariance_probe as ip
from invariance_probe import features, geometry, hooks

QUARTER_TURNS = (ip.Rotation(90), ip.Rotation(180), ip.Rotation(-90))
EXACT = {"float32": 1e-10, "float64": 1e-26}
"""Largest fvu that passes as exact: the square of a relative error of 1e-5 and 1e-13."""


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
    network: nn.Module, images: Tensor, transform: ip.Transform, layer: str = "(model)"
) -> tuple[Tensor, Tensor]:
    """Maps of images, and those of the transformed images warped back by the oracle."""
    (chosen,) = features.find_layers(network, images, [layer])
    oracle = chosen.oracle(transform.matrix, *images.shape[-2:]).expand(len(images), -1, -1)
    with hooks.evaluating(network):
        reference = features.tap(network, images, [chosen])[chosen.name]
        moved = features.tap(network, transform(images), [chosen])[chosen.name]
    return reference, geometry.warp(moved, oracle)


def relative_gap(a: Tensor, b: Tensor) -> float:
    """Largest difference over the largest value."""
    return float((a - b).abs().max() / torch.maximum(a.abs().max(), b.abs().max()))
