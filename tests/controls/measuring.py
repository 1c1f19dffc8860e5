"""What the tests of the controls share: networks, motions, and maps warped back."""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

import invariance_probe as ip
from invariance_probe import controls
from invariance_probe.controls import C4, D4
from invariance_probe.network import features, hooks
from invariance_probe.plane import sampling

QUARTER_TURNS = (ip.Rotation(90), ip.Rotation(180), ip.Rotation(-90))
GROUPS = {"C4": C4, "D4": D4}
NETWORKS = {"C4": controls.c4_network, "D4": controls.d4_network}
# every element of each group but the identity
MOVES = [
    (name, group.transform(element))
    for name, group in GROUPS.items()
    for element in range(1, group.order)
]
SUBSAMPLING = [controls.strided_network, controls.antialiased_network]
ALL: list[Callable[..., nn.Module]] = [
    controls.pointwise_network,
    controls.isotropic_network,
    controls.blur_network,
    controls.four_fold_network,
    controls.random_network,
    controls.c4_network,
    controls.d4_network,
    controls.c4_pooled_network,
    controls.d4_pooled_network,
    *SUBSAMPLING,
]


def oracle_warped(
    network: nn.Module,
    canvases: Tensor,
    transforms: Sequence[ip.Transform],
    layers: Sequence[str] = ("(model)",),
    crop: int | None = None,
) -> Iterator[tuple[ip.Transform, Tensor, Tensor]]:
    """Maps of images, and those of the transformed images warped back by the oracle."""
    still = ip.Rotation(0)(canvases, crop=crop)
    chosen = features.find_layers(network, still, layers)
    with hooks.evaluating(network):
        references = features.tap(network, still, chosen)
        for transform in transforms:
            moved = features.tap(network, transform(canvases, crop=crop), chosen)
            for layer in chosen:
                oracle = layer.oracle(transform.matrix, *still.shape[-2:])
                warped = sampling.warp(moved[layer.name], oracle.expand(len(still), -1, -1))
                yield transform, references[layer.name], warped


def relative_gap(a: Tensor, b: Tensor) -> float:
    """Largest difference over the largest value."""
    return float((a - b).abs().max() / torch.maximum(a.abs().max(), b.abs().max()))
