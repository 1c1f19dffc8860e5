"""`invariance-probe train`, as a stranger meets it."""

import json
import re
from pathlib import Path

import pytest

from invariance_probe import cli
from invariance_probe.data.datasets import Dataset
from invariance_probe.training import command, runs
from tests.training import tiny


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, and bars for the data of any name."""

    def opened(name: str, root: Path | None, *, download: bool, train: int | None) -> Dataset:
        return tiny.dataset(train=min(train or 200, 200))

    monkeypatch.setattr(command, "open_dataset", opened)
    monkeypatch.chdir(tmp_path)
    return tmp_path


TRAIN = ["train", "--preset", "tiny", "--steps", "4", "--device", "cpu"]


def test_it_trains_and_prints_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    """The table has a line for each variant, with seeds, error, interval, slope and spread."""
    cli.main([*TRAIN, "--variant", "cnn", "sl1", "--seeds", "2"])
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
    cli.main([*TRAIN, "--variant", "c0"])
    before = Path("runs/train-tiny/mnist-5k-rotation-c0-seed0/result.json").stat().st_mtime_ns
    capsys.readouterr()
    cli.main([*TRAIN, "--variant", "c0", "--seeds", "2"])
    out = capsys.readouterr().out
    assert "seed0: error" in out
    assert out.count("finished before") == 1
    after = Path("runs/train-tiny/mnist-5k-rotation-c0-seed0/result.json").stat().st_mtime_ns
    assert after == before


def test_the_matrix_is_the_presets(capsys: pytest.CaptureFixture[str]) -> None:
    """--matrix trains all variants of the preset, seeds outermost; JSON is one document."""
    cli.main([*TRAIN, "--matrix", "--seeds", "1", "--json"])
    answer = json.loads(capsys.readouterr().out)
    assert [row["variant"] for row in answer["table"]] == ["cnn", "c0", "c1", "sl1"]
    configs = command.TrainCommand(preset="quick", matrix=True).configs()
    assert len(configs) == 75
    assert [c.seed for c in configs[:16]] == [0] * 15 + [1]
    # larger canvases come with smaller networks
    assert {(c.perturbation, c.width) for c in configs} == {
        ("rotation", 0.5),
        ("translation", 0.25),
        ("scaling=-1:1", 0.25),
    }


def test_options_reach_the_run() -> None:
    """What is chosen on the command line is what the run is configured with."""
    chosen = command.TrainCommand(
        data=("mnist",),
        variant=("SL1x2",),
        width=0.25,
        rate=0.5,
        optimizer="sgd",
        parametrisation="rotation",
        padding="zeros",
        compiled=True,
        train_images=77,
    ).configs()
    (config,) = chosen
    assert (config.data, config.variant, config.width, config.rate) == ("mnist", "sl1x2", 0.25, 0.5)
    assert (config.optimizer, config.parametrisation) == ("sgd", "rotation")
    assert (config.padding, config.compiled, config.train_images) == ("zeros", True, 77)


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
        (["--out", "taken"], "is a file; give a folder"),
        (["--optimizer", "adam"], "invalid choice|Parsing"),
    ],
)
def test_bad_usage_is_one_line_and_exit_2(
    workplace: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    """Every mistake is named on stderr, exits with 2 and leaves nothing behind."""
    (workplace / "taken").write_text("x", encoding="utf-8")
    with pytest.raises(SystemExit) as caught:
        cli.main([*TRAIN, *words])
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
        cli.main(TRAIN)
    assert caught.value.code == 130
    assert "the same command goes on" in capsys.readouterr().err


def test_help_suffices(capsys: pytest.CaptureFixture[str]) -> None:
    """`train --help` names each option, the data sets, perturbations, variants and presets."""
    with pytest.raises(SystemExit) as caught:
        cli.main(["train", "--help"])
    assert caught.value.code == 0
    text = re.sub(r"\s+", " ", re.sub(r"[│╭╮╰╯─]", " ", capsys.readouterr().out))
    for word in ("mnist-5k", "street-digits", "translation=clean", "slX", "c0x2", "150 000 steps"):
        assert word in text, word
    options = set(re.findall(r"--([a-z-]+)", text))
    wanted = "data data-root download perturbation variant matrix preset seeds steps width out json"
    assert set(wanted.split()) <= options
