"""EfficientNet-Lite0, with its weights for ImageNet, and the photographs that it is asked about."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor, nn

import invariance_probe as ip
from invariance_probe.data.pictures import open_images
from invariance_probe.network.models import load_model
from invariance_probe.network.preprocessing import LITE_MEAN, LITE_STD


def blocks(*numbers: int) -> tuple[str, ...]:
    """Name blocks of the network.

    Args:
        *numbers: Which, from 0 to 15.

    Returns:
        Names of layers.
    """
    return tuple(f"_blocks.{number}" for number in numbers)


def trained() -> nn.Module:
    """Load the network.

    Returns:
        The network, in evaluation mode.
    """
    return load_model("efficientnet-lite0").module


def photographs(
    count: int, canvas: int
) -> tuple[Float[Tensor, "image channel height width"], list[str]]:
    """Open the packaged photographs.

    Args:
        count: How many, 10 at most.
        canvas: Side, in pixels.

    Returns:
        Pixel values in [0, 1], and the names of the photographs.
    """
    files, _ = open_images("photographs", canvas)
    names = list(files.names[:count])
    return torch.stack([files[i] for i in range(len(names))]), names


def normalised(
    images: Float[Tensor, "image channel height width"],
) -> Float[Tensor, "image channel height width"]:
    """Normalise images as the network was trained.

    Args:
        images: Pixel values in [0, 1].

    Returns:
        What the network sees.
    """
    mean, std = (torch.tensor(values)[:, None, None] for values in (LITE_MEAN, LITE_STD))
    return (images - mean) / std


def probe(
    images: Float[Tensor, "image channel height width"],
    *,
    network: nn.Module | None = None,
    **options: Any,
) -> ip.ProbeResult:
    """Probe the network, or another that sees images as it does.

    Args:
        images: Pixel values in [0, 1].
        network: By default the trained one.
        **options: Of `invariance_probe.probe`.

    Returns:
        What the probe found.
    """
    return ip.probe(network or trained(), images, mean=LITE_MEAN, std=LITE_STD, **options)


def fvu_rows(result: ip.ProbeResult, columns: Sequence[str]) -> pd.DataFrame:
    """List fractions of variance unexplained.

    Args:
        result: What a probe found.
        columns: Those of its table that are wanted.

    Returns:
        Rows of the table, ``value`` in single precision.
    """
    table = result.frame()
    rows: pd.DataFrame = table[table["metric"] == "fvu"][list(columns)]
    return rows.astype({"value": "float32"})
