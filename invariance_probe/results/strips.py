"""Strips of maps of some images, kept for the pictures that show them."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, UInt8

from invariance_probe.files import reading, refuse_explosion, unzipped

STAGES = ("reference", "moved", "oracle-warped", "best-warped", "smooth-warped")
"""What is kept of each map."""
SHOWN_CHANNELS = 3
"""Channels of a layer that are kept, the strongest first."""
SHOWN_CELLS = 112
"""Cells, or pixels, across that are kept: what is looked at need be no larger."""


@dataclass(frozen=True, kw_only=True)
class Strip:
    """Maps of one image, to be looked at.

    Attributes:
        layer: Name of the layer.
        transform: Number of the transform.
        image: Number of the image.
        channels: Numbers of the strongest channels (largest standard deviation).
        maps: Of each of the first `STAGES`: the last is there where smooth warps were asked for.
        region: Where they were compared.
        images: Pixel values before and after the transform and, of a run that puts maps back, of
            the image that was warped back.
    """

    layer: str
    transform: int
    image: int = 0
    channels: list[int]
    maps: Float[np.ndarray, "stage channel height width"]
    region: Bool[np.ndarray, "height width"]
    images: Float[np.ndarray, "view colour crop_height crop_width"]


def shrinking(size: Sequence[int]) -> int:
    """Say by how much something is shrunk before it is kept.

    Args:
        size: Height and width.

    Returns:
        Cells along each axis whose mean is kept in one; 1 leaves all as it is.
    """
    return math.ceil(max(size) / SHOWN_CELLS)


def stored(maps: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """Round maps as their file does, so that they are the same before and after.

    Args:
        maps: Of any type.

    Returns:
        In half precision: a picture has fewer shades.
    """
    most = float(np.finfo(np.float16).max)
    half: np.ndarray = np.clip(maps, -most, most).astype(np.float16)
    return half


def shown_transforms(moves: Sequence[Mapping[str, Any]]) -> list[int]:
    """Choose the transforms whose maps are drawn.

    Args:
        moves: All transforms of the run, as of `transforms.described`.

    Returns:
        One number a family: the largest of the milder half of its transforms.
    """
    chosen = []
    for kind in dict.fromkeys(move["kind"] for move in moves):
        family = [
            (distance, -i)
            for i, move in enumerate(moves)
            if move["kind"] == kind
            and (distance := float(np.linalg.norm(np.asarray(move["matrix"]) - np.eye(3)))) > 0
        ]
        if family:
            chosen.append(-sorted(family)[(len(family) - 1) // 2][1])
    return chosen


def save_strips(path: Path, strips: Sequence[Strip]) -> None:
    """Write strips into one compressed file, pixels in 256 shades.

    Args:
        path: The file, ``.npz``.
        strips: What to write.
    """
    arrays: dict[str, np.ndarray] = {}
    for i, strip in enumerate(strips):
        arrays[f"maps/{i}"] = stored(strip.maps)
        arrays[f"region/{i}"] = strip.region
        # all layers show the same images
        key = f"{strip.image}/{strip.transform}"
        if f"images/{key}" not in arrays:
            arrays[f"images/{key}"], arrays[f"shades/{key}"] = _shades(strip.images)
        described = json.dumps([strip.layer, strip.transform, strip.channels, strip.image])
        arrays[f"about/{i}"] = np.frombuffer(described.encode(), dtype=np.uint8)
    with path.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


def _shades(
    images: Float[np.ndarray, "..."],
) -> tuple[UInt8[np.ndarray, "..."], Float[np.ndarray, "2"]]:
    """Pixels in 256 steps, and the least and the largest."""
    low, high = min(0.0, float(images.min())), max(1.0, float(images.max()))
    levels = np.rint((images - low) * (255 / (high - low)))
    return levels.astype(np.uint8), np.array([low, high])


def load_strips(path: Path) -> list[Strip]:
    """Read what `save_strips` wrote.

    Args:
        path: The file; it may be missing, or of version 0.1.0.

    Returns:
        The strips; a damaged file is refused with an `InvalidInputError`.
    """
    if not path.exists():
        return []
    strips = []
    with reading(path):
        refuse_explosion(path, unzipped(path))
    # numpy leaves a file open that it opened itself and finds damaged
    with reading(path), path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        seen: dict[str, np.ndarray] = {}
        for i in range(sum(name.startswith("about/") for name in arrays.files)):
            about = json.loads(arrays[f"about/{i}"].tobytes())
            layer, transform, channels = about[:3]
            image = about[3] if len(about) > 3 else 0
            key = f"{image}/{transform}" if len(about) > 3 else f"{transform}"
            if key not in seen:
                seen[key] = arrays[f"images/{key}"]
                if f"shades/{key}" in arrays:
                    low, high = arrays[f"shades/{key}"]
                    seen[key] = (seen[key] * ((high - low) / 255) + low).astype(np.float32)
            strips.append(
                Strip(
                    layer=layer,
                    transform=transform,
                    image=image,
                    channels=channels,
                    maps=arrays[f"maps/{i}"],
                    region=arrays[f"region/{i}"],
                    images=seen[key],
                )
            )
    return strips
