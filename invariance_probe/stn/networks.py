"""The papers' classifiers and localization networks.

Sources: Finnveden, Jansson, Lindeberg, "Understanding when spatial transformer networks do not
support invariance, and what to do about it" (ICPR 2020); Jaderberg et al., "Spatial transformer
networks" (2015), whose MNIST and SVHN networks the former take over. A *layer* is what the papers
count: a convolution with the max pooling, ReLU and dropout that follow it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from invariance_probe.errors import InvalidInputError
from invariance_probe.stn.convolution import ImageConvolution
from invariance_probe.stn.pooled import PooledSequential


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """A classifier, before width, image size and classes are known.

    Attributes:
        name: As on the command line.
        channels: Filters of each layer.
        kernels: Side of each layer's filters, in cells.
        padded: Whether convolutions keep the size of their maps.
        pooled: Numbers of the layers (from 1) that end in max pooling with stride 2.
        pool: Side of the pooling windows, in cells.
        slope: Of the rectifiers below 0: 0 for ReLU.
        hidden: Units of the fully connected layers before the last.
        dropout: Share of values dropped after the layers `dropped` and after hidden ones.
        dropped: Numbers of the layers (from 1) after which values are dropped.
        steady: Whether the first weights are `steady_weights`; torch's own otherwise.
        localizer: One of `LOCALIZERS`; None leaves it to the size of the images.
    """

    name: str
    channels: tuple[int, ...]
    kernels: tuple[int, ...]
    padded: bool
    pooled: tuple[int, ...]
    pool: int = 2
    slope: float = 0.0
    hidden: tuple[int, ...] = ()
    dropout: float = 0.0
    dropped: tuple[int, ...] = ()
    steady: bool = False
    localizer: str | None = None

    def map_sizes(
        self, channels: int, side: int, width: float, *, resampled: Mapping[int, int] | None = None
    ) -> list[tuple[int, int, int]]:
        """List the sizes of the images and of the maps after each layer.

        Args:
            channels: Channels of the images.
            side: Side of the images, in pixels.
            width: Factor of the numbers of filters.
            resampled: Side to which the images (0) or the maps after a layer are brought before
                what follows.

        Returns:
            (channels, height, width) as each leaves its layer.

        Raises:
            InvalidInputError: If a layer has nothing left.
        """
        sizes = [(channels, side, side)]
        for number, (filters, kernel) in enumerate(
            zip(self.channels, self.kernels, strict=True), 1
        ):
            here = (resampled or {}).get(number - 1, sizes[-1][1])
            here = here if self.padded else here - kernel + 1
            here = (here - self.pool) // 2 + 1 if number in self.pooled else here
            if here < 1:
                raise InvalidInputError(
                    f"images of {side} pixels are too small for the network {self.name!r}, whose "
                    f"layer {number} has no position left; choose another --network"
                )
            sizes.append((scaled(filters, width), here, here))
        return sizes

    def rectifier(self) -> nn.Module:
        """Build what follows convolutions and hidden layers.

        Returns:
            ReLU, or LeakyReLU where `slope` is not 0.
        """
        return nn.LeakyReLU(self.slope, inplace=True) if self.slope else nn.ReLU(inplace=True)


ARCHITECTURES = {
    each.name: each
    for each in (
        Architecture(name="mnist", channels=(64, 64), kernels=(9, 7), padded=False, pooled=(1, 2)),
        Architecture(
            name="svhn",
            channels=(48, 64, 128, 160, 192, 192, 192, 192),
            kernels=(5,) * 8,
            padded=True,
            pooled=(1, 3, 5, 7),
            hidden=(3072, 3072, 3072),
            dropout=0.5,
            dropped=(2, 3, 4, 5, 6, 7, 8),
            localizer="padded",
        ),
        # the papers' network for MNIST has two layers, too few to ask what depth does
        Architecture(
            name="mnist-deep",
            channels=(16, 16, 32, 32, 64, 64, 64, 64),
            kernels=(3,) * 8,
            padded=True,
            pooled=(2, 4, 6),
            steady=True,
        ),
        # small enough to train hundreds of: one for each motion, depth and seed
        Architecture(
            name="mnist-five",
            channels=(8, 8, 16, 16, 32),
            kernels=(3,) * 5,
            padded=True,
            pooled=(2, 4),
        ),
        # the papers give no table for plankton; their authors' code of 2022 has these ten
        Architecture(
            name="plankton",
            channels=(32, 32, 64, 64, 128, 128, 128, 256, 256, 256),
            kernels=(3,) * 10,
            padded=True,
            pooled=(2, 4, 7, 10),
            pool=3,
            slope=1 / 3,
            hidden=(512, 512),
            dropout=0.5,
            dropped=(10,),
        ),
    )
}
"""``mnist``: conv 9x9/64, pool, ReLU, conv 7x7/64, pool, ReLU, linear. ``svhn``: eight convolutions
5x5, pooling after 1, 3, 5, 7, three hidden layers of 3072, dropout 0.5 after all but the first
convolution. ``mnist-deep``: eight convolutions 3x3, pooling after 2, 4, 6, linear.
``mnist-five``: five convolutions 3x3 of 8 to 32 filters, pooling after 2 and 4, linear.
``plankton``: ten convolutions 3x3 with LeakyReLU(1/3), overlapping pooling 3x3 after 2, 4, 7 and
10, two hidden layers of 512, dropout 0.5 before each linear layer."""


@dataclass(frozen=True, kw_only=True)
class Frame:
    """The part of an image that a square map covers, in the image's normalised coordinates.

    A map whose convolutions are not padded covers less than the image, and one whose size was
    rounded down by pooling is not centred on it: coordinates of the map are not those of the image.

    Attributes:
        share: Side of the map over that of the image.
        centre: Where the map's centre lies, along x and y alike.
    """

    share: float = 1.0
    centre: float = 0.0

    def to_image(self, pull_backs: Float[Tensor, "batch 3 3"]) -> Float[Tensor, "batch 3 3"]:
        """Express how a map is read as how the image would be read.

        Args:
            pull_backs: In the normalised coordinates of the map.

        Returns:
            The same warps in the normalised coordinates of the image; a square map's linear parts
            are the image's.
        """
        # u = share v + centre: v -> A v + t becomes u -> A u + (share t + centre - A centre)
        kept = self.centre - self.centre * pull_backs[:, :2, :2].sum(2)
        return _shifted_by(pull_backs, self.share * pull_backs[:, :2, 2] + kept)

    def from_image(self, pull_backs: Float[Tensor, "batch 3 3"]) -> Float[Tensor, "batch 3 3"]:
        """Undo `to_image`.

        Args:
            pull_backs: In the normalised coordinates of the image.

        Returns:
            The same warps in the normalised coordinates of the map.
        """
        kept = self.centre - self.centre * pull_backs[:, :2, :2].sum(2)
        return _shifted_by(pull_backs, (pull_backs[:, :2, 2] - kept) / self.share)


def _shifted_by(pull_backs: Tensor, shifts: Tensor) -> Tensor:
    """The same linear parts with other shifts."""
    rows = torch.cat([pull_backs[:, :2, :2], shifts[:, :, None]], dim=2)
    return torch.cat([rows, pull_backs[:, 2:]], dim=1)


class Classifier(nn.Module):
    """A convolutional network that names what is in an image, in one or several slots.

    Attributes:
        layers: The layers, in the sense of the papers.
        sizes: (channels, height, width) of the images and of the maps after each layer.
        frames: Which part of the image these cover, down to where a transformer changes their side.

    Args:
        architecture: What it is built like.
        channels: Channels of the images.
        side: Side of the images, in pixels.
        classes: Number of classes of each slot.
        slots: Labels of each image: 1, or 5 for numbers of up to five digits.
        width: Factor of the numbers of filters and hidden units.
        resampled: As of `Architecture.map_sizes`: where transformers return maps of another side.

    Raises:
        InvalidInputError: If the images are too small for the network.
    """

    def __init__(
        self,
        architecture: Architecture,
        *,
        channels: int,
        side: int,
        classes: int,
        slots: int = 1,
        width: float = 1.0,
        resampled: Mapping[int, int] | None = None,
    ) -> None:
        super().__init__()
        self.architecture, self.width = architecture, width
        self.slots, self.classes = slots, classes
        self.sizes = architecture.map_sizes(channels, side, width, resampled=resampled)
        self.layers = nn.ModuleList(
            self._layer(number) for number in range(1, len(architecture.channels) + 1)
        )
        self.frames = _frames(architecture, [size[1] for size in self.sizes])
        # a transformer of the last maps decides what the head reads
        last = (resampled or {}).get(len(self.layers), self.sizes[-1][1])
        features = self.sizes[-1][0] * last * last
        head: list[nn.Module] = [nn.Flatten()]
        for units in architecture.hidden:
            narrowed = scaled(units, width)
            head += [nn.Linear(features, narrowed), architecture.rectifier()]
            head += [nn.Dropout(architecture.dropout)] if architecture.dropout else []
            features = narrowed
        self.head = nn.Sequential(*head, nn.Linear(features, slots * classes))
        if architecture.steady:
            for part in (self.layers, self.head):
                steady_weights(part)

    def _layer(self, number: int) -> nn.Sequential:
        """Layer `number`, with fresh weights."""
        plan = self.architecture
        kernel, filters = plan.kernels[number - 1], self.sizes[number][0]
        padding = kernel // 2 if plan.padded else 0
        before = self.sizes[number - 1][0]
        parts: list[nn.Module] = [ImageConvolution(before, filters, kernel, padding=padding)]
        # a rectifier keeps the order of values: after the pooling it has a quarter to do
        parts += [nn.MaxPool2d(plan.pool, 2)] if number in plan.pooled else []
        parts.append(plan.rectifier())
        parts += [nn.Dropout(plan.dropout)] if number in plan.dropped else []
        return PooledSequential(*parts)

    def copy_of_layers(self, count: int) -> nn.Sequential:
        """Build the first layers once more, with weights of their own.

        Args:
            count: How many.

        Returns:
            Layers with fresh weights.
        """
        copy = nn.Sequential(*(self._layer(number) for number in range(1, count + 1)))
        if self.architecture.steady:
            steady_weights(copy)
        return copy

    def classify(
        self, maps: Float[Tensor, "batch channel height width"]
    ) -> Float[Tensor, "batch slot class"]:
        """Name what the last layer's maps show.

        Args:
            maps: Maps after the last layer.

        Returns:
            Logits.
        """
        logits: Tensor = self.head(maps)
        return logits.view(-1, self.slots, self.classes)

    def forward(
        self, images: Float[Tensor, "batch channel height width"]
    ) -> Float[Tensor, "batch slot class"]:
        """Name what images show.

        Args:
            images: Images.

        Returns:
            Logits.
        """
        for layer in self.layers:
            images = layer(images)
        return self.classify(images)


def _frames(plan: Architecture, sides: list[int]) -> list[Frame]:
    """Frames of the images and of the maps after each layer, which have so many cells a side."""
    stride, first = 1, 0.0
    out = [Frame()]
    for number, side in enumerate(sides[1:], 1):
        # position of the first cell on the image, in pixels: the middle of what it sees
        first += 0.0 if plan.padded else stride * (plan.kernels[number - 1] - 1) / 2
        if number in plan.pooled:
            first += stride * (plan.pool - 1) / 2
            stride *= 2
        off = first + (stride * (side - 1) - (sides[0] - 1)) / 2
        out.append(Frame(share=stride * side / sides[0], centre=2 * off / sides[0]))
    return out


def steady_weights(network: nn.Module) -> None:
    """Draw weights that keep the size of signals through many ReLUs; biases begin at 0.

    Source: He et al., "Delving deep into rectifiers" (2015). Torch's own shrink them by about a
    half in every layer.

    Args:
        network: Its convolutions and linear layers are changed.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            assert module.bias is not None
            nn.init.zeros_(module.bias)


