"""The stored log of what Coq has checked, with the hash of every source.

`python -m proofs` and the tests read it, so that nobody needs Coq to see what is machine-checked;
where Coq is there, it is renewed.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from invariance_probe.errors import InvalidInputError
from proofs.formal import coq
from proofs.formal.theorems import FORMAL, SOURCES

LOG = SOURCES / "log.json"
"""Where the log is stored."""


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
    questions = coq.questions()
    found = coq.check(sources, questions)
    log = Log(
        coq=coq.version(),
        sources=hashes(sources),
        theorems=[name for names in questions.values() for name in names],
        granted={label: list(names) for label, names in found.items()},
    )
    path.write_text(json.dumps(asdict(log), indent=1) + "\n")
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
        return Log(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise InvalidInputError(
            f"{path}: no readable log of the machine-checked proofs ({error}); renew it with Coq."
        ) from error


def outdated(log: Log) -> list[str]:
    """Why the log does not speak for the sources as they are.

    Args:
        log: the stored log.

    Returns:
        A reason for each source that has changed, appeared or gone, and for each theorem of a
        claim that was not checked; none if the log may be believed.
    """
    now = hashes(coq.texts())
    reasons = [
        f"{name}: {'new' if name not in log.sources else 'gone' if name not in now else 'changed'}"
        for name in sorted(set(now) | set(log.sources))
        if now.get(name) != log.sources.get(name)
    ]
    wanted = [name for names in coq.questions().values() for name in names]
    return reasons + [f"{name}: not checked" for name in wanted if name not in log.theorems]


def machine_checked(id_: str, log: Log) -> str:
    """The cell of the column "machine-checked".

    Args:
        id_: of a claim, or `MAIN`.
        log: the stored log.

    Returns:
        "yes" with the theorem and what it rests on, or "no" with the reason.
    """
    formal = FORMAL[id_]
    if not formal.checked:
        return f"no: {formal.missing}"
    if stale := outdated(log):
        return f"no: the log is older than the sources ({stale[0]})"
    labels = [formal.qualified[0], formal.rest]
    granted = {coq.ALLOWED[name] for label in labels for name in log.granted.get(label, ())}
    words = (
        f"yes: {formal.theorem}, if {'; '.join(formal.assumptions)} (taken for granted: "
        f"{' and '.join(sorted(granted, reverse=True)) or 'nothing'})"
    )
    return f"{words}. Not checked: {formal.missing}" if formal.missing else words
