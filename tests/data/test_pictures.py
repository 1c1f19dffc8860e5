"""Images by name: files of any kind on one canvas, and refusals that name the file."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import invariance_probe as ip
from invariance_probe.data.pictures import load_image, open_images, photographs


def _save(folder: Path, name: str, mode: str, size: tuple[int, int] = (40, 30)) -> Path:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    path = folder / name
    Image.fromarray(pixels).convert(mode).save(path)
    return path


def test_any_pillow_format_becomes_a_square_canvas(tmp_path: Path) -> None:
    """Grey, palette, RGBA, 1-bit, CMYK and 16-bit files of any size load as RGB in [0, 1]."""
    for mode, name in (
        ("L", "a.png"),
        ("P", "b.gif"),
        ("RGBA", "c.png"),
        ("1", "d.png"),
        ("CMYK", "e.jpg"),
        ("LA", "f.png"),
        ("RGB", "g.webp"),
    ):
        _save(tmp_path, name, mode, size=(41, 77) if mode == "L" else (33, 20))
    deep = np.linspace(0, 65535, 900).reshape(30, 30).astype(np.uint16)
    Image.fromarray(deep).save(tmp_path / "h.png")
    images, bad = open_images(tmp_path, 24)
    assert bad == []
    assert list(images.names) == list("abcdefgh")
    for i in range(len(images)):
        image = images[i]
        assert image.shape == (3, 24, 24)
        assert 0 <= float(image.min()) <= float(image.max()) <= 1
    assert float(images[7].max() - images[7].min()) > 0.8  # 16 bits are scaled, not cut
    assert load_image(tmp_path / "a.png", 24, channels=1).shape == (1, 24, 24)


def test_exif_orientation_and_transparency_are_honoured(tmp_path: Path) -> None:
    """A photograph taken sideways stands upright, and what is transparent is grey."""
    pixels = np.zeros((20, 20, 3), dtype=np.uint8)
    pixels[:10] = 255
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    Image.fromarray(pixels).save(tmp_path / "x.png", exif=exif)
    image = load_image(tmp_path / "x.png", 20)
    assert image[:, :5].max() == 0
    assert image[:, -5:].min() == 1
    Image.new("RGBA", (20, 20), (255, 0, 0, 0)).save(tmp_path / "t.png")
    assert torch.allclose(load_image(tmp_path / "t.png", 8), torch.tensor(128 / 255))


def test_names_stay_unique_across_folders(tmp_path: Path) -> None:
    """Files of one name in two folders are told apart by the folder."""
    for folder in ("cats", "dogs"):
        (tmp_path / folder).mkdir()
        _save(tmp_path / folder, "1.png", "RGB")
    images, _ = open_images(tmp_path, 8)
    assert list(images.names) == ["cats/1.png", "dogs/1.png"]


def test_bad_images_are_named_or_skipped_and_counted(tmp_path: Path) -> None:
    """A truncated file and a text file in disguise are named; --skip-bad goes on without them."""
    good = _save(tmp_path, "good.png", "RGB")
    (tmp_path / "cut.png").write_bytes(good.read_bytes()[:900])
    (tmp_path / "text.jpg").write_text("not an image", encoding="utf-8")
    images, _ = open_images(tmp_path, 16)
    with pytest.raises(ip.InvalidInputError, match=r"cut.png' cannot be read .*--skip-bad"):
        images[0]
    images, bad = open_images(tmp_path, 16, skip_bad=True)
    assert list(images.names) == ["good"]
    assert bad == ["cut.png", "text.jpg"]
    good.unlink()
    with pytest.raises(ip.InvalidInputError, match="none of the 2 images can be read"):
        open_images(tmp_path, 16, skip_bad=True)


def test_folders_without_images_are_refused(tmp_path: Path) -> None:
    """An empty or missing folder is named."""
    with pytest.raises(ip.InvalidInputError, match="contains no images"):
        open_images(tmp_path, 16)
    with pytest.raises(ip.InvalidInputError, match="not a folder"):
        open_images(tmp_path / "missing", 16)
    with pytest.raises(ip.InvalidInputError, match="no photograph 'nobody'"):
        photographs(["nobody"])
