"""What is done to digits, and what a method is: it moves something, by a pose, and hands on.

All methods see digits in the middle of a canvas through a trunk of the five layers of
``mnist-five``: convolutions 3 x 3 that keep the size, and pooling of 2 x 2 behind two of them. Even
sizes and even windows keep the centre, so that quarter turns move cells onto cells (claim P14).
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from invariance_probe.controls import C4, GroupConv2d, LiftingConv2d
from invariance_probe.operators import DeformableConv2d, RotatedRoIAlign
from invariance_probe.perturbations.parsing import parse_perturbation
from invariance_probe.plane import motions
from invariance_probe.plane.sampling import resample
from invariance_probe.stn.convolution import ImageConvolution
from invariance_probe.stn.networks import ARCHITECTURES, scaled, steady_weights

CANVAS, STRIDE = 40, 4
"""Side of the images, and distance of the last map's cells, in pixels."""
BOX = 24
"""Side of what is read from maps, in pixels: it holds the digit, and its corners stay on the map
whichever way it is turned."""
CELLS = BOX // STRIDE
CLASSES = 10
_ROUNDED = 1e-6
"""Poses are float32."""
_PLAN = ARCHITECTURES["mnist-five"]


@dataclass(frozen=True, kw_only=True)
class Pose:
    """How the content of all images was moved; by default not at all.

    Attributes:
        motion: What was done, as of `parse_perturbation`.
        numbers: Of its pose.
    """

    motion: str = f"none=on:{CANVAS}"
    numbers: tuple[float, ...] = ()

    def move(
        self, images: Float[Tensor, "batch 1 side side"]
    ) -> Float[Tensor, "batch 1 canvas canvas"]:
        """Put digits on the canvas, moved as in trainings.

        Args:
            images: Digits, values in [0, 1].

        Returns:
            Moved digits.
        """
        poses = torch.tensor(self.numbers).expand(len(images), -1)
        return parse_perturbation(self.motion).apply(images, poses)

    @cached_property
    def matrix(self) -> Float[Tensor, "3 3"]:
        """The motion of the content, in centred pixels; float64."""
        return parse_perturbation(self.motion).moves(torch.tensor([self.numbers]))[0]

    @property
    def degrees(self) -> float:
        """By which the content was turned, counter-clockwise."""
        return float(motions.poses_of(self.matrix[None], ["degrees"])[0, 0])

    @property
    def on_cells(self) -> bool:
        """Whether cells of the last map come to lie on cells: quarter turns, whole strides."""
        linear, shift = self.matrix[:2, :2], self.matrix[:2, 2] / STRIDE
        return all(float((each - each.round()).abs().max()) < _ROUNDED for each in (linear, shift))

    @property
    def pull_back(self) -> Float[Tensor, "1 3 3"]:
        """What undoes it, in normalised coordinates: of the image, and of maps that cover it."""
        return motions.undoing_pull_backs(self.matrix[None], CANVAS, CANVAS)

    def undone(
        self, maps: Float[Tensor, "batch channel height width"]
    ) -> Float[Tensor, "batch channel height width"]:
        """Move content back, by bilinear reading.

        Args:
            maps: Images or maps.

        Returns:
            The same, read through the inverse of the motion; borders go on for ever.
        """
        return resample(maps, self.pull_back.to(maps).expand(len(maps), 3, 3))

    def done(
        self, maps: Float[Tensor, "batch channel height width"]
    ) -> Float[Tensor, "batch channel height width"]:
        """Move content of maps as that of the images was moved.

        Args:
            maps: Images or maps.

        Returns:
            The same, moved.
        """
        return resample(maps, self.pull_back.inverse().to(maps).expand(len(maps), 3, 3))

    def boxes(self, count: int, side: float) -> Float[Tensor, "box 5"]:
        """List boxes in the middle that were moved with the content.

        Args:
            count: How many.
            side: Of each before it was moved, in pixels.

        Returns:
            As `RotatedRoIAlign` takes them.
        """
        x, y = (self.matrix[:2, 2] + CANVAS / 2).tolist()
        side *= math.sqrt(float(motions.determinants(self.matrix[None])))
        return torch.tensor([[x, y, side, side, self.degrees]]).expand(count, 5)


STILL = Pose()


