"""Pairs of real maps to align: EfficientNet-Lite0's, before and after its input is transformed."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from analyses.efficientnet import normalised, photographs, trained
from invariance_probe.network import features, hooks
from invariance_probe.network.preprocessing import LITE_MEAN
from invariance_probe.plane import regions, transforms


@dataclass(frozen=True, kw_only=True)
class MapPairs:
    """Maps of one layer, ordered (transform, image).

    Attributes:
        layer: Name of the layer.
        reference: Maps of the originals, (pair, channel, height, width).
        moved: Maps of the transformed images.
        oracle: The warps that theory leaves, (pair, 2, 3), normalised.
        region: Where the maps are compared, (pair, height, width).
        transform: Family of each pair's transform.
        parameter: Its parameter.
        image: Name of each pair's image.
    """

    layer: str
    reference: Tensor
    moved: Tensor
    oracle: Tensor
    region: Tensor
    transform: list[str]
    parameter: list[float]
    image: list[str]

    def __len__(self) -> int:
        """Count the pairs."""
        return len(self.reference)

    def named(self, i: int) -> dict[str, object]:
        """Say which pair one is.

        Args:
            i: Its number.

        Returns:
            ``layer``, ``transform``, ``parameter`` and ``image``, to begin a row with.
        """
        return {
            "layer": self.layer,
            "transform": self.transform[i],
            "parameter": self.parameter[i],
            "image": self.image[i],
        }


def turns_and_scalings(
    degrees: Sequence[float], factors: Sequence[float]
) -> list[transforms.Transform]:
    """List the transforms that a question asks about.

    Args:
        degrees: Angles of rotations.
        factors: Factors of scalings.

    Returns:
        The rotations, then the scalings.
    """
    return [*map(transforms.Rotation, degrees), *map(transforms.Scaling, factors)]


def efficientnet_pairs(
    layers: Sequence[str], moves: Sequence[transforms.Transform], images: int
) -> list[MapPairs]:
    """Compute pairs of EfficientNet-Lite0's maps of photographs.

    Args:
        layers: Names of layers.
        moves: Transforms of the input.
        images: Number of photographs (10 at most).

    Returns:
        Pairs of each layer.
    """
    network = trained()
    canvases, names = photographs(images, 320)

    def view(move: transforms.Transform) -> Tensor:
        return normalised(move(canvases, crop=224, fill=LITE_MEAN))

    still = view(transforms.Rotation(0))
    chosen = features.find_layers(network, still[:1], layers)
    with hooks.evaluating(network):
        reference = features.tap(network, still, chosen)
        moved = [features.tap(network, view(move), chosen) for move in moves]
    return [
        MapPairs(
            layer=layer.name,
            reference=reference[layer.name].repeat(len(moves), 1, 1, 1),
            moved=torch.cat([maps[layer.name] for maps in moved]),
            oracle=(oracle := _oracles(layer, moves, len(names))),
            region=regions.visible(oracle, layer.height, layer.width),
            transform=[move.kind for move in moves for _ in names],
            parameter=[move.parameter for move in moves for _ in names],
            image=names * len(moves),
        )
        for layer in chosen
    ]


def _oracles(layer: features.Layer, moves: Sequence[transforms.Transform], images: int) -> Tensor:
    each = torch.stack([layer.oracle(move.matrix, 224, 224) for move in moves])
    return each.repeat_interleave(images, dim=0)
