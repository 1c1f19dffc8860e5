"""The analyses of the trainer run, and their baseline is the network they compare with."""

import json
from pathlib import Path

import pytest
import torch

from analyses import __main__ as command
from analyses.noise import noise_dataset
from analyses.questions import training_speed
from invariance_probe.perturbations.kinds import RandomRotation
from invariance_probe.stn.variants import parse_variant
from invariance_probe.training import factory
from invariance_probe.training.configuration import TrainConfig


def test_training_speed_is_measured_and_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The tiny preset writes frame, figure and provenance, and prints ratios for each variant."""
    command.main(["run", "training_speed", "--preset", "tiny", "--out", str(tmp_path / "run")])
    out = capsys.readouterr().out
    assert out.count(training_speed.OURS) == 2
    assert "times_faster" in out
    about = json.loads((tmp_path / "run" / "config.json").read_text(encoding="utf-8"))
    assert about["config"]["repeats"] == training_speed.PRESETS["tiny"].repeats
    assert (tmp_path / "run" / "training_speed.svg").is_file()


@pytest.mark.parametrize("variant", ["cnn", "c0"])
def test_the_baseline_is_the_same_network(variant: str) -> None:
    """With our weights, the papers' pipeline's network says what ours says."""
    data = noise_dataset((20, 10, 10), training_speed.SIDE, 10, 0)
    config = TrainConfig(
        data="noise", perturbation=RandomRotation(), variant=parse_variant(variant), network="mnist"
    )
    ours = factory.build_network(config, data)
    theirs = training_speed._PlainTransformer(variant)
    with torch.no_grad():
        pairs = zip(
            [*ours.transformers.parameters(), *ours.classifier.parameters()],
            theirs.parameters(),
            strict=True,
        )
        for mine, yours in pairs:
            shape = yours.shape
            if mine.shape == (6,):  # ours is added to the identity
                mine += 0.1 * torch.randn(6)
                yours.copy_(mine + torch.eye(2, 3).flatten())
                continue
            if mine.shape[0] == 6:
                mine += 0.1 * torch.randn_like(mine)
            yours.copy_(mine.reshape(shape))
        images = torch.rand(5, 1, 28, 28)
        torch.testing.assert_close(ours(images).logits[:, 0], theirs(images), rtol=1e-4, atol=1e-4)


def test_operations_are_counted_as_by_hand() -> None:
    """Two operations a product; the CNN's first layer needs no gradient of its images."""
    config = training_speed.Config(batch=1)
    first, second = 20 * 20 * 64 * 81, 4 * 4 * 64 * 64 * 49
    assert training_speed._operations(config, "cnn") == 2 * (2 * first + 3 * second)
    assert training_speed._operations(config, "c0") == 2 * (3 * first + 3 * second)
