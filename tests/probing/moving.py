"""Networks with planted operations that move values, and images whose pose is known."""

import torch
from torch import nn
from torch.nn import functional as F

import invariance_probe as ip
from invariance_probe import controls
from invariance_probe.controls import c4_network
from invariance_probe.operators import DeformableConv2d, RotatedRoIAlign


def images(n=4, side=33):
    g = torch.Generator().manual_seed(1)
    y, x = torch.meshgrid(*[torch.arange(side).double() - (side - 1) / 2] * 2, indexing="ij")
    out = torch.zeros(n, 1, side, side, dtype=torch.float64)
    for i in range(n):
        for _k in range(4):
            cx, cy = (torch.rand(2, generator=g) * 10 - 2).tolist()
            s = 1.5 + torch.rand(1, generator=g).item()
            out[i, 0] += torch.rand(1, generator=g).item() * torch.exp(
                -((x - cx) ** 2 + (y - cy) ** 2) / 2 / s**2
            )
    return out.float()


class Centroid(nn.Module):
    """Angle of the centre of mass."""

    def forward(self, x):
        m = x.sum(1)
        c = m.sum((1, 2)).clamp(min=1e-9)
        h, w = m.shape[1:]
        X = (m.sum(1) * (torch.arange(w) - (w - 1) / 2)).sum(1) / c
        Y = (m.sum(2) * (torch.arange(h) - (h - 1) / 2)).sum(1) / c
        return torch.atan2(-Y, X)


class Upright(nn.Module):
    def __init__(self):
        super().__init__()
        self.angle = Centroid()

    def forward(self, x, maps=None):
        maps = x if maps is None else maps
        a = self.angle(x)  # content at angle a ccw; turn it by -a: read at the rotated place
        c, si = a.cos(), a.sin()
        z = torch.zeros_like(a)
        th = torch.stack([c, si, z, -si, c, z], 1).view(-1, 2, 3)
        return F.grid_sample(
            maps, F.affine_grid(th, list(maps.shape), align_corners=False), align_corners=False
        )


class AtInput(nn.Module):
    def __init__(self):
        super().__init__()
        self.stn = Upright()
        self.net = controls.random_network(channels=1)

    def forward(self, x):
        return self.net(self.stn(x))


class AtC4(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = c4_network(channels=1, depth=2)
        self.stn = Upright()
        self.head = nn.Conv2d(16, 4, 3)

    def forward(self, x):
        return self.head(self.stn(x, self.net(x)))


class Never(nn.Module):
    def __init__(self):
        super().__init__()
        self.stn = ip.SpatialTransformer(nn.Sequential(nn.AvgPool2d(11), nn.Flatten()), 9)
        self.net = controls.random_network(channels=1)

    def forward(self, x):
        return self.net(self.stn(x))


class Residual(nn.Module):
    def __init__(self, ch=8):
        super().__init__()
        self.stem = nn.Conv2d(1, ch, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(ch)
        self.body = nn.Conv2d(ch, ch, 3, padding=1)

    def forward(self, x):
        x = F.relu(self.bn(self.stem(x)))
        return F.relu(x + self.body(x), inplace=True)


def trunks():
    return {
        "plain": (controls.random_network(channels=1, depth=2), 16),
        "c4": (controls.c4_network(channels=1, depth=2), 16),
        "residual": (Residual(), 8),
    }


class Boxes(nn.Module):
    """A box of each image that turns with it, and one that does not."""

    def __init__(self, rot):
        super().__init__()
        self.angle = Centroid()
        self.rot = rot
        self.pool = RotatedRoIAlign(5, sampling_ratio=1)

    def forward(self, x, maps):
        out = []
        for i, a in enumerate(self.angle(x)):
            d = torch.rad2deg(a) if self.rot else torch.zeros(())
            n = maps.shape[-1]
            n / 4
            boxes = torch.stack([
                torch.stack([
                    torch.tensor(x.shape[-1] / 2.0) + r0 * a.cos() * self.rot,
                    torch.tensor(x.shape[-1] / 2.0) - r0 * a.sin() * self.rot,
                    torch.tensor(12.0),
                    torch.tensor(8.0),
                    d,
                ])
                for r0 in (0.0, 3.0, 5.0)
            ])
            out.append(self.pool(maps, boxes, torch.full((3,), i)))
        return torch.cat(out)


class Planted(nn.Module):
    def __init__(self, trunk, ch, how):
        super().__init__()
        self.trunk = trunk
        self.how = how
        self.part = {
            "input": Upright,
            "map": Upright,
            "box": lambda: Boxes(1),
            "fixed box": lambda: Boxes(0),
            "deform": lambda: DeformableConv2d(ch, 4, 3, padding=1),
        }[how]()
        if how == "deform":
            nn.init.normal_(self.part.offset.weight, std=0.2)

    def forward(self, x):
        if self.how == "input":
            return self.trunk(self.part(x))
        m = self.trunk(x)
        if self.how == "deform":
            return self.part(m)
        return self.part(x, m)
