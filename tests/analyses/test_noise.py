"""Noise: as many images as asked, of every class, the same again from the same seed."""

import torch

from analyses.noise import noise_dataset


def test_noise_is_as_asked_and_the_same_again() -> None:
    """Counts, sides and classes are those asked for; another seed draws other images."""
    noise = noise_dataset((40, 30, 20), 8, 3, seed=1)
    parts = noise.parts
    for split, count in zip((parts.train, parts.validation, parts.test), (40, 30, 20), strict=True):
        assert split.images.shape == (count, 1, 8, 8)
        assert split.labels.unique().tolist() == [0, 1, 2]
    assert (noise.source.side, noise.source.classes, noise.source.synthetic) == (8, 3, True)
    again, other = (noise_dataset((40, 30, 20), 8, 3, seed).parts.train for seed in (1, 2))
    assert torch.equal(again.images, parts.train.images)
    assert not torch.equal(other.images, parts.train.images)
