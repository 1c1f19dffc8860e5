"""Noise with labels, to train on where what is learnt does not matter."""

import torch

from invariance_probe.data.datasets import Dataset, Parts, Source, Split


def noise_dataset(counts: tuple[int, int, int], side: int, classes: int, seed: int) -> Dataset:
    """Draw a data set.

    Args:
        counts: Images for training, validation and test.
        side: Of the images, in pixels.
        classes: Number of classes.
        seed: Of images and labels.

    Returns:
        Grey images, each pixel and label uniform.
    """
    generator = torch.Generator().manual_seed(seed)
    shape = (1, side, side)
    train, validation, test = (
        Split(
            images=torch.randint(0, 256, (n, *shape), generator=generator, dtype=torch.uint8),
            labels=torch.randint(0, classes, (n, 1), generator=generator),
        )
        for n in counts
    )
    parts = Parts(train=train, validation=validation, test=test)
    noise = Source(
        name="noise",
        files="none",
        read=lambda _: parts,
        classes=classes,
        side=side,
        synthetic=True,
    )
    return Dataset(source=noise, parts=parts)
