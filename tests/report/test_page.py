"""Run folders of probes and trainings make one page."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch

import invariance_probe as ip
from invariance_probe import report
from invariance_probe.errors import InvalidInputError
from invariance_probe.plane.transforms import Rotation, Scaling
from invariance_probe.report import html
from invariance_probe.training.runs import TrainResult
from tests.report.parsed import Reader, complaints
from tests.results.planted import EXPLAINED, planted


def training(folder: Path, variant: str, seed: int, error: float, **other: object) -> None:
    """A finished training's folder with planted numbers."""
    config = {"data": "mnist", "perturbation": "rotation", "variant": variant, "seed": seed}
    config |= {"network": "auto", "alignment": "predicted", "width": 0.5, "steps": 10, "batch": 64}
    config |= other
    numbers = {"outcome": "finished", "error": error, "slope_degrees": 0.5, "spread_degrees": 9.0}
    TrainResult(
        config=config,
        numbers={**numbers, "out_of_frame": 0.1, "images_per_second": 9.0, "seconds": error},
        curve=pd.DataFrame({"step": [1]}),
        images=pd.DataFrame({"image": [0]}),
        provenance={},
    ).save(folder / f"{variant}-{seed}-{other.get('width', 0.5)}")


@pytest.fixture(scope="module")
def probe_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A probe of three images with its explanation, as a run folder."""
    result = planted(EXPLAINED, moves=[Rotation(90), Scaling(0.7)])
    return result.save(tmp_path_factory.mktemp("probe") / "run")


def test_a_probe_and_trainings_make_a_page(probe_folder: Path, tmp_path: Path) -> None:
    """Both stand on one page under 8 MB, a probe and its copy once."""
    for seed in range(3):
        training(tmp_path / "runs", "c0", seed, 0.02 + 0.001 * seed)
        training(tmp_path / "runs", "c1", seed, 0.05 + 0.001 * seed)
        training(tmp_path / "runs", "c1", seed, 0.9, width=1.0)
    shutil.copytree(probe_folder, tmp_path / "copy")
    out = tmp_path / "new" / "page.html"
    found = report.find([probe_folder, tmp_path], report.SIGNS)
    assert report.write(report.page(found), out) == out
    text = out.read_text(encoding="utf-8")
    assert complaints(text) == []
    assert out.stat().st_size < html.LARGEST_PAGE
    words = Reader(text).words
    said = [w for w in words if w.startswith("On mnist under rotation")]
    assert said == [
        "On mnist under rotation, c0 has the lowest error: 2.10 % [1.85, 2.35] over 3 seeds; "
        "c1 5.10 % [4.85, 5.35]. Its interval overlaps no other."
    ]
    assert sum("probe, 3 images" in w for w in words) == 3  # first screen, contents, heading
    alts = [a["aria-label"] for tag, a in Reader(text).tags if tag == "svg"]
    assert any("oracle" in alt and "floor" in alt for alt in alts)
    assert any("c1 under rotation 5.10 %" in alt for alt in alts)


def test_a_condensed_probe_is_enough(probe_folder: Path, tmp_path: Path) -> None:
    """Summary, configuration and a figure beside them make a section; the table is not needed."""
    for name in ("config.json", "summary.csv"):
        shutil.copy(probe_folder / name, tmp_path)
    shutil.copy(probe_folder / "figures" / "depth.png", tmp_path)
    made = report.page(report.find([tmp_path], report.SIGNS))
    assert [len(section.figures) for section in made.sections] == [1]
    assert made.sections[0].meaning
    both = report.page(report.find([tmp_path, probe_folder], report.SIGNS))
    assert [len(section.figures) > 1 for section in both.sections] == [True]


def test_bad_folders_are_refused(tmp_path: Path) -> None:
    """A broken probe and a broken training are named, each in one line, with the way out."""
    broken = tmp_path / "broken"
    broken.mkdir()
    about = {"moves": [], "methods": [], "model": "m"}
    (broken / "config.json").write_text(json.dumps(about), encoding="utf-8")
    (broken / "summary.csv").write_text("a\n1\n", encoding="utf-8")
    (tmp_path / "halted").mkdir()
    (tmp_path / "halted" / "result.json").write_text("{", encoding="utf-8")
    for folder, expected in (
        (broken, r"config\.json' is damaged: it is not the configuration of a probe"),
        (tmp_path / "halted", r"result\.json' is damaged or missing \(Expecting"),
    ):
        with pytest.raises(InvalidInputError, match=expected) as caught:
            report.page(report.find([folder], report.SIGNS))
        assert "\n" not in str(caught.value)


def test_a_run_that_compares_nothing_is_refused(tmp_path: Path) -> None:
    """Identities alone give a saved run without a row, which is not damaged, and no page."""
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3))
    run = ip.probe(network, torch.rand(2, 3, 24, 24), layers="0", transforms=Rotation(0))
    run.save(tmp_path / "run")
    with pytest.raises(InvalidInputError, match="compares nothing"):
        report.page(report.find([tmp_path / "run"], report.SIGNS))


def test_maps_put_back_are_reported_with_advice(tmp_path: Path) -> None:
    """A run of `recover` has its figures, tables of answers, and says where to warp."""
    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(676, 5)
    )
    images = torch.rand(6, 3, 15, 15, generator=torch.Generator().manual_seed(1))
    ip.recover(
        network, images, layers=["0"], transforms=[Rotation(90)], out=tmp_path / "run", name="net"
    )
    (section,) = report.page(report.find([tmp_path], report.SIGNS)).sections
    assert section.kind == "maps put back, 6 images"
    assert len(section.meaning) == 1
    assert section.meaning[0].startswith("Under rotation, ")
    titles = [grid.title for grid in section.grids]
    assert titles[0].startswith("rotation: share of images with the upright image's answer")
    assert any("in nats" in title for title in titles)
    assert [figure.caption[:9] for figure in section.figures] == ["What the "] * 2
    out = report.write(report.page(report.find([tmp_path], report.SIGNS)), tmp_path / "page.html")
    assert complaints(out.read_text(encoding="utf-8")) == []
    probed = planted(EXPLAINED).save(tmp_path / "probe")
    shutil.move(tmp_path / "run", probed / "recovery")
    found = report.find([probed], report.SIGNS)  # as the demo leaves them
    assert [one.kind for one in report.page(found).sections] == [
        "probe, 3 images",
        "maps put back, 6 images",
    ]
