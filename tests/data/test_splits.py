"""Samples are split evenly."""

import torch

from invariance_probe.data import splits


def test_stratified_splits_are_disjoint_and_even() -> None:
    """Every class has its share in every part, nothing is lost, nothing twice."""
    labels = torch.tensor([0] * 100 + [1] * 10 + [2] * 3 + [3] * 2)
    parts = splits.stratified(labels, (0.1, 0.2))
    assert sorted(torch.cat(parts).tolist()) == list(range(115))
    counts = [labels[part].bincount(minlength=4).tolist() for part in parts]
    assert counts == [[70, 7, 1, 2], [10, 1, 1, 0], [20, 2, 1, 0]]
    train, validation, test = splits.stratified(labels, (0.1, 0.0))
    assert len(test) == 0
    assert len(train) + len(validation) == 115
    assert not torch.equal(train, train.sort().values)
