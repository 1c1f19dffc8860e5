"""What is done to images before a model sees them, as its publishers say."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

LITE_MEAN, LITE_STD = (127 / 255,) * 3, (128 / 255,) * 3
"""Of EfficientNet-Lite (tensorflow/tpu, efficientnet/lite: (x - 127) / 128 on 8-bit values)."""


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """How a picture becomes what a model sees: resized, cut, normalised.

    Attributes:
        crop: Side of the square that is cut out, in pixels; None if unknown.
        resize: What the shorter side becomes before, in pixels; None if unknown.
        interpolation: How pixels are read then, as Pillow names it.
        mean: Mean to take off pixel values in [0, 1], by channel.
        std: Divisor after that, by channel.
    """

    crop: int | None = None
    resize: int | None = None
    interpolation: str = "bicubic"
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)


def of_torchvision(transforms: object) -> Preprocessing:
    """Read what torchvision's weights come with.

    Args:
        transforms: ``weights.transforms()``. Detectors have no sizes: they resize themselves.

    Returns:
        The same, as numbers.
    """
    resize = min(getattr(transforms, "resize_size", None) or [0]) or None
    crop = min(getattr(transforms, "crop_size", None) or [0]) or resize
    reading = getattr(transforms, "interpolation", None)
    return Preprocessing(
        crop=crop,
        resize=resize,
        interpolation=_plain(reading.value) if reading is not None else "bilinear",
        mean=tuple(getattr(transforms, "mean", (0.0,))),
        std=tuple(getattr(transforms, "std", (1.0,))),
    )


def of_timm(config: Mapping[str, Any]) -> Preprocessing:
    """Read timm's data configuration.

    Args:
        config: What ``timm.data.resolve_model_data_config`` returns.

    Returns:
        The same; timm cuts the share ``crop_pct`` out of what it has resized.
    """
    crop = int(config["input_size"][-1])
    return Preprocessing(
        crop=crop,
        resize=math.floor(crop / config["crop_pct"]),
        interpolation=_plain(config["interpolation"]),
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
    )


def of_transformers(config: Mapping[str, Any], interpolation: str | None) -> Preprocessing:
    """Read what an image processor of transformers does.

    Args:
        config: What its ``to_dict`` returns.
        interpolation: Its ``resample``, as Pillow names it.

    Returns:
        The same. Processors that stretch to a square are taken to resize the shorter side, as a
        stretched picture turns into another shape.
    """
    normalises = config.get("do_normalize", False)
    # what is resized to, the share of it that is cut out, and what is cut out
    size = _side(config.get("size")) if config.get("do_resize", True) else None
    crop = _side(config.get("crop_size")) if config.get("do_center_crop") else None
    resize = size
    if size is not None and crop is None and config.get("crop_pct") and size < _WHOLE:
        crop, resize = size, int(size / config["crop_pct"])
    return Preprocessing(
        crop=crop or size,
        resize=resize,
        interpolation=interpolation or "bilinear",
        mean=tuple(config["image_mean"]) if normalises else (0.0,),
        std=tuple(config["image_std"]) if normalises else (1.0,),
    )


_WHOLE = 384
"""Pixels from which ConvNeXt's processor cuts nothing off (transformers,
``image_processing_convnext``, ``resize``)."""


def _plain(interpolation: str) -> str:
    """Pillow's name: its nearest is what others call nearest-exact."""
    return interpolation.removesuffix("-exact")


def _side(size: Any) -> int | None:
    """The shorter side of a size in any of the forms that processors know."""
    if isinstance(size, Mapping):
        known = [size[key] for key in ("shortest_edge", "height", "width") if size.get(key)]
        return min(known) if known else None
    return int(size) if isinstance(size, int) else None