LOCALIZERS = ("fc", "conv", "padded")
"""``fc``: fully connected 32-32-32 (the papers' for rotated MNIST); ``conv``: conv 5x5/20, pool,
conv 5x5/20, pool, linear 20 (translated and scaled MNIST); ``padded``: conv 5x5/32, pool, conv
5x5/32, both keeping their size, linear 32-32 (SVHN)."""
SMALL_SIDE = 32
"""Up to this side, in pixels, of the images a fully connected localizer is the papers' choice."""
HALVED_SIDE = 100
"""From this side on the localizer sees the maps halved, as the papers' does images of 112."""
POOLED_TWICE = 16
"""Cells a side that the second convolution must leave for a second pooling: it leaves 24 of the
papers' images of 60 and 22 of 112 pixels, and 7 of the map of 26, where they do not pool again."""
_CONV_CHANNELS, _CONV_UNITS, _FC_UNITS, _KERNEL = 20, 20, 32, 5
_PADDED_UNITS = 32
_SMALL_MAP = 16


def scaled(units: int, width: float) -> int:
    """Scale a number of units.

    Args:
        units: At width 1.
        width: The factor.

    Returns:
        At least one unit.
    """
    return max(1, round(units * width))


def build_localizer(
    kind: str, size: tuple[int, int, int], *, width: float = 1.0
) -> tuple[nn.Sequential, int]:
    """Build what turns maps into the features from which a motion is read.

    Args:
        kind: One of `LOCALIZERS`. On maps of fewer than 16 cells a side the convolutions of
            ``conv`` keep their size.
        size: (channels, height, width) of the maps.
        width: Factor of the numbers of units.

    Returns:
        The network, and how many features it ends in.

    Raises:
        InvalidInputError: If there is no such localizer.
    """
    if kind == "fc":
        units = scaled(_FC_UNITS, width)
        return nn.Sequential(nn.Flatten(), *_connected(math.prod(size), [units] * 3)), units
    if kind not in LOCALIZERS:
        raise InvalidInputError(f"localizer {kind!r} is unknown; choose from auto, fc, conv")
    padded = kind == "padded"
    body = _convolved(size, scaled(_PADDED_UNITS if padded else _CONV_CHANNELS, width), padded)
    with torch.no_grad():
        features = nn.Sequential(*body)(torch.zeros(1, *size)).shape[1]
    units = scaled(_PADDED_UNITS if padded else _CONV_UNITS, width)
    body += _connected(features, [units] * (2 if padded else 1))
    return PooledSequential(*body), units


