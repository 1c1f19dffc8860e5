"""The judge: measure, judge and word are three functions.

`measure` runs cases and counts those that really ran, `judge` decides, `word` explains. No case, or
a residual that is not a finite number, is a failure. Runs are deterministic: the same claim
and the same number of examples give the same verdict.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from typing import Any

import numpy as np
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import find as find_smallest
from hypothesis.errors import NoSuchExample, Unsatisfiable
from hypothesis.strategies import SearchStrategy

from proofs.claim import Claim, Kind, Residual, Setting

SHRINKING_BUDGET = 100
"""Evaluations spent on making a witness smaller."""

CHEAP = 0.1
"""Settings with a smaller share have cases too expensive to be made smaller."""

READABLE_ENTRIES = 9
"""Larger arrays are shown by their nonzero entries."""

WITNESS_EXAMPLES = 50
"""Cases among which a counterexample to a negative control must turn up."""


class Outcome(Enum):
    """What the judge found; the value is the message with cause and remedy."""

    HOLDS = "holds"
    NO_CASES = "no case ran: the strategy is empty or filters everything away; widen it"
    UNDEFINED = "a residual is not a finite number; look at the witness"
    REFUTED = "refuted: a residual exceeds the tolerance; look at the witness"
    NO_EXAMPLE = "no case meets the claim, which says that one exists; draw more"
    CONTROL_PASSED = (
        "the negative control passed: this check cannot say no; make its cases more varied"
    )


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What a run of cases showed.

    Args:
        cases: how many cases really ran.
        worst: the largest finite residual, or for `Kind.THERE_EXISTS` the smallest.
        undefined: how many residuals were not finite.
        met: how many residuals were within the tolerance.
        witness: the smallest case that decides, in words: the counterexample of a refuted claim,
            the instance of one that says something exists; empty if there is none.
    """

    cases: int
    worst: float | None
    undefined: int
    met: int
    witness: str


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The judgement on one claim in one setting.

    Args:
        claim: id of the claim.
        title: title of the claim.
        setting: name of the setting.
        kind: what would have refuted it.
        evidence: what the claim's own cases showed.
        tolerance: largest residual that counts as 0.
        control: the nearest false claim, in words.
        control_evidence: what the control's cases showed.
        outcome: the judgement.
    """

    claim: str
    title: str
    setting: str
    kind: Kind
    evidence: Evidence
    tolerance: float
    control: str
    control_evidence: Evidence
    outcome: Outcome

    @property
    def holds(self) -> bool:
        """Whether the claim stood and its negative control fell."""
        return self.outcome is Outcome.HOLDS

    @property
    def witness(self) -> str:
        """The smallest deciding case: the claim's own, else what refutes the negative control."""
        return self.evidence.witness or self.control_evidence.witness


def measure(
    cases: SearchStrategy[Any],
    residual: Residual,
    *,
    tolerance: float,
    kind: Kind = Kind.FOR_ALL,
    examples: int,
    shrinking: int = SHRINKING_BUDGET,
) -> Evidence:
    """Run cases and look for the smallest one that decides.

    Args:
        cases: strategy that draws them.
        residual: 0 where the claim holds exactly.
        tolerance: largest residual that counts as 0.
        kind: a claim about all cases is decided by one above the tolerance, a claim that
            something exists by one within it.
        examples: how many cases to draw at most.
        shrinking: evaluations that may be spent on making the witness smaller; 0 for none.

    Returns:
        The evidence; its count is 0 if the strategy yields nothing.

    Raises:
        ValueError: fewer than one example is asked for.
    """
    if examples < 1:
        raise ValueError(f"examples = {examples}: at least one case must be drawn.")
    residuals: list[float] = []
    first = ""

    def decides(r: float) -> bool:
        within = math.isfinite(r) and r <= tolerance
        return within if kind is Kind.THERE_EXISTS else not within

    @deterministic(examples, Phase.generate)  # type: ignore[untyped-decorator]  # see there
    @given(cases)
    def visit(case: Any) -> None:
        nonlocal first
        residuals.append(float(residual(case)))
        if not first and decides(residuals[-1]):
            first = show(case)

    try:
        visit()
    except Unsatisfiable:
        residuals.clear()
    finite = [r for r in residuals if math.isfinite(r)]
    met = sum(r <= tolerance for r in finite)
    witness = first
    if first and shrinking:
        found = _smallest(cases, lambda case: decides(float(residual(case))), examples, shrinking)
        witness = found or first
    pick: Callable[[list[float]], float] = min if kind is Kind.THERE_EXISTS else max
    return Evidence(
        cases=len(residuals),
        worst=pick(finite) if finite else None,
        undefined=len(residuals) - len(finite),
        met=met,
        witness=witness,
    )


