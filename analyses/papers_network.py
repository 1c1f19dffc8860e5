"""The papers' network for MNIST, in torch's own words."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SIDE, DIGITS = 28, 10
FILTERS, FIRST, SECOND = 64, 9, 7
"""Filters of both layers, and the sides of the first's and the second's."""


class PlainTransformer(nn.Module):
    """A transformer in torch's own words, before the papers' network.

    Args:
        variant: ``cnn``, which has none, or ``c0``.
    """

    def __init__(self, variant: str) -> None:
        super().__init__()
        self.localizer: nn.Module | None = None
        if variant == "c0":
            units = 32
            layers: list[nn.Module] = [nn.Flatten()]
            for before in (SIDE * SIDE, units, units):
                layers += [nn.Linear(before, units), nn.ReLU()]
            last = nn.Linear(units, 6)
            nn.init.zeros_(last.weight)
            last.bias.data = torch.eye(2, 3).flatten()
            self.localizer = nn.Sequential(*layers, last)
        self.classifier = nn.Sequential(
            nn.Conv2d(1, FILTERS, FIRST),
            nn.MaxPool2d(2),
            nn.ReLU(),
            nn.Conv2d(FILTERS, FILTERS, SECOND),
            nn.MaxPool2d(2),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(4 * FILTERS, DIGITS),
        )

    def grid(self, theta: Tensor, images: Tensor) -> Tensor:
        """Say where warps read.

        Args:
            theta: Warps, (sample, 2, 3).
            images: What is read.

        Returns:
            Normalised coordinates.
        """
        return F.affine_grid(theta, list(images.shape), align_corners=False)

    def forward(self, images: Tensor) -> Tensor:
        """Classify, after undoing what is predicted.

        Args:
            images: (sample, 1, 28, 28).

        Returns:
            Logits.
        """
        if self.localizer is not None:
            theta = self.localizer(images).float().view(-1, 2, 3)  # coordinates need the digits
            images = F.grid_sample(
                images, self.grid(theta, images), padding_mode="border", align_corners=False
            )
        logits: Tensor = self.classifier(images)
        return logits
