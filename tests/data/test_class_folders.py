"""Folders of class folders: which images, in which classes, on which ground."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import invariance_probe as ip
from invariance_probe.data import datasets


def _draw(path: Path, size: tuple[int, int], mode: str = "L", value: int = 100) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (value, value, value)).convert(mode).save(path)


def test_plankton_is_padded_with_white_and_resized(tmp_path: Path) -> None:
    """Grey images of any shape become squares with white on the short sides, split by class."""
    for name, value in (("copepod", 40), ("larva", 120)):
        for i in range(10):
            _draw(tmp_path / "train" / name / f"{i}.jpg", (40, 20), value=value)
    (tmp_path / "train" / ".hidden").mkdir()
    dataset = datasets.open_dataset("plankton", tmp_path, side=20)
    assert [len(p) for p in (dataset.train, dataset.validation, dataset.test)] == [16, 2, 2]
    assert dataset.source.background == 1.0
    assert dataset.train.images.shape == (16, 1, 20, 20)
    assert "2 class folders, where PlanktonSet 1.0 has 121" in dataset.parts.notes
    dark = dataset.train.images[dataset.train.labels[:, 0] == 0]
    assert len(dark) == 8
    assert int(dark[:, :, :4].min()) == 255
    assert int((dark[:, :, 7:13].int() - 40).abs().max()) <= 3
    assert datasets.open_dataset("plankton", tmp_path).side == 95


def test_any_folder_of_class_folders(tmp_path: Path) -> None:
    """Classes are the folders in the order of their names; one image in colour makes all RGB."""
    for i in range(10):
        _draw(tmp_path / "b" / f"{i}.png", (30, 50), value=200)
        _draw(tmp_path / "a" / f"{i}.png", (50, 30), value=50)
    (tmp_path / "a" / "notes.txt").write_text("no image", encoding="utf-8")
    (tmp_path / "loose.txt").write_text("no class", encoding="utf-8")
    grey = datasets.open_dataset("folder", tmp_path)
    assert (grey.classes, grey.channels, grey.side, grey.source.background) == (2, 1, 64, None)
    for label, value in ((0, 50), (1, 200)):
        chosen = grey.train.images[grey.train.labels[:, 0] == label]
        assert set(chosen.unique().tolist()) == {value}
    Image.new("RGB", (9, 9), (250, 0, 0)).save(tmp_path / "a" / "red.png")
    Image.new("RGBA", (9, 9), (0, 0, 0, 0)).save(tmp_path / "a" / "clear.png")
    colour = datasets.open_dataset("folder", tmp_path, side=16)
    everything = torch.cat([p.images for p in (colour.train, colour.validation, colour.test)])
    assert everything.shape == (22, 3, 16, 16)
    pixels = set(map(tuple, everything[:, :, 8, 8].tolist()))
    assert pixels == {(50,) * 3, (200,) * 3, (250, 0, 0), (128,) * 3}


def test_folders_that_hold_no_classes_are_refused(tmp_path: Path) -> None:
    """An empty class folder, a single class, a broken image and a missing folder are named."""
    with pytest.raises(ip.InvalidInputError, match=r"'.*gone' is not a folder"):
        datasets.open_dataset("folder", tmp_path / "gone")
    _draw(tmp_path / "a" / "1.png", (9, 9))
    with pytest.raises(ip.InvalidInputError, match="contains 1 folders; at least two are needed"):
        datasets.open_dataset("folder", tmp_path)
    (tmp_path / "b").mkdir()
    with pytest.raises(ip.InvalidInputError, match=r"folder '.*b' contains no images; remove it"):
        datasets.open_dataset("folder", tmp_path)
    (tmp_path / "b" / "cut.png").write_bytes((tmp_path / "a" / "1.png").read_bytes()[:40])
    with pytest.raises(ip.InvalidInputError, match=r"cut.png' cannot be read"):
        datasets.open_dataset("folder", tmp_path)


def test_a_pipe_among_the_images_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    """What is called an image and is a pipe would be read until somebody writes to it."""
    for name in ("a/1.png", "b/1.png"):
        _draw(tmp_path / name, (9, 9))
    os.mkfifo(tmp_path / "b" / "2.png")
    with pytest.raises(ip.InvalidInputError, match=r"2\.png' is no file; remove it"):
        datasets.open_dataset("folder", tmp_path)
    with pytest.raises(ip.InvalidInputError, match=r"2\.png' is no file; remove it"):
        ip.open_images(tmp_path, 8)[0][2]


def test_a_name_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    """Neither tables nor pages could hold it."""
    _draw(tmp_path / "a.png", (9, 9))
    try:
        (tmp_path / "a.png").rename(tmp_path / os.fsdecode(b"\xff.png"))
    except OSError:
        pytest.skip("this file system takes names in UTF-8 alone")
    with pytest.raises(ip.InvalidInputError, match=r"'.*\\udcff\.png': its name is not UTF-8"):
        ip.open_images(tmp_path, 8)


def test_a_picture_of_infinite_values_is_refused(tmp_path: Path) -> None:
    """A float image with one infinite pixel would become black all over."""
    values = np.full((9, 9), 0.5, dtype=np.float32)
    values[4, 4] = np.inf
    Image.fromarray(values).save(tmp_path / "a.tiff")
    with pytest.raises(ip.InvalidInputError, match=r"a\.tiff' contains NaN or infinity; remove"):
        ip.open_images(tmp_path, 8)[0][0]
