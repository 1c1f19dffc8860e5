"""Weights as people have them, into a module."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import invariance_probe as ip
from invariance_probe import files
from invariance_probe.network.weights import load_weights


class Headed(nn.Module):
    """A convolution, and an auxiliary head that runs where it is there."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 3)
        self.aux_head: nn.Module | None = nn.Conv2d(2, 1, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Convolve, and once more."""
        maps: Tensor = self.conv(images)
        return maps if self.aux_head is None else self.aux_head(maps)


@pytest.mark.parametrize(
    "wrapped",
    ["", "module.", "_orig_mod.", "module.model.", "model.module._orig_mod."],
)
@pytest.mark.parametrize("inside", [None, "state_dict", "model", "model_ema"])
def test_keys_of_wrappers_and_checkpoints_fit(
    tmp_path: Path, wrapped: str, inside: str | None
) -> None:
    """Whatever wrapped a module, and whatever else its file holds, the weights are its own."""
    want, got = nn.Sequential(nn.Conv2d(3, 2, 3)), nn.Sequential(nn.Conv2d(3, 2, 3))
    state: object = {f"{wrapped}{key}": value for key, value in want.state_dict().items()}
    torch.save(state if inside is None else {inside: state, "epoch": 3}, tmp_path / "w.pt")
    load_weights(got, tmp_path / "w.pt")
    assert torch.equal(got[0].weight, want[0].weight)


def test_a_teacher_beside_the_model_is_left_out(tmp_path: Path) -> None:
    """Of two modules in a file the one that most keys belong to is the model."""
    want, got = nn.Sequential(nn.Conv2d(3, 2, 3)), nn.Sequential(nn.Conv2d(3, 2, 3))
    state = {f"model.{key}": value for key, value in want.state_dict().items()}
    files.write_tensors(tmp_path / "w.safetensors", state | {"loss.weight": torch.ones(2)})
    load_weights(got, tmp_path / "w.safetensors")
    assert torch.equal(got[0].weight, want[0].weight)


def test_auxiliary_heads_may_be_missing_on_either_side(tmp_path: Path) -> None:
    """A head without weights is taken off, so that none with random ones is measured."""
    full, bare = Headed(), Headed()
    bare.aux_head = None
    torch.save(full.state_dict(), tmp_path / "full.pt")
    torch.save(bare.state_dict(), tmp_path / "bare.pt")
    load_weights(bare, tmp_path / "full.pt")
    assert torch.equal(bare.conv.weight, full.conv.weight)
    other = Headed()
    load_weights(other, tmp_path / "bare.pt")
    assert other.aux_head is None
    half = {key: value for key, value in full.state_dict().items() if key != "aux_head.bias"}
    torch.save(half, tmp_path / "half.pt")
    with pytest.raises(ip.InvalidInputError, match="missing: aux_head"):
        load_weights(Headed(), tmp_path / "half.pt")


def test_a_folder_of_transformers_holds_its_weights(tmp_path: Path) -> None:
    """model.safetensors is taken; a folder without one is named."""
    want, got = nn.Conv2d(3, 2, 3), nn.Conv2d(3, 2, 3)
    with pytest.raises(ip.InvalidInputError, match=r"neither model.safetensors nor pytorch_model"):
        load_weights(got, tmp_path)
    files.write_tensors(tmp_path / "model.safetensors", want.state_dict())
    load_weights(got, tmp_path)
    assert torch.equal(got.weight, want.weight)


def test_another_network_is_told_by_its_own_keys(tmp_path: Path) -> None:
    """What fits under no wrapper is listed as the file has it."""
    torch.save({"module.conv.weight": torch.ones(1)}, tmp_path / "other.pt")
    with pytest.raises(ip.InvalidInputError, match=r"unexpected: module\.conv\.weight"):
        load_weights(nn.Sequential(nn.Conv2d(3, 2, 3)), tmp_path / "other.pt")
