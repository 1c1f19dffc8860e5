"""What a data set is: images and labels in memory, in three fixed parts."""

from dataclasses import dataclass

import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

_HELD_OUT = 5_400_000
"""Seed of the fixed shuffle that says what is held out."""


@dataclass(frozen=True, kw_only=True)
class Split:
    """Images with their labels.

    Attributes:
        images: Bytes.
        labels: Class numbers, a column for each slot.
    """

    images: UInt8[Tensor, "sample channel height width"]
    labels: Int64[Tensor, "sample slot"]

    def __len__(self) -> int:
        """Count the images."""
        return len(self.images)

    def take(self, samples: Int64[Tensor, " kept"]) -> "Split":
        """Keep some of the images.

        Args:
            samples: Their numbers.

        Returns:
            A split of these alone, in that order.
        """
        return Split(images=self.images[samples], labels=self.labels[samples])


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A data set, ready for training.

    Attributes:
        name: The name it was opened by.
        classes: Number of classes of a slot; 11 for numbers, the last of which is "no digit".
        slots: Labels of an image, all of which must be right.
        synthetic: Whether the images were rendered, not taken.
        train: What is learnt from.
        validation: What choices are made by.
        test: What is reported.
        background: Value in [0, 1] around the images, as `Perturbation.apply` takes it; None where
            the border is to be continued.
        notes: What a reader of results should know, such as how many images were left out.
    """

    name: str
    classes: int
    slots: int
    synthetic: bool
    train: Split
    validation: Split
    test: Split
    background: float | None = 0.0
    notes: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """The name for tables and figures, which says so if the images are synthetic."""
        return f"{self.name} (synthetic)" if self.synthetic else self.name

    @property
    def channels(self) -> int:
        """1 for grey, 3 for colour."""
        return self.train.images.shape[1]

    @property
    def side(self) -> int:
        """Side of the images, in pixels."""
        return self.train.images.shape[2]


def stratified(
    labels: Int64[Tensor, " sample"], shares: tuple[float, float], seed: int = _HELD_OUT
) -> tuple[Int64[Tensor, " train"], Int64[Tensor, " validation"], Int64[Tensor, " test"]]:
    """Split samples so that every class has its share in every part.

    Args:
        labels: Class of each sample.
        shares: Shares of validation and test, at least one image of a class each unless the share
            is 0; classes of fewer than three images are for training alone.
        seed: Of the shuffle.

    Returns:
        Numbers of the samples for training, validation and test, shuffled.
    """
    generator = torch.Generator().manual_seed(seed)
    parts: tuple[list[Tensor], ...] = ([], [], [])
    for label in sorted(set(labels.tolist())):
        members = torch.nonzero(labels == label).flatten()
        members = members[torch.randperm(len(members), generator=generator)]
        held = [max(1, round(share * len(members))) if share else 0 for share in shares]
        if len(members) < 3:
            held = [0, 0]
        kept = len(members) - sum(held)
        parts[0].append(members[:kept])
        parts[1].append(members[kept : kept + held[0]])
        parts[2].append(members[kept + held[0] :])
    joined = [torch.cat(part) for part in parts]
    train, validation, test = (
        part[torch.randperm(len(part), generator=generator)] for part in joined
    )
    return train, validation, test
