"""What is trained on at each step, as a function of seed and step alone.

A run that was killed therefore continues with the numbers it would have had: there is no random
state to be stored.
"""

from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from invariance_probe.data.datasets import Dataset, Split
from invariance_probe.perturbations.perturbation import Perturbation
from invariance_probe.statistics import torch_generator
from invariance_probe.training.configuration import TrainConfig

TEST, VALIDATION = 0, 1
"""Seeds of the stored poses of test and validation images, the same for every run."""
_TEST_POSES, _TEST_CLUTTER = 5_100_000, 5_200_000
"""Seeds that no training run draws from, far apart."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Perturbed images with what was done to them.

    Attributes:
        images: Values in [0, 1].
        labels: Class numbers by slot.
        poses: Applied poses, on the CPU.
    """

    images: Float[Tensor, "sample channel canvas canvas"]
    labels: Int64[Tensor, "sample slot"]
    poses: Float[Tensor, "sample pose"]


class TrainingBatches:
    """Batches of freshly perturbed training images.

    Args:
        dataset: What is drawn from.
        config: The run: what is done to the images, its seed, the size of its batches.
        device: Where batches are made and lie.
    """

    def __init__(self, dataset: Dataset, config: TrainConfig, device: torch.device) -> None:
        self.perturbation, self.seed, self.size = config.perturbation, config.seed, config.batch
        self._images = dataset.train.images.to(device)
        self._labels = dataset.train.labels.to(device)
        self._background, self._device = dataset.source.background, device
        # one epoch ends and the next begins within a batch; two are held
        self._order = lru_cache(maxsize=2)(self._shuffled)

    def _shuffled(self, epoch: int) -> Tensor:
        generator = torch_generator(self.seed, "order", epoch)
        return torch.randperm(len(self._images), generator=generator)

    def samples(self, step: int) -> Int64[Tensor, " sample"]:
        """List the images of one batch: every image once, in a new order, before any twice.

        Args:
            step: Number of the batch, from 0.

        Returns:
            Numbers of the images, on the CPU.
        """
        # Batches are cut from an endless row of shuffled epochs, so that a step finds its images
        # without those before it; a batch may end one epoch and begin the next, and goes through
        # several where there are fewer images than it holds.
        count = len(self._images)
        first, last = step * self.size, (step + 1) * self.size
        parts = [
            self._order(epoch)[max(0, first - epoch * count) : min(count, last - epoch * count)]
            for epoch in range(first // count, (last - 1) // count + 1)
        ]
        return torch.cat(parts)

    def batch(self, step: int) -> Batch:
        """Make one batch.

        Args:
            step: Number of the batch, from 0.

        Returns:
            The batch, the same whenever it is made.
        """
        chosen = self.samples(step)
        here = chosen.to(self._device)
        side = self._images.shape[-1]
        # poses stay on the CPU, where the canvas's matrices are made without waiting for a GPU
        poses = self.perturbation.draw(len(chosen), torch_generator(self.seed, "poses", step), side)
        clutter = None
        if self.perturbation.pieces:
            # an image may be cluttered with any training image but itself
            choices = self.perturbation.draw_clutter(
                chosen, len(self._images), side, torch_generator(self.seed, "clutter", step)
            )
            clutter = self.perturbation.clutter_layer(choices, self._images)
        images = self.perturbation.apply(
            self._images[here], poses, clutter=clutter, background=self._background
        )
        return Batch(images=images, labels=self._labels[here], poses=poses)


def stored_poses(
    perturbation: Perturbation, count: int, side: int, which: int
) -> Float[Tensor, "count pose"]:
    """List the poses of test images: the same for every variant, seed of training and machine.

    Args:
        perturbation: What is done to the images.
        count: How many; a shorter list is the beginning of a longer one.
        side: Side of the images, in pixels.
        which: `TEST` or `VALIDATION`.

    Returns:
        A pose for each test image, on the CPU.
    """
    return perturbation.draw(count, torch.Generator().manual_seed(_TEST_POSES + which), side)


def stored_clutter(
    perturbation: Perturbation, count: int, side: int, which: int, *, poses: int = 1
) -> Int64[Tensor, "sample piece choice"] | None:
    """Choose the clutter of test images, cut from each other, as fixedly as their poses.

    Args:
        perturbation: What is done to the images.
        count: How many images there are.
        side: Side of the images, in pixels.
        which: `TEST` or `VALIDATION`.
        poses: How often each image is shown.

    Returns:
        Choices for `Perturbation.clutter_layer`, on the CPU; None for a perturbation without.
    """
    if perturbation.pieces == 0:
        return None
    generator = torch.Generator().manual_seed(_TEST_CLUTTER + which)
    shown = torch.arange(count * poses) % count
    return perturbation.draw_clutter(shown, count, side, generator)


class StoredBatches:
    """A split with its stored poses: the same perturbed images for every variant and seed.

    Attributes:
        images: How many different images there are.
        count: How many are shown, each in as many poses.

    Args:
        split: Which images.
        dataset: Where they are from.
        perturbation: What is done to them.
        which: `TEST` or `VALIDATION`.
        size: Images of a batch.
        device: Where batches are made and lie.
        limit: Only the first so many images; all by default.
        poses: Poses of each image; all images come in their first before any in its second.
    """

    def __init__(
        self,
        split: Split,
        dataset: Dataset,
        perturbation: Perturbation,
        *,
        which: int,
        size: int,
        device: torch.device,
        limit: int | None = None,
        poses: int = 1,
    ) -> None:
        self._split, self._perturbation = split, perturbation
        self._background, self._size, self._device = dataset.source.background, size, device
        self.images = len(split) if limit is None else min(limit, len(split))
        self.count = self.images * poses
        side = split.images.shape[-1]
        self._poses = stored_poses(perturbation, self.count, side, which)
        self._choices = stored_clutter(perturbation, self.images, side, which, poses=poses)

    def __len__(self) -> int:
        """Count the batches."""
        return -(-self.count // self._size)

    def batch(self, number: int) -> Batch:
        """Make one batch.

        Args:
            number: Of the batch, from 0.

        Returns:
            The batch; the last may be smaller.
        """
        rows = torch.arange(number * self._size, min((number + 1) * self._size, self.count))
        poses, shown = self._poses[rows], rows % self.images
        clutter = None
        if self._choices is not None:
            # the choices name images among these
            sources = self._split.images[: self.images]
            clutter = self._perturbation.clutter_layer(self._choices[rows], sources)
        images = self._perturbation.apply(
            self._split.images[shown].to(self._device),
            poses,
            clutter=clutter,
            background=self._background,
        )
        return Batch(images=images, labels=self._split.labels[shown].to(self._device), poses=poses)
