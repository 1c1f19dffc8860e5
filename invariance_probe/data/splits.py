"""Images with labels, and how they are split."""

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