class Acting(nn.Module, ABC):
    """A method on a network.

    Attributes:
        head: From what is handed on to logits.
    """

    head: nn.Module

    def encode(self, images: Tensor) -> Tensor:
        """Make what the method moves.

        Args:
            images: Images.

        Returns:
            By default the images.
        """
        return images

    @abstractmethod
    def act(self, encoded: Tensor, pose: Pose | None) -> Tensor:
        """Move, and go on to what is handed on.

        Args:
            encoded: What `encode` returned.
            pose: What is to be undone; None for what the method finds, or does, by itself.

        Returns:
            Maps or vectors.
        """

    def placed(self, encoded: Tensor, pose: Pose) -> Tensor:
        """Do of `act` what moves places, and leave out what changes channels.

        Args:
            encoded: What `encode` returned.
            pose: What is to be undone.

        Returns:
            By default all that `act` returns.
        """
        return self.act(encoded, pose)

    def predicted(self, images: Tensor) -> Float[Tensor, " batch"] | None:
        """Tell the pose that is found.

        Args:
            images: Images.

        Returns:
            Degrees, or octaves; None where none is looked for.
        """
        del images
        return None

    def prior(self, upright: Tensor) -> Float[Tensor, ""]:
        """Say what is added to the loss.

        Args:
            upright: Images that were not moved.

        Returns:
            By default nothing.
        """
        return upright.new_zeros(())

    def forward(self, images: Tensor) -> Float[Tensor, "batch class"]:
        """Classify.

        Args:
            images: Images.

        Returns:
            Logits.
        """
        logits: Tensor = self.head(self.act(self.encode(images), None))
        return logits


def linear_head(acting: Acting) -> nn.Sequential:
    """Build a linear classifier of what is handed on.

    Args:
        acting: All of it but its head.

    Returns:
        The head.
    """
    with torch.no_grad():
        handed_on = acting.act(acting.encode(torch.zeros(1, 1, CANVAS, CANVAS)), None)
    return nn.Sequential(nn.Flatten(), nn.Linear(handed_on[0].numel(), CLASSES))


Layer = Callable[[int, int, int], nn.Module]
"""From a layer's number (from 1), input and output channels to a convolution that keeps sizes."""


def trunk(layer: Layer, width: float) -> nn.Sequential:
    """Build the layers of ``mnist-five`` of any convolutions.

    Args:
        layer: Builds one.
        width: Factor of the numbers of filters.

    Returns:
        From images to maps of stride 4; each part is a layer.
    """
    layers, before = [], 1
    for number, channels in enumerate(_PLAN.channels, 1):
        filters = scaled(channels, width)
        pool: list[nn.Module] = [nn.MaxPool2d(2)] if number in _PLAN.pooled else []
        layers.append(nn.Sequential(layer(number, before, filters), *pool, nn.ReLU()))
        before = filters
    return nn.Sequential(*layers)


def plain(_: int, before: int, filters: int) -> nn.Module:
    """Build an ordinary convolution."""
    return _going_on(_steady(ImageConvolution(before, filters, 3)))


def pointwise(_: int, before: int, filters: int) -> nn.Module:
    """Build one that looks at one cell, so that its maps move like the image (P6)."""
    return _steady(nn.Conv2d(before, filters, 1))


def deformable(number: int, before: int, filters: int) -> nn.Module:
    """Build one whose taps move, in the last three layers: Dai et al. (2017), section 4."""
    if number <= len(_PLAN.channels) - 3:
        return plain(number, before, filters)
    layer = DeformableConv2d(before, filters, 3)
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    nn.init.zeros_(layer.bias)
    return _going_on(layer)


def over_c4(number: int, before: int, filters: int) -> nn.Module:
    """Build one over C4: of as many channels, each field in four orientations."""
    fields, fields_before = (max(1, channels // C4.order) for channels in (filters, before))
    drawn = torch.default_generator
    if number == 1:
        return _going_on(LiftingConv2d(C4, before, fields, kernel_size=3, generator=drawn))
    return _going_on(GroupConv2d(C4, fields_before, fields, kernel_size=3, generator=drawn))


def _steady(conv: nn.Module) -> nn.Module:
    """A convolution with the first weights of the group's layers, in which few trainings die."""
    steady_weights(conv)
    return conv


def _going_on(conv: nn.Module) -> nn.Sequential:
    """A convolution whose maps go on beyond their borders as they end there, in black."""
    # zeros around them would tell how far the border is, and shifts would not be the theory's
    return nn.Sequential(nn.ReplicationPad2d(1), conv)


def read_boxes(pool: RotatedRoIAlign, maps: Tensor, pose: Pose, side: float) -> Tensor:
    """Read from each map the box in the middle that was moved with the content.

    Args:
        pool: How.
        maps: Images or maps.
        pose: How the content was moved.
        side: Of the box before, in pixels.

    Returns:
        What is in the boxes, upright.
    """
    index: Int[Tensor, " box"] = torch.arange(len(maps))
    read: Tensor = pool(maps, pose.boxes(len(maps), side), index)
    return read
