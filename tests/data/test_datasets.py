"""Data sets by name: how many training images, of which side."""

import pytest
import torch

import invariance_probe as ip
from invariance_probe.data import datasets


def test_fewer_training_images_are_the_first_of_a_fixed_shuffle() -> None:
    """train=N keeps N images, a larger N keeps them too, and the other splits stay."""
    whole = datasets.open_dataset("mnist-5k")
    some = datasets.open_dataset("mnist-5k", train=30)
    more = datasets.open_dataset("mnist-5k", train=200)
    assert torch.equal(some.train.images, more.train.images[:30])
    assert torch.equal(some.train.labels, more.train.labels[:30])
    assert len(set(more.train.labels.flatten().tolist())) == 10
    assert torch.equal(some.test.images, whole.test.images)
    assert len(datasets.open_dataset("mnist-5k", train=4000).train) == 4000
    with pytest.raises(ip.InvalidInputError, match=r"4001 .* asked for, but there are only 4000"):
        datasets.open_dataset("mnist-5k", train=4001)
    with pytest.raises(ip.InvalidInputError, match="train=0; give at least 1"):
        datasets.open_dataset("mnist-5k", train=0)
