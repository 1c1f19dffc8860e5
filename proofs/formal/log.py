"""The stored log of what Coq has checked, with the hash of every source.

`python -m proofs` and the tests read it, so that nobody needs Coq to see what is machine-checked;
`python -m proofs --formal` renews it.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from invariance_probe.errors import InvalidInputError
from invariance_probe.files import write_json
from proofs.claims import CLAIMS
from proofs.formal import coq
from proofs.formal.theorems import FORMAL, SOURCES

LOG = SOURCES / "log.json"
"""Where the log is stored."""

RENEW = "renew it with python -m proofs --formal"


@dataclass(frozen=True, kw_only=True)
class Log:
    """What Coq has checked, and when it may still be believed.

    Args:
        coq: version of Coq.
        sources: SHA-256 of each source by file name.
        theorems: all that were checked, each as "file.theorem".
        granted: what they take for granted, by the labels of `coq.questions`.
    """

    coq: str
    sources: dict[str, str]
    theorems: list[str]
    granted: dict[str, list[str]]


@dataclass(frozen=True, kw_only=True)
class MachineCheck:
    """What a machine says of a claim.

    Args:
        word: "yes", "in part" or "no".
        theorem: the one that states the claim, as "file.theorem"; empty if there is none.
        assumptions: what it asks.
        taken_for_granted: what Coq takes for granted: the reals, functional extensionality.
        not_checked: what of the claim is not checked, and why.
    """

    word: str
    theorem: str = ""
    assumptions: tuple[str, ...] = ()
    taken_for_granted: tuple[str, ...] = ()
    not_checked: str = ""

    def __str__(self) -> str:
        if not self.theorem:
            return f"{self.word}: {self.not_checked}"
        said = (
            f"{self.word}: {self.theorem}, if {'; '.join(self.assumptions)} (taken for granted: "
            f"{' and '.join(self.taken_for_granted) or 'nothing'})"
        )
        return f"{said}. Not checked: {self.not_checked}" if self.not_checked else said


def hashes(texts: dict[str, str]) -> dict[str, str]:
    """The hash of each source.

    Args:
        texts: the sources by file name.

    Returns:
        SHA-256 by file name.
    """
    return {name: hashlib.sha256(text.encode()).hexdigest() for name, text in texts.items()}


def renew(path: Path = LOG) -> Log:
    """Run Coq over the sources and store what it says.

    Args:
        path: where to.

    Returns:
        The log.

    Raises:
        InvalidInputError: Coq is not installed, rejects a source, or a theorem takes too much for
            granted; the stored log is then left as it was.
    """  # noqa: DOC502 - raised by what is called
    sources = coq.texts()
    questions = coq.questions(sources)
    found = coq.check(sources, questions)
    log = Log(
        coq=coq.version(),
        sources=hashes(sources),
        theorems=[name for names in questions.values() for name in names],
        granted={label: list(names) for label, names in found.items()},
    )
    write_json(path, asdict(log))
    return log


def stored(path: Path = LOG) -> Log:
    """The stored log.

    Args:
        path: where it is.

    Returns:
        The log.

    Raises:
        InvalidInputError: there is none, or it cannot be read.
    """
    try:
        return Log(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise InvalidInputError(
            f"{path}: no readable log of the machine-checked proofs ({error}); {RENEW}"
        ) from error


def outdated(log: Log) -> list[str]:
    """Why the log does not speak for the sources as they are.

    Args:
        log: the stored log.

    Returns:
        A reason for each source that has changed, appeared or gone, and for each theorem that was
        not checked; none if the log may be believed.
    """
    sources = coq.texts()
    now = hashes(sources)
    reasons = [
        f"{name}: {'new' if name not in log.sources else 'gone' if name not in now else 'changed'}"
        for name in sorted(set(now) | set(log.sources))
        if now.get(name) != log.sources.get(name)
    ]
    wanted = [name for names in coq.questions(sources).values() for name in names]
    return reasons + [f"{name}: not checked" for name in wanted if name not in log.theorems]


def machine_checks(log: Log) -> dict[str, MachineCheck]:
    """The column "machine-checked".

    Args:
        log: the stored log.

    Returns:
        By claim and for `MAIN`: "yes" or "in part" with the theorem and what it rests on, or "no"
        with the reason.
    """
    stale = outdated(log)
    checks = {}
    for id_, formal in FORMAL.items():
        if not formal.theorem:
            checks[id_] = MachineCheck(word="no", not_checked=formal.missing)
        elif stale:
            said = f"the log is older than the sources ({stale[0]}); {RENEW}"
            checks[id_] = MachineCheck(word="no", not_checked=said)
        else:
            labels = (formal.theorem, coq.rest(formal.theorem))
            granted = {coq.ALLOWED[name] for label in labels for name in log.granted.get(label, ())}
            checks[id_] = MachineCheck(
                word="in part" if formal.missing else "yes",
                theorem=formal.theorem,
                assumptions=formal.assumptions or CLAIMS[id_].assumptions,
                taken_for_granted=tuple(sorted(granted, reverse=True)),
                not_checked=formal.missing,
            )
    return checks
