"""What a claim is: words, formula, source, proof, and the settings in which it can be refuted."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from hypothesis.strategies import SearchStrategy

Residual = Callable[[Any], float]
"""How far one drawn case is from what is claimed: 0 where the claim holds exactly."""


class Kind(Enum):
    """What would refute the claim."""

    FOR_ALL = "for all"
    """One case with a residual above the tolerance refutes it."""

    THERE_EXISTS = "there exists"
    """Only the absence of any case within the tolerance speaks against it."""


SINGLE_LAYER = "theoretical analysis, one layer"
MULTI_LAYER = "theoretical analysis, many layers"


@dataclass(frozen=True)
class Source:
    """Where a claim comes from.

    Args:
        paper: short name of the paper.
        section: the part of it, by topic.
    """

    paper: str
    section: str = SINGLE_LAYER

    def __str__(self) -> str:
        return f"{self.paper}, {self.section}"


ICPR = "Finnveden, Jansson, Lindeberg (ICPR 2020, arXiv 2004.11678)"
COMPANION = "Jansson, Maydanskiy, Finnveden, Lindeberg (arXiv 2004.14716)"


@dataclass(frozen=True, kw_only=True)
class Control:
    """The nearest false claim, which the same check must refute.

    Args:
        statement: the false claim, in words.
        residual: what would have to vanish if it were true.
        cases: where to look for a counterexample; None means among the setting's own cases.
        refuted_above: a residual this large is a clear no. For `Kind.THERE_EXISTS` the control is
            refuted if no case comes below it.
    """

    statement: str
    residual: Residual
    cases: SearchStrategy[Any] | None = None
    refuted_above: float = 1e-3


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One way to check a claim.

    Args:
        name: "continuum", "lattice" or another word for where the cases live.
        cases: draws instances that meet the claim's assumptions.
        residual: 0 where the claim holds exactly.
        tolerance: largest residual that still counts as 0.
        why: why the tolerance is what it is.
        control: the nearest false claim.
        kind: what would refute the claim here.
        share: fraction of the requested examples to run here, below 1 where one case is expensive.
    """

    name: str
    cases: SearchStrategy[Any]
    residual: Residual
    tolerance: float
    why: str
    control: Control
    kind: Kind = Kind.FOR_ALL
    share: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Formal:
    """What of a claim Coq proves, in `proofs/formal/*.v`.

    Args:
        theorem: the one that states the claim, as "file.theorem"; empty if there is none.
        assumptions: what the theorem asks; empty if it asks what the claim asks.
        missing: what of the claim Coq does not check, and why; empty if nothing.
    """

    theorem: str = ""
    assumptions: tuple[str, ...] = ()
    missing: str = ""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A claim of the theory as an object that can be read, run and refuted.

    Args:
        id: "P1" to "P16".
        title: a few words.
        statement: the claim in words.
        formula: the claim in symbols.
        assumptions: what it rests on.
        sources: where it comes from.
        proof: elementary and complete; the docstring of the claim's module.
        formal: the theorem by which a machine checks it, or why there is none.
        settings: the ways in which it is checked.
        observations: measures what is reported without being judged, by name.
    """

    id: str
    title: str
    statement: str
    formula: str
    assumptions: tuple[str, ...]
    sources: tuple[Source, ...]
    proof: str
    formal: Formal
    settings: tuple[Setting, ...]
    observations: Callable[[], dict[str, float]] | None = None

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """What would refute the claim, over all its settings."""
        return tuple(kind for kind in Kind if any(s.kind is kind for s in self.settings))