def _connected(features: int, widths: Sequence[int]) -> list[nn.Module]:
    """Fully connected layers of so many units, from so many features."""
    parts: list[nn.Module] = []
    for before, after in pairwise([features, *widths]):
        parts += [nn.Linear(before, after), nn.ReLU(inplace=True)]
    return parts


def _convolved(size: tuple[int, int, int], filters: int, padded: bool) -> list[nn.Module]:
    """Two convolutions of the papers' localizers, flattened."""
    channels, side = size[0], min(size[1:])
    halved = not padded and side >= HALVED_SIDE
    side = side // 2 if halved else side
    padding = _KERNEL // 2 if padded or side < _SMALL_MAP else 0
    body: list[nn.Module] = [nn.AvgPool2d(2)] if halved else []
    body.append(ImageConvolution(channels, filters, _KERNEL, padding=padding))
    body += [nn.MaxPool2d(2)] if side > 1 else []
    body += [nn.ReLU(inplace=True), ImageConvolution(filters, filters, _KERNEL, padding=padding)]
    left = (side - _KERNEL + 1) // 2 - _KERNEL + 1
    body += [nn.MaxPool2d(2)] if not padded and padding == 0 and left >= POOLED_TWICE else []
    return [*body, nn.ReLU(inplace=True), nn.Flatten()]
