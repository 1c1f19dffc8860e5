"""Layers, probes and reports from the command line, as a stranger meets them."""

import dataclasses
import json
import re
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from invariance_probe import cli
from invariance_probe.probing.options import ProbeOptions

FACTORY = """
import torch
from torch import nn
import invariance_probe as ip

def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1))

def moving():
    localizer = nn.Sequential(nn.AvgPool2d(16), nn.Flatten())
    return nn.Sequential(ip.SpatialTransformer(localizer, 12), nn.Conv2d(3, 4, 3), nn.Flatten())

def digits():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 2, 5), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(288, 10))
"""


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with three images, a model's factory, and nothing else."""
    (tmp_path / "pictures").mkdir()
    rng = np.random.default_rng(0)
    for i in range(3):
        pixels = rng.integers(0, 255, (50, 60, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "pictures" / f"{i}.png")
    (tmp_path / "my_net.py").write_text(FACTORY, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_net", raising=False)
    return tmp_path


PARTS = r"oracle\s+rewarp\s+permute\s+mix\s+left\s+floor\s+proven"
PROBE = ["probe", "--model", "my_net:net", "--images", "pictures", "--layers", "1", "--crop", "32"]


@pytest.mark.usefixtures("workplace")
def test_explain_prints_the_parts_and_draws_them(capsys: pytest.CaptureFixture[str]) -> None:
    """--explain adds a table of parts in 80 columns, two figures, and the parts to the JSON."""
    words = [*PROBE, "--transform", "rotation=90", "--explain"]
    cli.main([*words, "--no-progress", "--out", "run"])
    out, err = capsys.readouterr()
    assert re.search(PARTS, out)
    assert re.search(r"\d+ %", out)
    assert max(map(len, out.splitlines()[:-1])) <= 80
    assert err == ""
    for kind in ("parts", "channels"):
        assert Path(f"run/figures/{kind}.svg").stat().st_size > 2000
    cli.main([*words, "--out", "again", "--json"])
    said = json.loads(capsys.readouterr().out)
    parts = said["decomposition"]
    # three images are too few for the variance's parts, and it is said
    assert {row["share"] for row in said["partition"]} == {None}
    assert all(row["reason"].startswith("3 images") for row in said["partition"])
    assert {row["part"] for row in parts} >= {"floor", "left", "beyond any warp"}
    assert all(row["n_images"] == 3 for row in parts)


@pytest.mark.usefixtures("workplace")
def test_explain_of_one_image_says_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    """One image leaves nothing to score a mixing on: it is said, and no number is made up."""
    for name in ("1.png", "2.png"):
        Path("pictures", name).unlink()
    cli.main([*PROBE, "--transform", "rotation=90", "--explain", "--out", "run"])
    out = capsys.readouterr().out
    assert "two images or more" in out
    assert "nan" not in out


@pytest.mark.usefixtures("workplace")
def test_probe_prints_a_table_and_writes_a_run(capsys: pytest.CaptureFixture[str]) -> None:
    """The table shows all methods with intervals, stderr has the first result."""
    cli.main([
        *PROBE,
        "--transform",
        "rotation=-45:45:45",
        "--transform",
        "scaling=0.7,1.4",
        "--out",
        "run",
    ])
    out, err = capsys.readouterr()
    assert re.search(r"layer\s+identity\s+oracle\s+affine\s+floor\s+unrelated", out)
    assert "rotation -45 to 45" in out
    assert "scaling 0.7 to 1.4" in out
    assert re.search(r"4x32x32\s+\d\.\d\d–\d\.\d\d", out)
    assert "Run folder: run" in out
    assert re.fullmatch(
        r"first: 1, 3 images, all transforms: identity \d\.\d+, oracle 0\.\d+, affine 0\.\d+, .*\n",
        err,
    )
    assert Path("run/results.parquet").is_file()
    assert max(map(len, out.splitlines())) <= 80


@pytest.mark.usefixtures("workplace")
def test_one_image_and_layers_parted_by_commas(capsys: pytest.CaptureFixture[str]) -> None:
    """--images takes a file, --layers a list: names as they stand, then patterns."""
    words = [*PROBE, "--images", "pictures/1.png", "--layers", "0,1", "--transform", "rotation=90"]
    cli.main([*words, "--no-progress", "--out", "run", "--json"])
    summary = json.loads(capsys.readouterr().out)["summary"]
    assert {row["layer"] for row in summary} == {"0", "1"}
    assert {row["n_images"] for row in summary if row["method"] == "affine"} == {1}


@pytest.mark.usefixtures("workplace")
def test_json_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    """With --json, stdout is one JSON document with the summary."""
    cli.main([*PROBE, "--transform", "rotation=20", "--out", "run", "--json"])
    answer = json.loads(capsys.readouterr().out)
    assert answer["out"] == "run"
    assert {row["method"] for row in answer["summary"]} == {
        "identity",
        "oracle",
        "affine",
        "floor",
        "unrelated",
    }


@pytest.mark.usefixtures("workplace")
def test_layers_lists_names_shapes_and_strides(capsys: pytest.CaptureFixture[str]) -> None:
    """The listing shows maps with stride and offset, and why other outputs are none."""
    cli.main(["layers", "--model", "my_net:net", "--crop", "32"])
    out = capsys.readouterr().out
    assert re.search(r"0\s+│ Conv2d\s+│\s+4 │ 32 x 32 │\s+1 │\s+0", out)
    assert "1 x 1" in out
    cli.main(["layers", "--model", "my_net:net", "--crop", "32", "--pattern", "1", "--json"])
    rows = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in rows] == ["1"]


@pytest.mark.usefixtures("workplace")
def test_a_network_of_grey_digits_needs_no_flags(capsys: pytest.CaptureFixture[str]) -> None:
    """Channels are read from it, the size from it or from the images; wrong ones are one line."""
    Path("digits").mkdir()
    for i in range(2):
        pixels = np.random.default_rng(i).integers(0, 255, (28, 28), dtype=np.uint8)
        Image.fromarray(pixels).save(f"digits/{i}.png")
    cli.main(["layers", "--model", "my_net:digits"])
    assert "my_net:digits at 28 x 28 pixels" in capsys.readouterr().out
    net = ["--model", "my_net:digits", "--images", "digits"]
    cli.main(["layers", *net, "--pattern", "0"])
    assert "24 x 24" in capsys.readouterr().out
    cli.main(["probe", *net, "--layers", "0", "--transform", "rotation=90", "--out", "run"])
    config = json.loads(Path("run/config.json").read_text(encoding="utf-8"))
    assert config["canvas"] == [28, 28]
    assert (config["crop"], config["resize"], config["interpolation"]) == (28, 28, "bicubic")
    capsys.readouterr()
    for command in (["layers"], ["probe", "--layers", "0"]):
        with pytest.raises(SystemExit) as caught:
            cli.main([*command, *net, "--channels", "3"])
        assert caught.value.code == 2
        err = capsys.readouterr().err
        assert "its first layer reads 1" in err
        assert "--channels 1 --crop 28" in err
        assert err.count("\n") == 1


@pytest.mark.usefixtures("workplace")
def test_images_are_resized_and_cut_as_is_asked_for() -> None:
    """--resize, --canvas and --interpolation reach the run's configuration."""
    words = ["--transform", "rotation=90", "--resize", "48", "--canvas", "40"]
    cli.main([*PROBE, *words, "--interpolation", "lanczos", "--out", "run"])
    config = json.loads(Path("run/config.json").read_text(encoding="utf-8"))
    assert (config["canvas"], config["resize"]) == ([40, 40], 48)
    assert config["interpolation"] == "lanczos"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--interpolation", "sinc"], "interpolation='sinc': choose from nearest, box"),
        (["--canvas", "64", "--resize", "40"], "resize=40: give at least 64"),
        (["--layers", "conv9"], "unknown layer 'conv9'"),
        (["--layers", "2"], "has no spatial map"),
        (["--transform", "rotation"], "transform 'rotation' is malformed; write KIND=START"),
        (["--transform", "rotation=1:2"], "is malformed"),
        (["--transform", "rotation=5:1:1"], "is empty"),
        (["--transform", "spin=1:2:1"], "unknown transform 'spin'; choose from rotation"),
        (["--transform", "scaling=0"], "must be positive"),
        (["--images", "nowhere"], "'nowhere': not a folder"),
        (["--images", "empty"], "contains no images"),
        (["--images", "broken"], "cut.png' cannot be read"),
        (["--canvas", "16"], "canvas 16 is smaller than the crop 32"),
        (["--device", "cuda:9"], "is not available"),
        (["--model", "my_net:nett"], "did you mean net"),
        (["--weights", "none.pt"], "does not exist"),
        (["--channels", "1"], "refuses an image of shape .1, 32, 32."),
        (["--out", "taken"], "already contains other files"),
        (["--methods", "guess"], "choose from identity"),
        (["--dtype", "float16"], "dtype='float16': choose float32 or float64"),
        (["--batch-size", "0"], "batch_size=0: give at least 1"),
        (["--search.mode", "lanczos"], "mode='lanczos': choose from bilinear, bicubic"),
        (["--margin", "-1"], "margin=-1: give 0 or more cells"),
        (["--transform", "rotation=1", "--nonsense", "3"], "nrecognized"),
    ],
)
def test_bad_usage_is_one_line_and_exit_2(
    workplace: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    """Every mistake is named on stderr, exits with 2 and leaves nothing behind."""
    (workplace / "empty").mkdir()
    (workplace / "broken").mkdir()
    good = (workplace / "pictures" / "0.png").read_bytes()
    (workplace / "broken" / "cut.png").write_bytes(good[:200])
    (workplace / "taken").mkdir()
    (workplace / "taken" / "x").write_text("x", encoding="utf-8")
    base = list(PROBE)
    for option in words[::2]:
        if option in base:
            at = base.index(option)
            del base[at : at + 2]
    out = [] if "--out" in words else ["--out", "run"]
    with pytest.raises(SystemExit) as caught:
        cli.main([*base, *out, *words])
    assert caught.value.code == 2
    err = capsys.readouterr().err
    assert re.search(message, err)
    assert not (workplace / "run").exists()
    if "nrecognized" not in message:
        assert err.count("\n") == 1


@pytest.mark.usefixtures("workplace")
def test_other_models_must_name_layers(capsys: pytest.CaptureFixture[str]) -> None:
    """Without --layers, a model that is not packaged is asked for them."""
    with pytest.raises(SystemExit):
        cli.main(["probe", "--model", "my_net:net"])
    assert "name them with --layers" in capsys.readouterr().err


@pytest.mark.usefixtures("workplace")
def test_skip_bad_goes_on_and_counts(capsys: pytest.CaptureFixture[str]) -> None:
    """--skip-bad measures the rest and says how many it left out."""
    Path("pictures/bad.jpg").write_text("no", encoding="utf-8")
    cli.main([*PROBE, "--transform", "rotation=20", "--out", "run", "--skip-bad"])
    out, err = capsys.readouterr()
    assert "skipped 1 unreadable images: bad.jpg" in err
    assert "unexplained, 3 images" in out


@pytest.mark.usefixtures("workplace")
def test_report_makes_a_page_of_run_folders(capsys: pytest.CaptureFixture[str]) -> None:
    """`report` finds the run below a folder, says where the page is, and names bad folders."""
    cli.main([*PROBE, "--transform", "rotation=20", "--out", "runs/one"])
    capsys.readouterr()
    cli.main(["report", "runs", "--out", "new/page.html"])
    assert capsys.readouterr().out.startswith("Page: new/page.html (")
    assert "Under rotation" in Path("new/page.html").read_text(encoding="utf-8")
    for words, expected in (
        (["none"], "'none' is not a folder; name result folders"),
        (["pictures"], "contains nothing to report"),
        (["runs", "--out", "page.txt"], "is not an HTML file"),
    ):
        with pytest.raises(SystemExit) as caught:
            cli.main(["report", *words])
        assert caught.value.code == 2
        err = capsys.readouterr().err
        assert expected in err
        assert err.count("\n") == 1


@pytest.mark.usefixtures("workplace")
def test_every_option_of_a_probe_is_a_flag(capsys: pytest.CaptureFixture[str]) -> None:
    """The fields of ProbeOptions can be given on the command line, and reach the configuration."""
    with pytest.raises(SystemExit):
        cli.main(["probe", "--help"])
    text = capsys.readouterr().out
    for option in dataclasses.fields(ProbeOptions):
        assert f"--{option.name.replace('_', '-')}" in text
    words = "--methods oracle affine --mean 0.5 --std 0.1 0.2 0.3 --fill 0 --dtype float64"
    words += " --batch-size 2 --seed 7 --no-antialias --margin 0.5 --search.angles 3"
    cli.main([*PROBE, "--transform", "rotation=20", "--out", "run", *words.split()])
    config = json.loads(Path("run/config.json").read_text(encoding="utf-8"))
    assert config["methods"] == ["oracle", "affine"]
    assert (config["mean"], config["std"], config["fill"]) == ([0.5], [0.1, 0.2, 0.3], [0])
    assert (config["crop"], config["dtype"], config["batch_size"]) == (32, "float64", 2)
    assert (config["seed"], config["antialias"], config["margin"]) == (7, False, 0.5)
    assert config["search"]["angles"] == 3


def test_help_shows_every_default(capsys: pytest.CaptureFixture[str]) -> None:
    """`probe --help` names each option with its default."""
    with pytest.raises(SystemExit) as caught:
        cli.main(["probe", "--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    options = set(re.findall(r"--([a-z-]+)", text)) - {"help"}
    wanted = (
        "model weights images layers transform device dtype seed batch-size out json no-progress"
    )
    assert set(wanted.split()) <= options
    assert text.count("(default:") >= 16


@pytest.mark.usefixtures("workplace")
def test_an_audit_says_and_writes_what_moves(capsys: pytest.CaptureFixture[str]) -> None:
    """A sentence an operation, a table and a figure in a new folder; a plain network has none."""
    words = ["--images", "pictures", "--crop", "32", "--transform", "rotation=90", "--no-progress"]
    cli.main(["audit", "--model", "my_net:moving", *words, "--out", "moved"])
    out, err = capsys.readouterr()
    assert "grid_sample in '0' moves the input (stride 1). Of a rotation it undoes 0 %" in out
    assert err == ""
    (row,) = pd.read_csv("moved/frame.csv").to_dict("records")
    assert (row["acts_on"], row["slope"], row["outcome"]) == ("input", 0, "measured")
    assert Path("moved/grids.svg").stat().st_size > 2000
    cli.main(["audit", "--model", "my_net:net", *words, "--out", "plain", "--json"])
    assert json.loads(capsys.readouterr().out)["frame"] == []
