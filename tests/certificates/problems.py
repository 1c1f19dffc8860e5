"""Small problems for certificates: smooth maps, and what a warp leaves of them, read naively."""

import math

import torch
from torch import Tensor

from invariance_probe.certificates import families
from invariance_probe.certificates.minorants import Minorants
from invariance_probe.plane import sampling, splines

IDENTITY = torch.eye(2, 3, dtype=torch.float64)


def smooth(channels: int, height: int, width: int, seed: int) -> Tensor:
    """Random maps, smoothed a little, as features are."""
    noise = torch.randn(
        1, channels, height, width, generator=torch.Generator().manual_seed(seed)
    ).double()
    return splines.blurred(noise, 0.5 * torch.eye(2))[0]


def warp(angle: float, scale: float, dx: float, dy: float) -> Tensor:
    c, s = scale * math.cos(angle), scale * math.sin(angle)
    return torch.tensor([[c, -s, dx], [s, c, dy]], dtype=torch.float64)


def left_by(reference: Tensor, moved: Tensor, region: Tensor, theta: Tensor) -> Tensor:
    read = sampling.warp(moved.expand(len(theta), *moved.shape), theta)
    return ((read - reference).square().sum(1) * region).sum((1, 2))


def problem(
    family: str, seed: int, size: tuple[int, int]
) -> tuple[families.Family, Minorants, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    reference, moved = smooth(2, *size, seed), smooth(2, *size, seed + 1)
    region = torch.rand(size, generator=generator) < 0.8
    region[0, 0] = True
    oracle = warp(
        *(0.3 * torch.randn(4, generator=generator) + torch.tensor([0, 1, 0, 0])).tolist()
    )
    kind = families.Family(family, oracle, region, size, 2.0)
    return kind, Minorants(reference[:, region].T, moved, kind), reference, moved, region
