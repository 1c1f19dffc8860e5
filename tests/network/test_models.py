"""Models by name, and their weights."""

import pickle
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import invariance_probe as ip
from invariance_probe.data.pictures import load_image, photographs
from invariance_probe.network import models

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


def test_the_packaged_model_knows_what_it_sees(lite: models.LoadedModel) -> None:
    """With its pretrained weights EfficientNet-Lite0 calls the photographed cat a cat."""
    chelsea = load_image(photographs(["chelsea"])[0], 224)
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
        loaded = models.load_model(f"{factories}:tiny", tmp_path / name)
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
        ("my_factories:no_module", "a int was returned, not a torch.nn.Module"),
        ("my_factories:broken", "cannot be built: no licence"),
        ("my_factories:poisoned", "weights '0.weight' contain NaN"),
    ],
)
@pytest.mark.usefixtures("factories")
def test_models_that_cannot_be_had(name: str, message: str) -> None:
    """Each refusal names the model and what to do."""
    with pytest.raises(ip.InvalidInputError, match=message):
        models.load_model(name)


def test_missing_libraries_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Timm and torchvision are asked for only when wanted, with the command that installs them."""
    for library in ("timm", "torchvision"):
        monkeypatch.setitem(sys.modules, library, None)
        monkeypatch.setitem(sys.modules, f"{library}.models", None)
        with pytest.raises(ip.InvalidInputError, match=f"pip install {library}"):
            models.load_model(f"{library}:resnet18")


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
        "list.pt": "contains no state dict",
        "none.pt": "does not exist",
    }
    for name, message in cases.items():
        with pytest.raises(ip.InvalidInputError, match=message):
            models.load_model(f"{factories}:tiny", tmp_path / name)


@pytest.mark.parametrize(
    ("dtype", "said"),
    [
        (torch.int64, "integer"),
        (torch.bool, "bool"),
        (torch.complex64, "complex64"),
        (torch.float8_e4m3fn, "float8_e4m3fn"),
    ],
)
def test_weights_of_another_kind_are_refused(
    factories: str, tmp_path: Path, dtype: torch.dtype, said: str
) -> None:
    """Copied into a float32 model in silence they would mean something else."""
    state = models.load_model(f"{factories}:tiny").module.state_dict()
    torch.save({key: value.to(dtype) for key, value in state.items()}, tmp_path / "odd.pt")
    with pytest.raises(ip.InvalidInputError, match=rf"other kind: 0\.bias {said} instead of real"):
        models.load_model(f"{factories}:tiny", tmp_path / "odd.pt")


@pytest.mark.parametrize("form", ["sparse", "meta"])
def test_weights_without_values_in_a_row_are_refused(
    factories: str, tmp_path: Path, form: str
) -> None:
    """Sparse tensors and tensors of the device meta name their key."""
    state = models.load_model(f"{factories}:tiny").module.state_dict()
    bias = state["0.bias"]
    state["0.bias"] = bias.to_sparse() if form == "sparse" else bias.to("meta")
    torch.save(state, tmp_path / "odd.pt")
    with pytest.raises(
        ip.InvalidInputError, match=r"0\.bias sparse, hollow or quantized instead of"
    ):
        models.load_model(f"{factories}:tiny", tmp_path / "odd.pt")


def test_half_precision_is_taken(factories: str, tmp_path: Path) -> None:
    """Real weights of another precision are the same weights."""
    state = models.load_model(f"{factories}:tiny").module.state_dict()
    torch.save({key: value.half() for key, value in state.items()}, tmp_path / "half.pt")
    loaded = models.load_model(f"{factories}:tiny", tmp_path / "half.pt").module.state_dict()
    assert all(torch.equal(loaded[key], value.half().float()) for key, value in state.items())
