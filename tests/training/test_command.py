"""`invariance-probe train`, as a stranger meets it."""

import json
import re
from dataclasses import fields
from pathlib import Path

import pytest
import torch

from invariance_probe.commands import run_command
from invariance_probe.data import catalogue
from invariance_probe.data.datasets import Dataset, Parts, Source, Split, open_dataset
from invariance_probe.data.sources import Request
from invariance_probe.files import read_tensors
from invariance_probe.perturbations.parsing import parse_perturbation
from invariance_probe.stn.networks import ARCHITECTURES
from invariance_probe.training import command, presets, runs
from invariance_probe.training.configuration import Execution, TrainOptions
from tests.training import tiny


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, and bars for the data of any name."""

    def opened(name: str, root: Path | None, *, download: bool, train: int | None) -> Dataset:
        return tiny.dataset(train=min(train or 200, 200))

    monkeypatch.setattr(command, "open_dataset", opened)
    monkeypatch.chdir(tmp_path)
    return tmp_path


SHORT = ("--preset", "tiny", "--steps", "4", "--device", "cpu")


def train(*words: str) -> None:
    """Run the command as the command line does."""
    run_command(command.TrainCommand, program="it", description="Train.", arguments=words)


def test_it_trains_and_prints_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    """The table has a line for each variant, with seeds, error, interval, slope and spread."""
    train(*SHORT, "--variant", "cnn", "sl1", "--seeds", "2")
    out, err = capsys.readouterr()
    assert re.search(r"\[4/4\] mnist-5k-rotation-sl1-seed1: error \d+\.\d\d %, slope", out)
    assert re.search(r"seeds\s+error %\s+interval\s+slope\s+spread", out)
    assert "synthetic images" in out
    assert "Run folders: runs/train-tiny" in out
    assert err == ""
    frame = runs.read_runs("runs/train-tiny")
    assert len(frame) == 4
    assert max(len(line) for line in out.splitlines() if line[:1] != "[") <= 80


def test_finished_runs_are_skipped(capsys: pytest.CaptureFixture[str]) -> None:
    """The same command again trains nothing, and a longer one only what is new."""
    train(*SHORT, "--variant", "c0")
    before = Path("runs/train-tiny/mnist-5k-rotation-c0-seed0/result.json").stat().st_mtime_ns
    capsys.readouterr()
    train(*SHORT, "--variant", "c0", "--seeds", "2")
    out = capsys.readouterr().out
    assert "seed0: error" in out
    assert out.count("finished before") == 1
    after = Path("runs/train-tiny/mnist-5k-rotation-c0-seed0/result.json").stat().st_mtime_ns
    assert after == before


def test_the_matrix_is_the_presets(capsys: pytest.CaptureFixture[str]) -> None:
    """--matrix trains all variants of the preset, seeds outermost; JSON is one document."""
    train(*SHORT, "--matrix", "--seeds", "1", "--json")
    answer = json.loads(capsys.readouterr().out)
    assert [row["variant"] for row in answer["table"]] == ["cnn", "c0", "c1", "sl1"]
    configs = command.TrainCommand(preset="quick", matrix=True).configs()
    assert len(configs) == 75
    assert [c.seed for c in configs[:16]] == [0] * 15 + [1]
    # larger canvases come with smaller networks
    assert {(str(c.perturbation), c.width) for c in configs} == {
        ("rotation", 0.5),
        ("translation", 0.25),
        ("scaling=-1:1", 0.25),
    }


def test_options_reach_the_run() -> None:
    """What is chosen on the command line is what the run is configured with."""
    chosen = command.TrainCommand(
        data=("mnist",),
        variant=("SL1x2",),
        training=presets.Choices(
            width=0.25,
            rate=0.5,
            optimizer="sgd",
            parametrisation="rotation",
            padding="zeros",
            compiled=True,
            train_images=77,
        ),
    ).configs()
    (config,) = chosen
    assert (config.data, config.variant.name, config.width, config.rate) == (
        "mnist",
        "sl1x2",
        0.25,
        0.5,
    )
    assert (config.optimizer, config.parametrisation) == ("sgd", "rotation")
    assert (config.padding, config.compiled, config.train_images) == ("zeros", True, 77)


def test_every_option_of_a_run_is_a_flag(capsys: pytest.CaptureFixture[str]) -> None:
    """No option is forgotten, and one that is given its default value beats the preset's."""
    with pytest.raises(SystemExit):
        train("--help")
    text = capsys.readouterr().out
    for option in (*fields(TrainOptions), *fields(Execution)):
        flag = {"compiled": "compile"}.get(option.name, option.name.replace("_", "-"))
        assert f"--{flag}" in text, flag
    usual = TrainOptions()
    for name in ("steps", "width", "weight_decay", "evaluate_every", "localizer_rate"):
        choice = {name: getattr(usual, name)}
        chosen = command.TrainCommand(preset="quick", training=presets.Choices(**choice))
        kept = command.TrainCommand(preset="quick").configs()[0]
        (config,) = chosen.configs()
        assert getattr(config, name) == getattr(usual, name)
        if name in presets.PRESETS["quick"].options:
            assert getattr(kept, name) != getattr(usual, name)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--variant", "c9"], "variant 'c9' is deeper than the network 'mnist', which has 2"),
        (["--variant", "stn"], "variant 'stn' is unknown; write cnn, c0"),
        (["--perturbation", "spin"], "perturbation 'spin' cannot be read"),
        (["--seeds", "0"], "seeds=0: give at least 1"),
        (["--processes", "0"], "processes=0: give at least 1"),
        (["--steps", "0"], "steps=0: give at least 1"),
        (["--width", "-1"], "width=-1: give a positive number"),
        (["--device", "tpu"], "device='tpu': choose auto"),
        (["--out", "taken"], "cannot lie in the file 'taken'; give a folder"),
        (["--optimizer", "adam"], "invalid choice|Parsing"),
    ],
)
def test_bad_usage_is_one_line_and_exit_2(
    workplace: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    """Every mistake is named on stderr, exits with 2 and leaves nothing behind."""
    (workplace / "taken").write_text("x", encoding="utf-8")
    with pytest.raises(SystemExit) as caught:
        train(*SHORT, *words)
    assert caught.value.code == 2
    err = capsys.readouterr().err
    assert re.search(message, err)
    assert not (workplace / "runs").exists()
    if "Parsing" not in message:
        assert err.count("\n") == 1


def test_an_interrupt_says_how_to_go_on(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C exits with 130 and says that the same command continues."""

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(command.trainer, "train", interrupt)
    with pytest.raises(SystemExit) as caught:
        train(*SHORT)
    assert caught.value.code == 130
    assert "the same command goes on" in capsys.readouterr().err


def test_help_suffices(capsys: pytest.CaptureFixture[str]) -> None:
    """`train --help` names each option, the data sets, perturbations, variants and presets."""
    with pytest.raises(SystemExit) as caught:
        train("--help")
    assert caught.value.code == 0
    text = re.sub(r"\s+", " ", re.sub(r"[│╭╮╰╯─]", " ", capsys.readouterr().out))
    for word in ("mnist-5k", "street-digits", "translation=clean", "slX", "c0x2", "150 000 steps"):
        assert word in text, word
    options = set(re.findall(r"--([a-z-]+)", text))
    wanted = "data data-root download perturbation variant matrix preset seeds steps width out json"
    assert set(wanted.split()) <= options


def stripes(request: Request) -> Parts:
    """Read nothing: stripes along a row or a column, 16 x 16, in colour."""
    labels = torch.arange(request.train or 90) % 2
    images = torch.zeros(len(labels), 3, 16, 16, dtype=torch.uint8)
    images[labels == 0, :, 4:7] = 200
    images[labels == 1, :, :, 4:7] = 200
    split = Split(images=images, labels=labels[:, None])
    return Parts(train=split, validation=split, test=split, notes=("drawn",))


def test_a_data_set_is_one_record(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One record is all that a new data set needs to be trained on, with its own defaults."""
    record = Source(
        name="stripes",
        files="none",
        read=stripes,
        classes=2,
        channels=3,
        side=16,
        train_images=90,
        network="mnist-deep",
        localizer="conv",
        padding="zeros",
        perturbation="rotation=20",
    )
    monkeypatch.setitem(catalogue.SOURCES, "stripes", record)
    monkeypatch.setattr(command, "open_dataset", open_dataset)
    train(*SHORT, "--data", "stripes", "--width", "0.05")
    assert "data set 'stripes': drawn" in capsys.readouterr().err
    (row,) = runs.read_runs("runs/train-tiny").to_dict("records")
    assert (row["data"], row["perturbation"]) == ("stripes", "rotation=20")
    assert row["test_images"] == 90
    assert row["padding"] == "zeros"
    (folder,) = Path("runs/train-tiny").iterdir()
    weights = read_tensors(folder / runs.MODEL)
    assert "classifier.layers.7.0.weight" in weights
    # the first thing a convolutional localizer does to an image
    assert weights["transformers.0.localizer.0.weight"].shape[1:] == (3, 5, 5)


def test_every_data_set_can_be_trained_on_as_it_is() -> None:
    """Records name networks and perturbations that exist, and no clutter on what is not black."""
    for name, source in catalogue.SOURCES.items():
        (config,) = command.TrainCommand(data=(name,)).configs()
        assert source.name == config.data == name
        assert source.network in ARCHITECTURES
        assert config.perturbation == parse_perturbation(source.perturbation)
        assert source.background == 0 or config.perturbation.pieces == 0
