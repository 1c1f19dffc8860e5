"""What the `demo` extra packages: a trained first layer, and photographs."""

from functools import cache

import numpy as np
from jaxtyping import Float64
from PIL import Image

from invariance_probe.data import pictures
from invariance_probe.network import models

PHOTOGRAPHS = ("astronaut", "camera", "chelsea", "coffee")
"""Some of `pictures.PHOTOGRAPHS`."""

LUMINANCE = np.array([0.2125, 0.7154, 0.0721])
"""Weights of red, green and blue in grey (ITU-R BT.709)."""


@cache
def stem_kernels() -> Float64[np.ndarray, "32 3 3"]:
    """The stem of EfficientNet-Lite0, trained on ImageNet, as it acts on grey images.

    Returns:
        32 x 3 x 3: the kernels summed over the three colours.
    """
    weights = models.load_model("efficientnet-lite0").module.state_dict()
    kernels: Float64[np.ndarray, "32 3 3"] = weights["_conv_stem.weight"].double().sum(1).numpy()
    return kernels


def photographs(side: int) -> list[Float64[np.ndarray, "side side"]]:
    """Grey crops from the middle of packaged photographs, not resized.

    Args:
        side: width and height of the crops, 300 at most.

    Returns:
        One image a photograph: values from 0 to 1, less their mean.

    Raises:
        ValueError: a photograph is smaller than the crop.
    """
    crops = []
    for path in pictures.photographs(PHOTOGRAPHS):
        grey = np.asarray(Image.open(path).convert("RGB"), dtype=np.float64) / 255 @ LUMINANCE
        if min(grey.shape) < side:
            raise ValueError(
                f"side = {side}: the photograph {path.stem!r} has {grey.shape} pixels."
            )
        top, left = ((np.array(grey.shape) - side) // 2).tolist()
        crop = grey[top : top + side, left : left + side]
        crops.append(np.asarray(crop - crop.mean()))
    return crops
