"""Pass images through a network one by one, and collect what it moves, and how."""

import math
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from invariance_probe.errors import InvalidInputError
from invariance_probe.network import features
from invariance_probe.network.operations import ActsOn, Kind, Operation, Sampling
from invariance_probe.network.pull_backs import blocks, pull_backs
from invariance_probe.network.watch import Watch
from invariance_probe.plane import motions
from invariance_probe.plane.transforms import Transform
from invariance_probe.probing.passes import Inputs

DRAWN = 3
"""Transforms under which it is kept where an operation reads, to be drawn."""


def titled(move: Transform) -> str:
    """Name a transform.

    Args:
        move: Any.

    Returns:
        Its family and parameter, where it has one.
    """
    return move.kind + ("" if math.isnan(move.parameter) else f" {move.parameter:g}")


@dataclass
class Met:
    """An operation, and what it did in all passes.

    Attributes:
        operation: Which one.
        acts_on: What it read.
        passes: How many passes there were.
        several: Whether its module was called several times in a pass.
        boxes: Whether it returned parts that are no map of the image.
        own: Whether what it returned is a map; else what its module returns is, if not `boxes`.
        read_size: Of what it read, by image and view.
        sizes: Ratios of what it returned to what it read.
        fits: Pull-backs of its parts, by image and view.
        drawn: Where it read in the first image, by view.
        sums: Of what boxes hold, by image: count, sum and sum of squares by channel.
        errors: Squared differences of boxes, by image, view and whether it was warped back.
    """

    operation: Operation
    acts_on: ActsOn
    passes: int = 0
    several: bool = False
    boxes: bool = False
    own: bool = True
    read_size: dict[tuple[int, int], tuple[int, int]] = field(default_factory=dict)
    sizes: set[tuple[float, float]] = field(default_factory=set)
    fits: dict[tuple[int, int], Tensor] = field(default_factory=dict)
    drawn: dict[int, Tensor] = field(default_factory=dict)
    sums: dict[int, tuple[int, Tensor, Tensor]] = field(default_factory=dict)
    errors: dict[tuple[int, int, bool], float] = field(default_factory=dict)

    @property
    def absent(self) -> int:
        """Passes that it did not happen in."""
        return self.passes - len(self.read_size)

    @property
    def steady(self) -> bool:
        """Whether it happened in all passes, with maps of the same size."""
        return not self.absent and len(set(self.read_size.values())) == len(self.sizes) == 1

    @property
    def module(self) -> str:
        """Name of the module, with the call where there are several."""
        name = self.operation.module or "(model)"
        return f"{name}#{self.operation.call}" if self.several else name

    @property
    def title(self) -> str:
        """What it is called beside its module."""
        place = self.operation.place
        return self.operation.kind + (f"#{place}" if place > 1 else "")

    def add(self, number: int, view: int, sampling: Sampling) -> None:
        """Take in what was done in a pass."""
        height, width = sampling.read_size
        key = number, view
        self.read_size[key] = height, width
        out = sampling.returned.shape[-2:]
        self.sizes.add((out[0] / height, out[1] / width))
        if sampling.positions is None:
            return
        parts = blocks(sampling.positions)
        self.fits[key] = pull_backs(parts, sampling.read_size).cpu()
        shape = sampling.shape or ()
        whole = len(shape) == 4 and shape[0] == 1 and tuple(shape[2:]) == tuple(parts.shape[1:3])
        self.own &= sampling.times == 1 and len(parts) == 1
        self.boxes |= self.operation.kind.of_regions or len(sampling.positions) > 1
        self.boxes |= not self.own and not whole
        if number == 0 and view <= DRAWN:
            # taps are drawn as their mean
            self.drawn[view] = (parts if self.boxes else parts.mean(0, keepdim=True)).cpu()

    def motions(self, number: int, view: int) -> Tensor:
        """How an image's content is moved, part by part, in centred cells of what is read."""
        return motions.performed_moves(self.fits[number, view], *self.read_size[number, view])

    def compare(self, number: int, view: int, upright: Tensor, other: Tensor, back: bool) -> None:
        """Take in what boxes hold for an image and its transformed version."""
        if upright.shape == other.shape:
            error = (other.double() - upright.double()).square().sum()
            self.errors[number, view, back] = float(error)

    def hold(self, number: int, upright: Tensor) -> None:
        """Take in what boxes hold for an image as it is."""
        values = upright.double().movedim(1, 0).flatten(1).cpu()
        self.sums[number] = values.shape[1], values.sum(1), values.square().sum(1)

    def left_in_boxes(self, view: int, back: bool) -> Float[np.ndarray, " image"]:
        """Fractions of variance unexplained of what boxes hold; NaN where they do not match."""
        count = sum(each[0] for each in self.sums.values())
        mean = torch.stack([each[1] for each in self.sums.values()]).sum(0) / max(count, 1)
        values = []
        for number, (cells, total, squares) in self.sums.items():
            variance = float((squares - 2 * mean * total + cells * mean.square()).sum())
            error = self.errors.get((number, view, back), math.nan)
            values.append(error / variance if variance > 0 else math.nan)
        return np.array(values)


