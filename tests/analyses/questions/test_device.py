"""One device against the CPU: what agrees, how fast it is, what is said of it."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch

from analyses.questions import device
from tests.analyses.questions.measured import measured

# whichever comes first measures all parts, for 103 s on a slow core that nothing else is on
measuring = pytest.mark.timeout(600)

TINY = dataclasses.replace(device.PRESETS["tiny"], device="cpu")


@measuring
def test_every_stage_is_compared_and_every_load_timed() -> None:
    """The tiny preset measures all parts, none fails, and rates are positive."""
    frame = measured(device)
    assert not (frame["unit"] == device.FAILED).any(), frame["why"].tolist()
    by_part = frame.groupby("part")["what"].agg(set)
    assert by_part["agreement"] == {
        *("rendering", "forward pass", "search", "reading and scoring", "probe", "recover"),
        *("batch", "two steps"),
    }
    assert by_part["probe"] == {"whole probe", "forward passes"}
    assert {device.OURS, device.ADAM, "memory moved"} <= by_part["search"]
    assert {device.TRAINER, device.ALONE, "2 seeds as one model, bfloat16"} <= by_part["training"]
    assert (frame["value"] > 0)[frame["unit"].str.endswith("/s")].all()
    # seeds learn the same whether alone or as one model
    errors = frame[frame["unit"] == "error"].pivot_table(
        index=["of", "repeat"], columns="what", values="value"
    )
    assert (errors[device.ALONE] == errors["2 seeds as one model"]).all()
    assert len(device.summary(frame)) < len(frame)
    assert len(device.plot(frame).axes) == 4


@measuring
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is another device than the CPU")
def test_a_device_agrees_with_itself() -> None:
    """Where the CPU is all there is, no comparison finds a difference."""
    frame = measured(device)
    apart = frame[frame["unit"] == device.DIFFERENCE]
    assert len(apart) > 10
    assert (apart["value"] == 0).all()


def test_differences_are_parts_of_the_largest_value() -> None:
    """One value of four that is off by a thousandth of the largest: a difference, and a share."""
    rows = device._Rows(TINY)
    cpu = torch.tensor([4.0, -2.0, torch.nan, 1.0])
    device._compare(rows, "same", [cpu, cpu.clone()])
    device._compare(rows, "off", [cpu, cpu + torch.tensor([0.0, 0.004, 0.0, 0.0])])
    device._compare(rows, "undefined", [cpu, cpu.nan_to_num(0.0)])
    found = pd.DataFrame(rows.rows).pivot_table(index="what", columns="unit", values="value")
    assert found.loc["same", device.DIFFERENCE] == 0
    assert found.loc["off", device.DIFFERENCE] == pytest.approx(1e-3, rel=1e-4)
    assert found.loc["off", device.SHARE] == 0.75
    assert np.isinf(pd.DataFrame(rows.rows).query("what == 'undefined'")["value"]).any()


def test_what_fails_says_why_and_the_rest_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """A part that raises leaves a row with the reason, and the parts after it run."""

    def fail(_rows: object) -> None:
        raise RuntimeError("CUDA error: no kernel image\nmore")

    monkeypatch.setattr(device, "_agreement", fail)
    monkeypatch.setattr(device, "_probing", lambda rows: rows.add("probe", "x", 1.0, "images/s"))
    monkeypatch.setattr(device, "_searching", lambda rows, memory: None)
    monkeypatch.setattr(device, "_training", lambda rows, arithmetic: None)
    frame = device.measure(TINY)
    (row,) = frame[frame["unit"] == device.FAILED].to_dict("records")
    assert (row["part"], row["why"]) == ("agreement", "RuntimeError: CUDA error: no kernel image")
    assert (frame["part"] == "probe").sum() == 1
    table = device.summary(frame)
    assert device.headline(table).endswith("1 failed")
    assert "RuntimeError" in table.set_index("part").loc["agreement", "verdict"]


def test_verdicts_say_no_where_they_should() -> None:
    """Planted numbers beyond and within each bar get the words for it."""

    def row(part: str, what: str, value: float, unit: str, repeat: int = 0) -> dict[str, object]:
        place = {"part": part, "of": "a", "what": what, "device": "card", "unit": unit}
        return {**place, "repeat": repeat, "value": value, "why": ""}

    frame = pd.DataFrame([
        row("agreement", "near", 1e-5, device.DIFFERENCE),
        row("agreement", "far", 1e-3, device.DIFFERENCE),
        row("search", device.OURS, 100.0, "pairs/s"),
        row("search", device.OURS, 300.0, "pairs/s", 1),
        row("search", device.ADAM, 4.0, "pairs/s"),
        row("search", "memory moved", 0.7, device.PEAK),
        row("training", device.ALONE, 50.0, device.STEPS),
        row("training", "together", 200.0, device.STEPS),
        row("training", "together", 0.1, device.PEAK),
        row("training", device.ALONE, 0.10, "error"),
        row("training", device.ALONE, 0.20, "error", 1),
        row("training", "together", 0.16, "error"),
        row("training", "together", 0.16, "error", 1),
    ])
    table = device.summary(frame)
    said = table.set_index(["what", "unit"])["verdict"]
    assert said["near", device.DIFFERENCE] == "agrees to 0.0001"
    assert said["far", device.DIFFERENCE] == "differs by more than 0.0001"
    assert said[device.ADAM, "pairs/s"] == "align: 50 times as many"
    assert said["memory moved", device.PEAK] == "near the limit"
    assert said["together", device.PEAK] == "profile it"
    assert said["together", device.STEPS] == "4 times one seed"
    assert said["together", "error"] == "+1.00 points against one seed"
    assert device.headline(table) == (
        "1 of 2 comparisons agree to 0.0001; align is 50 to 50 times Adam, 300 steps, batched; "
        "1 of 2 loads reach 60% of the limit; 0 failed"
    )
