"""Networks with planted operations that move values, and images whose pose is known."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import invariance_probe as ip
from invariance_probe import controls
from invariance_probe.operators import DeformableConv2d, RotatedRoIAlign

SIDE = 33
"""Of images; odd, so that quarter turns move cells onto cells."""


def images(count: int) -> Tensor:
    """Smooth blobs whose centre of mass lies off the centre: its direction is their pose."""
    generator = torch.Generator().manual_seed(1)
    along = torch.arange(SIDE).double() - SIDE // 2
    y, x = torch.meshgrid(along, along, indexing="ij")
    made = torch.zeros(count, 1, SIDE, SIDE, dtype=torch.float64)
    for image in made[:, 0]:
        for _ in range(4):
            to_x, to_y, size, height = torch.rand(4, generator=generator).tolist()
            away = (x - 10 * to_x + 2) ** 2 + (y - 10 * to_y + 2) ** 2
            image += height * torch.exp(-away / 2 / (1.5 + size) ** 2)
    return made.float()


class Direction(nn.Module):
    """Angle of the centre of mass, counter-clockwise: a localizer that is never wrong."""

    def forward(self, maps: Tensor) -> Tensor:
        mass = maps.sum(1)
        height, width = mass.shape[1:]
        x = (mass.sum(1) * (torch.arange(width) - (width - 1) / 2)).sum(1)
        y = (mass.sum(2) * (torch.arange(height) - (height - 1) / 2)).sum(1)
        return torch.atan2(-y, x)


class Upright(nn.Module):
    """Turns maps so that their image's direction is 0."""

    def __init__(self) -> None:
        super().__init__()
        self.angle = Direction()

    def forward(self, image: Tensor, maps: Tensor) -> Tensor:
        angle = self.angle(image)
        cos, sin, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
        theta = torch.stack([cos, sin, zero, -sin, cos, zero], 1).view(-1, 2, 3)
        grid = F.affine_grid(theta, list(maps.shape), align_corners=False)
        return F.grid_sample(maps, grid, align_corners=False)


class Boxes(nn.Module):
    """Three boxes along the direction of each image, which turn with it, or along x."""

    def __init__(self, *, turning: bool) -> None:
        super().__init__()
        self.angle, self.turning = Direction(), turning
        self.pool = RotatedRoIAlign(5, sampling_ratio=1)

    def forward(self, image: Tensor, maps: Tensor) -> Tensor:
        pooled = []
        for number, found in enumerate(self.angle(image)):
            angle = found if self.turning else torch.zeros(())
            boxes = torch.stack([
                torch.stack([
                    SIDE / 2 + away * angle.cos(),
                    SIDE / 2 - away * angle.sin(),
                    *(torch.tensor(side) for side in (12.0, 8.0)),
                    torch.rad2deg(angle),
                ])
                for away in (0.0, 3.0, 5.0)
            ])
            pooled.append(self.pool(maps, boxes, torch.full((3,), number)))
        return torch.cat(pooled)


class Never(nn.Module):
    """A transformer at the input that has learnt nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.part = ip.SpatialTransformer(nn.Sequential(nn.AvgPool2d(11), nn.Flatten()), 9)
        self.net = controls.random_network(channels=1)

    def forward(self, image: Tensor) -> Tensor:
        maps: Tensor = self.net(self.part(image))
        return maps


class Residual(nn.Module):
    """Normalised, with a connection around and an activation in place."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 8, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.body = nn.Conv2d(8, 8, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        maps = F.relu(self.norm(self.stem(image)))
        return F.relu(maps + self.body(maps), inplace=True)


TRUNKS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "plain": (lambda: controls.random_network(channels=1, depth=2), 16),
    "c4": (lambda: controls.c4_network(channels=1, depth=2), 16),
    "residual": (Residual, 8),
}
"""Networks, and the channels of their maps."""


class Planted(nn.Module):
    """A trunk and an operation: on the input, on the map, or in boxes or taps of the map."""

    def __init__(self, trunk: str, how: str) -> None:
        super().__init__()
        make, channels = TRUNKS[trunk]
        self.trunk, self.how = make(), how
        if how == "deform":
            self.part: nn.Module = DeformableConv2d(channels, 4, 3, padding=1)
            nn.init.normal_(self.part.offset.weight, std=0.2)
        else:
            boxes = "box" in how
            self.part = Boxes(turning=how == "box") if boxes else Upright()

    def forward(self, image: Tensor) -> Tensor:
        if self.how == "input":
            maps: Tensor = self.trunk(self.part(image, image))
            return maps
        maps = self.trunk(image)
        return self.part(maps) if self.how == "deform" else self.part(image, maps)