class Looking:
    """Looks at a network while images pass, and collects what it moves."""

    def __init__(self, network: nn.Module, inputs: Inputs) -> None:
        self._watch, self._inputs = Watch(network), inputs
        self._passes = 0
        self._met: dict[Operation, Met] = {}
        self.pictures: dict[str, Float[np.ndarray, "_ _ _"]] = {}

    @property
    def notes(self) -> dict[str, str]:
        """What was out of sight, by module."""
        return self._watch.notes

    def look(self, number: int) -> None:
        """Pass an image as it is and under each transform."""
        views = self._inputs.inputs([number])
        self._passes += len(views)
        if number == 0:
            self._keep(views[:, 0])
        upright = self._pass(views[0])
        boxes = set[Operation]()
        for view in range(len(views)):
            seen = upright if view == 0 else self._pass(views[view])
            for operation, sampling in seen.items():
                met = self._met.setdefault(operation, Met(operation, sampling.acts_on))
                met.add(number, view, sampling)
                if met.boxes and operation in upright:
                    boxes.add(operation)
                    met.compare(number, view, upright[operation].returned, sampling.returned, False)
        if not boxes:
            return
        for operation in boxes:
            self._met[operation].hold(number, upright[operation].returned)
        returned = self._inputs.returned(views[1:], range(len(views) - 1))
        for view, images in enumerate(returned, start=1):
            seen = self._pass(images)
            for operation in boxes & seen.keys():
                met, held = self._met[operation], upright[operation].returned
                met.compare(number, view, held, seen[operation].returned, True)

    def batches(self) -> bool:
        """Say whether images may pass together.

        Returns:
            Whether two at once are read at once as well, and not one after the other.
        """
        view = self._inputs.inputs([0])[0]
        alone = self._pass(view)
        try:
            both = self._pass(torch.cat([view, view]))
        except InvalidInputError:  # a network for one image at a time
            return False
        return {key: 2 * each.count for key, each in alone.items()} == {
            key: each.count for key, each in both.items()
        }

    def _pass(self, images: Tensor) -> dict[Operation, Sampling]:
        with features.forwarding(images):
            self._watch.run(images)
        return self._watch.samplings

    def _keep(self, views: Tensor) -> None:
        """Keep pictures of the first image."""
        inputs = self._inputs
        pixels = (views * inputs.std + inputs.mean).clamp(0, 1)[: 1 + DRAWN]
        titles = ["as it is", *map(titled, inputs.moves)]
        self.pictures = {
            title: each.movedim(0, -1).float().cpu().numpy()
            for title, each in zip(titles, pixels, strict=False)
        }

    def moving(self) -> list[Met]:
        """List what moves anything: a fixed change of size aligns nothing.

        Returns:
            The operations, in the order in which they were met.
        """
        often = {each.operation.module for each in self._met.values() if each.operation.call > 1}
        moving = []
        for met in self._met.values():
            met.several, met.passes = met.operation.module in often, self._passes
            if met.operation.kind is not Kind.INTERPOLATE or len(met.sizes) > 1:
                moving.append(met)
        return moving