def judge(evidence: Evidence, control: Evidence, kind: Kind) -> Outcome:
    """Decide on a claim from what was measured.

    Args:
        evidence: of the claim.
        control: of its negative control.
        kind: what would refute the claim.

    Returns:
        The outcome; only `Outcome.HOLDS` is a success.
    """
    if evidence.cases == 0 or control.cases == 0:
        return Outcome.NO_CASES
    if evidence.undefined or control.undefined:
        return Outcome.UNDEFINED
    if kind is Kind.THERE_EXISTS:
        if evidence.met == 0:
            return Outcome.NO_EXAMPLE
        return Outcome.CONTROL_PASSED if control.met else Outcome.HOLDS
    if evidence.met < evidence.cases:
        return Outcome.REFUTED
    return Outcome.CONTROL_PASSED if control.met == control.cases else Outcome.HOLDS


def word(verdict: Verdict) -> str:
    """A verdict as one sentence that stands alone.

    Args:
        verdict: the judgement.

    Returns:
        Claim, setting, what was found and what it means.
    """
    e = verdict.evidence
    worst = "none" if e.worst is None else f"{e.worst:.2g}"
    which = "best" if verdict.kind is Kind.THERE_EXISTS else "worst"
    sentence = (
        f"{verdict.claim} {verdict.title} ({verdict.setting}): {verdict.outcome.value}; "
        f"{e.cases} cases, {which} residual {worst}, tolerance {verdict.tolerance:.0e}"
    )
    return sentence + (f"; smallest witness {verdict.witness}" if verdict.witness else "")


def check_setting(claim: Claim, setting: Setting, examples: int) -> Verdict:
    """Measure a claim and its negative control in one setting, and judge.

    Args:
        claim: the claim.
        setting: one of its settings.
        examples: cases asked for; the setting's share of them is run.

    Returns:
        The verdict.

    Raises:
        ValueError: fewer than one example is asked for.
    """
    if examples < 1:
        raise ValueError(f"examples = {examples}: at least one case must be drawn.")
    wanted = max(1, math.ceil(examples * setting.share))
    shrinking = SHRINKING_BUDGET if setting.share >= CHEAP else 0
    evidence = measure(
        setting.cases,
        setting.residual,
        tolerance=setting.tolerance,
        kind=setting.kind,
        examples=wanted,
        shrinking=shrinking,
    )
    control = setting.control
    control_evidence = measure(
        setting.cases if control.cases is None else control.cases,
        control.residual,
        tolerance=control.refuted_above,
        kind=setting.kind,
        examples=min(wanted, WITNESS_EXAMPLES),
        shrinking=shrinking,
    )
    return Verdict(
        claim=claim.id,
        title=claim.title,
        setting=setting.name,
        kind=setting.kind,
        evidence=evidence,
        tolerance=setting.tolerance,
        control=control.statement,
        control_evidence=control_evidence,
        outcome=judge(evidence, control_evidence, setting.kind),
    )


def show(value: object) -> str:
    """A drawn case in one readable line.

    Args:
        value: a dataclass, array, tensor, sequence, number or anything with a repr.

    Returns:
        The line; numbers have four significant digits.
    """
    if is_dataclass(value) and not isinstance(value, type):
        if not vars(type(value))["__dataclass_params__"].repr:  # it has words of its own
            return repr(value)
        return ", ".join(f"{f.name} {show(getattr(value, f.name))}" for f in fields(value))
    if isinstance(value, torch.Tensor):
        value = value.numpy()
    if isinstance(value, np.ndarray):
        if value.size > READABLE_ENTRIES:
            entries = (f"{list(map(int, i))}: {value[tuple(i)]:.4g}" for i in np.argwhere(value))
            return f"{'x'.join(map(str, value.shape))} {{{', '.join(entries)}}}"
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return "[" + " ".join(map(show, value)) + "]"
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value)


def deterministic(examples: int, *phases: Phase) -> Any:
    """Have Hypothesis draw the same cases at every call, and keep nothing of them.

    Args:
        examples: how many.
        phases: of Hypothesis.

    Returns:
        Its settings.
    """
    # typed `settings`, it could not be checked: beartype refuses a class that hides its module
    return settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        phases=phases,
        suppress_health_check=list(HealthCheck),
    )


def _smallest(
    cases: SearchStrategy[Any], decides: Callable[[Any], bool], examples: int, shrinking: int
) -> str:
    # the budget bounds the time, and remembered decisions keep a stopped search consistent
    known: dict[str, bool] = {}

    def within_budget(case: Any) -> bool:
        text = show(case)
        if text not in known:
            known[text] = decides(case) if len(known) < examples + shrinking else False
        return known[text]

    try:
        smallest = find_smallest(
            cases, within_budget, settings=deterministic(examples, Phase.generate, Phase.shrink)
        )
    except NoSuchExample:
        return ""
    return show(smallest)
