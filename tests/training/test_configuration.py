"""Configurations of trainings: schedules, and values that are refused."""

import math

import numpy as np
import pytest

from invariance_probe.errors import InvalidInputError
from tests.training import tiny


def test_schedules() -> None:
    """Step: a tenth after each third. One-cycle: up over the first 15 %, then down to 0.1 %."""
    step = tiny.config(schedule="step", steps=300, rate=1.0)
    rates = [step.rate_at(k) for k in (0, 99, 100, 199, 200, 299)]
    assert rates == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])
    cycle = tiny.config(schedule="one-cycle", steps=1000, rate=1.0)
    rates = [cycle.rate_at(k) for k in range(1000)]
    assert int(np.argmax(rates)) == 150
    assert max(rates) == pytest.approx(1)
    assert rates[0] == pytest.approx(0.04)
    assert rates[-1] < 0.0011
    assert tiny.config(schedule="constant", rate=0.3).rate_at(7) == 0.3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 0}, "steps=0: give at least 1"),
        ({"width": -1.0}, "width=-1: give a positive number"),
        ({"rate": math.nan}, "rate=nan: the value must be a finite number"),
        ({"localizer_rate": -0.5}, "localizer_rate=-0.5: give 0 or more"),
        ({"output_share": 0.0}, "output_share=0: give a share in"),
        ({"seed": -1}, "seed=-1: give at least 0"),
    ],
)
def test_bad_configurations_are_refused(changes: dict[str, object], message: str) -> None:
    """Each value out of range is named, with the rule."""
    with pytest.raises(InvalidInputError, match=message):
        tiny.config(**changes)


def test_what_an_older_run_does_not_say_was_the_default() -> None:
    """A stored run without an option of today is the run with its default, and no other."""
    stored = {key: v for key, v in tiny.config().as_dict().items() if key != "trunk"}
    assert not tiny.config().difference(stored)
    assert tiny.config(trunk="copy").difference(stored) == "trunk=anew there, copy here"
