"""What the tests of perturbations draw."""

import torch

ALL = ("none", "rotation", "translation", "scaling")


def seeded(seed: int = 0) -> torch.Generator:
    """A generator of its own."""
    return torch.Generator().manual_seed(seed)
