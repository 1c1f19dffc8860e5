"""The judge counts, can say no, and never calls a case that did not run evidence."""

import math

import pytest
from hypothesis import strategies as st

from proofs.checking import Evidence, Outcome, check_setting, judge, measure, word
from proofs.claim import Claim, Control, Formal, Kind, Setting, Source

numbers = st.integers(0, 100)


def claim(setting: Setting) -> Claim:
    """A claim about whole numbers."""
    return Claim(
        id="P0",
        title="numbers",
        statement="A statement.",
        formula="n = n",
        assumptions=("none",),
        sources=(Source(paper="none", section="none"),),
        proof="P0.",
        formal=Formal(missing="it is made up"),
        settings=(setting,),
    )


def setting(**changes) -> Setting:
    """A setting whose claim holds and whose control falls, unless changed."""
    control = Control(statement="all are 0", residual=float)
    parts = {
        "name": "numbers",
        "cases": numbers,
        "residual": lambda n: 0.0,
        "tolerance": 0.0,
        "why": "exact",
        "control": control,
    }
    return Setting(**(parts | changes))


def outcome(**changes) -> Outcome:
    """The verdict on 30 cases."""
    changed = setting(**changes)
    return check_setting(claim(changed), changed, 30).outcome


def test_counts_cases() -> None:
    """Cases are counted as they run; a small space is exhausted, not repeated."""
    assert measure(numbers, lambda n: 0.0, tolerance=0, examples=30).cases == 30
    assert measure(st.booleans(), lambda n: 0.0, tolerance=0, examples=30).cases == 2
    calls = []
    evidence = measure(numbers, lambda n: calls.append(n) or 0.0, tolerance=0, examples=30)
    assert evidence.cases == len(calls)


def test_zero_cases_is_a_failure() -> None:
    """A strategy that yields nothing supports nothing."""
    assert outcome(cases=numbers.filter(lambda n: False)) is Outcome.NO_CASES
    assert outcome(cases=st.nothing()) is Outcome.NO_CASES


def test_refuted_with_the_smallest_witness() -> None:
    """A false claim is refuted, and its witness is as small as it can be."""
    evidence = measure(numbers, lambda n: float(n > 6), tolerance=0.5, examples=100)
    assert evidence.witness == "7"
    assert outcome(residual=lambda n: float(n > 6)) is Outcome.REFUTED


def test_not_a_number_is_a_failure() -> None:
    """A residual that is not finite never counts as small, and never as the worst value."""
    for value in (math.nan, math.inf):
        evidence = measure(numbers, lambda n, v=value: v, tolerance=1.0, examples=10)
        assert evidence.undefined == evidence.cases == 10
        assert evidence.worst is None
        assert outcome(residual=lambda n, v=value: v) is Outcome.UNDEFINED


def test_a_control_that_passes_is_a_failure() -> None:
    """If the nearest false claim is not refuted, the check proves nothing."""
    idle = Control(statement="nothing", residual=lambda n: 0.0)
    assert outcome(control=idle) is Outcome.CONTROL_PASSED


def test_existence() -> None:
    """One instance is enough; none is a failure; one for the control is a failure."""
    kind = Kind.THERE_EXISTS
    none = Control(statement="never", residual=lambda n: 1.0, refuted_above=0.0)
    some = Control(statement="at 3", residual=lambda n: abs(n - 3.0), refuted_above=50.0)
    at_seven = {"kind": kind, "residual": lambda n: float(n < 7)}
    assert outcome(**at_seven, control=none) is Outcome.HOLDS
    assert outcome(**at_seven, control=some) is Outcome.CONTROL_PASSED
    assert outcome(kind=kind, residual=lambda n: 1.0, control=none) is Outcome.NO_EXAMPLE
    evidence = measure(numbers, at_seven["residual"], tolerance=0, kind=kind, examples=50)
    assert evidence.witness == "7"


def test_deterministic() -> None:
    """The same question gets the same answer."""
    runs = [measure(numbers, float, tolerance=20, examples=40) for _ in range(2)]
    assert runs[0] == runs[1]


def test_wording() -> None:
    """A verdict's sentence names claim, setting, finding, cases and tolerance."""
    chosen = setting(residual=lambda n: float(n > 6))
    sentence = word(check_setting(claim(chosen), chosen, 50))
    for part in ("P0 numbers", "refuted", "50 cases", "tolerance", "witness 7"):
        assert part in sentence


def test_judge_needs_both() -> None:
    """Only a claim that met all its cases and a control that failed one holds."""
    good = Evidence(cases=3, worst=0.0, undefined=0, met=3, witness="")
    bad = Evidence(cases=3, worst=1.0, undefined=0, met=2, witness="1")
    assert judge(good, bad, Kind.FOR_ALL) is Outcome.HOLDS
    assert judge(bad, bad, Kind.FOR_ALL) is Outcome.REFUTED
    assert judge(good, good, Kind.FOR_ALL) is Outcome.CONTROL_PASSED


def test_no_examples_asked_for() -> None:
    """At least one case must be asked for."""
    with pytest.raises(ValueError, match="examples = 0"):
        measure(numbers, float, tolerance=0, examples=0)
    with pytest.raises(ValueError, match="examples = 0"):
        check_setting(claim(setting()), setting(), 0)
