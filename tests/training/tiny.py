"""A data set that is there without files, and runs of seconds on it."""

from typing import Any

import torch

from invariance_probe.data.datasets import Dataset, Parts, Source, Split
from invariance_probe.perturbations.parsing import parse_perturbation
from invariance_probe.stn.variants import parse_variant
from invariance_probe.training.configuration import Execution, TrainConfig

CPU = torch.device("cpu")
ON_CPU = Execution(device="cpu")
SAVED_OFTEN = Execution(device="cpu", checkpoint_steps=1)


def bars(count: int, seed: int) -> Split:
    """Bright bars at the top of 24 x 24 images: wide, narrow or two of them."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 3, (count, 1), generator=generator)
    images = torch.randint(0, 40, (count, 1, 24, 24), generator=generator, dtype=torch.uint8)
    for image, label in zip(images[:, 0], labels[:, 0].tolist(), strict=True):
        if label == 0:
            image[5:10, 4:20] = 220
        elif label == 1:
            image[5:10, 9:15] = 220
        else:
            image[5:10, 4:9] = 220
            image[5:10, 15:20] = 220
    return Split(images=images, labels=labels)


def dataset(train: int = 200) -> Dataset:
    """Bars, split."""
    parts = Parts(train=bars(train, 1), validation=bars(40, 2), test=bars(60, 3))
    source = Source(
        name="bars", files="none", read=lambda _: parts, classes=3, side=24, synthetic=True
    )
    return Dataset(source=source, parts=parts)


def config(**changes: Any) -> TrainConfig:
    """A run of about a second."""
    settings: dict[str, Any] = {
        "data": "bars",
        "perturbation": "rotation=60",
        "variant": "c0",
        "network": "mnist",
        "width": 0.1,
        "steps": 12,
        "batch": 16,
        "evaluate_every": 4,
        "validation_images": 40,
    }
    settings |= changes
    settings["perturbation"] = parse_perturbation(settings["perturbation"])
    settings["variant"] = parse_variant(settings["variant"])
    return TrainConfig(**settings)
