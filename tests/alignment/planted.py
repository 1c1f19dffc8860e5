"""Smooth maps, and affine warps in so many turns, stretches and shifts."""

import math

import torch
from torch import Tensor


def maps(count: int, channels: int, side: int, seed: int = 0) -> Tensor:
    """Smooth random maps."""
    noise = torch.randn(count, channels, side, side, generator=torch.Generator().manual_seed(seed))
    kernel = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16
    weight = (kernel[:, None] * kernel).expand(channels, 1, 5, 5)
    padded = torch.nn.functional.pad(noise, (2, 2, 2, 2), mode="circular")
    return torch.nn.functional.conv2d(padded, weight, groups=channels)


def theta(angle: float, s1: float, s2: float, axis: float, dx: float, dy: float) -> Tensor:
    def turn(a: float) -> Tensor:
        cos, sin = math.cos(a), math.sin(a)
        return torch.tensor([[cos, -sin], [sin, cos]], dtype=torch.float64)

    stretch = turn(axis) @ torch.diag(torch.tensor([s1, s2], dtype=torch.float64)) @ turn(-axis)
    shift = torch.tensor([[dx], [dy]], dtype=torch.float64)
    return torch.cat([turn(angle) @ stretch, shift], dim=1)[None]
