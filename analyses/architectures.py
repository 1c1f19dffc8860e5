"""Forty architectures: how they are built, and at which strides two of their layers lie.

Strides follow from the architectures as published: the product of the strides of what comes before.
"""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import nn


@dataclass(frozen=True)
class Architecture:
    """A network to be listed and probed.

    Attributes:
        library: That builds it.
        name: What it is called there.
        layers: Two of its layers, and their strides in pixels.
        side: Of the images that it is given, in pixels.
        options: What else it is built with.
    """

    library: str
    name: str
    layers: dict[str, int]
    side: int = 96
    options: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        """Name it as the command line would."""
        return f"{self.library}:{self.name}"

    def missing(self) -> bool:
        """Say whether its library is not installed.

        Returns:
            Whether it is not.
        """
        return importlib.util.find_spec(self.library) is None

    def build(self) -> nn.Module:
        """Build it with random weights.

        Returns:
            The network, in evaluation mode.
        """
        module: nn.Module = _BUILDERS[self.library](self.name, self.options)
        return module.eval()


def _torchvision(name: str, options: dict[str, Any]) -> Any:
    from torchvision import models

    if name in {"googlenet", "inception_v3"}:
        options = {"init_weights": False, **options}
    return models.get_model(name, weights=None, **options)


def _timm(name: str, options: dict[str, Any]) -> Any:
    import timm

    return timm.create_model(name, pretrained=False, **options)


def _transformers(name: str, options: dict[str, Any]) -> Any:
    import transformers

    return getattr(transformers, f"{name}Model")(getattr(transformers, f"{name}Config")(**options))


def _smp(name: str, options: dict[str, Any]) -> Any:
    import segmentation_models_pytorch as smp

    architecture, encoder = name.split("/")
    return getattr(smp, architecture)(encoder, encoder_weights=None, **options)


_BUILDERS: dict[str, Callable[[str, dict[str, Any]], Any]] = {
    "torchvision": _torchvision,
    "timm": _timm,
    "transformers": _transformers,
    "segmentation_models_pytorch": _smp,
}
_BACKBONE = {"weights_backbone": None}
_SMALL = {
    "image_size": 64,
    "hidden_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 3,
    "intermediate_size": 96,
}
_SWIN = {
    "image_size": 64,
    "embed_dim": 24,
    "depths": [2, 2],
    "num_heads": [2, 4],
    "window_size": 4,
}


def _of(library: str, *rows: tuple[Any, ...]) -> tuple[Architecture, ...]:
    return tuple(Architecture(library, *row) for row in rows)


ARCHITECTURES = (
    *_of(
        "torchvision",
        ("alexnet", {"features.0": 4, "features.3": 8}),
        ("vgg11", {"features.2": 2, "features.9": 4}),
        ("resnet18", {"layer1": 4, "layer2": 8}),
        ("resnext50_32x4d", {"layer1": 4, "layer2": 8}),
        ("densenet121", {"features.denseblock1": 4, "features.denseblock2": 8}),
        ("googlenet", {"inception3a": 8, "inception4a": 16}, 128),
        ("inception_v3", {"Conv2d_4a_3x3": 4, "Mixed_5b": 8}),
        ("squeezenet1_1", {"features.3": 4, "features.6": 8}),
        ("mobilenet_v2", {"features.2": 4, "features.4": 8}),
        ("mobilenet_v3_small", {"features.1": 4, "features.2": 8}),
        ("shufflenet_v2_x0_5", {"maxpool": 4, "stage2": 8}),
        ("mnasnet0_5", {"layers.8": 4, "layers.9": 8}),
        ("efficientnet_b0", {"features.2": 4, "features.3": 8}),
        ("regnet_y_400mf", {"trunk_output.block1": 4, "trunk_output.block2": 8}),
        ("convnext_tiny", {"features.1": 4, "features.3": 8}),
        ("vit_b_32", {"conv_proj": 32, "encoder.layers.encoder_layer_11": 32}, 224),
        ("swin_t", {"features.1": 4, "features.3": 8}, 112),
        ("maxvit_t", {"stem": 2, "blocks.0": 4}, 224),
        ("fcn_resnet50", {"backbone.layer1": 4, "backbone.layer4": 8}, 96, _BACKBONE),
        ("lraspp_mobilenet_v3_large", {"backbone.3": 4, "backbone.6": 8}, 96, _BACKBONE),
        (
            "fasterrcnn_mobilenet_v3_large_320_fpn",
            {"backbone.body.3": 4, "backbone.body.6": 8},
            320,
            _BACKBONE,
        ),
    ),
    *_of(
        "timm",
        ("vit_tiny_patch16_224", {"blocks.0": 16, "blocks.11": 16}, 224),
        (
            "vit_small_patch14_reg4_dinov2",
            {"patch_embed": 14, "blocks.6": 14},
            140,
            {"img_size": 140, "depth": 7},
        ),
        ("cait_xxs24_224", {"blocks.0": 16, "blocks.23": 16}, 224),
        ("mixer_s32_224", {"blocks.0": 32, "blocks.7": 32}, 224),
        ("swin_tiny_patch4_window7_224", {"layers.0": 4, "layers.1": 8}, 224),
        ("convnextv2_atto", {"stages.0": 4, "stages.1": 8}),
        ("poolformer_s12", {"stages.0": 4, "stages.1": 8}),
        ("mobilevit_xxs", {"stages.1": 4, "stages.2": 8}, 128),
        ("efficientvit_b0", {"stages.0": 4, "stages.1": 8}),
        ("ghostnet_100", {"blocks.2": 4, "blocks.4": 8}),
    ),
    *_of(
        "transformers",
        ("ViT", {"layers.0": 8, "layers.2": 8}, 64, _SMALL | {"patch_size": 8}),
        (
            "Dinov2WithRegisters",
            {"encoder.layer.0": 8, "encoder.layer.2": 8},
            64,
            _SMALL | {"patch_size": 8},
        ),
        (
            "Swin",
            {"encoder.layers.0.blocks.0:out.0": 4, "encoder.layers.1.blocks.1:out.0": 8},
            64,
            _SWIN,
        ),
        ("Segformer", {"stages.0.blocks.1": 4, "stages.1.blocks.1": 8}),
        ("ConvNext", {"encoder.stages.0": 4, "encoder.stages.1": 8}, 96, {"depths": [1] * 4}),
    ),
    *_of(
        "segmentation_models_pytorch",
        ("Unet/resnet18", {"encoder.layer2": 8, "decoder.blocks.3": 2}),
        ("FPN/resnet18", {"encoder.layer1": 4, "decoder.p2": 4}),
        ("DeepLabV3Plus/resnet18", {"encoder.layer2": 8, "decoder.block2": 4}),
        ("Unet/mit_b0", {"encoder.block1": 4, "encoder.block2": 8}),
    ),
)
