"""Strips of maps of one image, kept for the picture that shows them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float

from invariance_probe.files import reading, refuse_explosion, unzipped
from invariance_probe.plane.transforms import Transform, is_identity


@dataclass(frozen=True, kw_only=True)
class Strip:
    """Maps of one image, to be looked at.

    Attributes:
        layer: Name of the layer.
        transform: Number of the transform.
        channels: Numbers of the strongest channels (largest standard deviation).
        maps: Reference, moved, oracle-warped, best-warped.
        region: Where they were compared.
        images: Pixel values before and after the transform and, of a run that puts maps back, of
            the image that was warped back.
    """

    layer: str
    transform: int
    channels: list[int]
    maps: Float[np.ndarray, "stage channel height width"]
    region: Bool[np.ndarray, "height width"]
    images: Float[np.ndarray, "view colour crop_height crop_width"]


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
        The strips; a damaged file is refused with an `InvalidInputError`.
    """
    if not path.exists():
        return []
    strips = []
    with reading(path):
        refuse_explosion(path, unzipped(path))
    # numpy leaves a file open that it opened itself and finds damaged
    with reading(path), path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
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
