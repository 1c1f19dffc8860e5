"""Models and images by name."""

import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

import invariance_probe as ip
from invariance_probe import sources

FACTORIES = """
import torch
from torch import nn

def tiny():
    return nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU())

def needs(width):
    return nn.Conv2d(3, width, 3)

def no_module():
    return 3

def broken():
    raise ValueError("no licence")

def poisoned():
    net = tiny()
    nn.init.constant_(net[0].weight, float("nan"))
    return net

CONSTANT = 1
"""


@pytest.fixture
def factories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module of factories that can be imported by name."""
    (tmp_path / "my_factories.py").write_text(FACTORIES, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_factories", raising=False)
    return "my_factories"


def test_the_packaged_model_knows_what_it_sees(lite: sources.LoadedModel) -> None:
    """With its pretrained weights EfficientNet-Lite0 calls the photographed cat a cat."""
    chelsea = sources.load_image(sources.photographs(["chelsea"])[0], 224)
    mean, std = (torch.tensor(v)[:, None, None] for v in (lite.mean, lite.std))
    with torch.no_grad():
        logits = lite.module(((chelsea - mean) / std)[None])
    assert int(logits.argmax()) in {281, 282, 285}  # tabby, tiger cat, Egyptian cat
    assert not lite.module.training
    assert lite.crop == 224


def test_a_factory_with_weights(factories: str, tmp_path: Path) -> None:
    """module:factory builds a model; its weights come from safetensors or a plain state dict."""
    wanted = nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU())
    save_file(wanted.state_dict(), tmp_path / "w.safetensors")
    torch.save(wanted.state_dict(), tmp_path / "w.pt")
    torch.save({"state_dict": wanted.state_dict(), "epoch": 3}, tmp_path / "checkpoint.pt")
    for name in ("w.safetensors", "w.pt", "checkpoint.pt"):
        loaded = sources.load_model(f"{factories}:tiny", tmp_path / name)
        assert torch.equal(loaded.module.state_dict()["0.weight"], wanted[0].weight)


class Evil:
    """Runs code when it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        """Say what to run."""
        return (exec, ("raise SystemExit('code was run')",))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "efficientnet-lite9",
            "unknown model 'efficientnet-lite9'; did you mean efficientnet-lite",
        ),
        ("resnet", "timm:NAME"),
        ("no_such_module:f", "module 'no_such_module' cannot be imported"),
        ("my_factories:tin", "no callable 'tin'; did you mean tiny"),
        ("my_factories:CONSTANT", "no callable 'CONSTANT'"),
        ("my_factories:needs", "needs needs width"),
        ("my_factories:no_module", "a int was returned, no torch.nn.Module"),
        ("my_factories:broken", "cannot be built: no licence"),
        ("my_factories:poisoned", "weights '0.weight' hold NaN"),
    ],
)
@pytest.mark.usefixtures("factories")
def test_models_that_cannot_be_had(name: str, message: str) -> None:
    """Each refusal names the model and what to do."""
    with pytest.raises(ip.InvalidInputError, match=message):
        sources.load_model(name)


def test_missing_libraries_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Timm and torchvision are asked for only when wanted, with the command that installs them."""
    for library in ("timm", "torchvision"):
        monkeypatch.setitem(sys.modules, library, None)
        monkeypatch.setitem(sys.modules, f"{library}.models", None)
        with pytest.raises(ip.InvalidInputError, match=f"pip install {library}"):
            sources.load_model(f"{library}:resnet18")


def test_weights_that_do_not_fit(factories: str, tmp_path: Path) -> None:
    """Missing, unexpected and reshaped keys are listed; damaged and unsafe files are refused."""
    state = nn.Sequential(nn.Conv2d(3, 4, 3)).state_dict()
    state["extra"] = torch.zeros(1)
    del state["0.bias"]
    torch.save(state, tmp_path / "other.pt")
    (tmp_path / "evil.pt").write_bytes(pickle.dumps(Evil()))
    (tmp_path / "cut.safetensors").write_bytes(b"\x10\x00\x00")
    torch.save([1, 2], tmp_path / "list.pt")
    cases = {
        "other.pt": "missing: 0.bias; unexpected: extra; other shape: 0.weight .4, 3, 3, 3. in",
        "evil.pt": "is refused: .*could run code",
        "cut.safetensors": "is damaged",
        "list.pt": "holds no state dict",
        "none.pt": "does not exist",
    }
    for name, message in cases.items():
        with pytest.raises(ip.InvalidInputError, match=message):
            sources.load_model(f"{factories}:tiny", tmp_path / name)


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
    images, bad = sources.open_images(tmp_path, 24)
    assert bad == []
    assert list(images.names) == list("abcdefgh")
    for i in range(len(images)):
        image = images[i]
        assert image.shape == (3, 24, 24)
        assert 0 <= float(image.min()) <= float(image.max()) <= 1
    assert float(images[7].max() - images[7].min()) > 0.8  # 16 bits are scaled, not cut
    assert sources.load_image(tmp_path / "a.png", 24, channels=1).shape == (1, 24, 24)


def test_exif_orientation_and_transparency_are_honoured(tmp_path: Path) -> None:
    """A photograph taken sideways stands upright, and what is transparent is grey."""
    pixels = np.zeros((20, 20, 3), dtype=np.uint8)
    pixels[:10] = 255
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    Image.fromarray(pixels).save(tmp_path / "x.png", exif=exif)
    image = sources.load_image(tmp_path / "x.png", 20)
    assert image[:, :5].max() == 0
    assert image[:, -5:].min() == 1
    Image.new("RGBA", (20, 20), (255, 0, 0, 0)).save(tmp_path / "t.png")
    assert torch.allclose(sources.load_image(tmp_path / "t.png", 8), torch.tensor(128 / 255))


def test_names_stay_unique_across_folders(tmp_path: Path) -> None:
    """Files of one name in two folders are told apart by the folder."""
    for folder in ("cats", "dogs"):
        (tmp_path / folder).mkdir()
        _save(tmp_path / folder, "1.png", "RGB")
    images, _ = sources.open_images(tmp_path, 8)
    assert list(images.names) == ["cats/1.png", "dogs/1.png"]


def test_bad_images_are_named_or_skipped_and_counted(tmp_path: Path) -> None:
    """A truncated file and a text file in disguise are named; --skip-bad goes on without them."""
    good = _save(tmp_path, "good.png", "RGB")
    (tmp_path / "cut.png").write_bytes(good.read_bytes()[:900])
    (tmp_path / "text.jpg").write_text("not an image", encoding="utf-8")
    images, _ = sources.open_images(tmp_path, 16)
    with pytest.raises(ip.InvalidInputError, match=r"cut.png' cannot be read .*--skip-bad"):
        images[0]
    images, bad = sources.open_images(tmp_path, 16, skip_bad=True)
    assert list(images.names) == ["good"]
    assert bad == ["cut.png", "text.jpg"]
    good.unlink()
    with pytest.raises(ip.InvalidInputError, match="none of the 2 images can be read"):
        sources.open_images(tmp_path, 16, skip_bad=True)


def test_folders_without_images_are_refused(tmp_path: Path) -> None:
    """An empty or missing folder is named."""
    with pytest.raises(ip.InvalidInputError, match="holds no image"):
        sources.open_images(tmp_path, 16)
    with pytest.raises(ip.InvalidInputError, match="is no folder"):
        sources.open_images(tmp_path / "missing", 16)
    with pytest.raises(ip.InvalidInputError, match="no photograph 'nobody'"):
        sources.photographs(["nobody"])
