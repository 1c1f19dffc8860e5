"""Runs Coq over the sources: forbidden words, compilation, and what each theorem rests on."""

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path

from invariance_probe.errors import InvalidInputError
from proofs.formal.theorems import FORMAL, SOURCES

FORBIDDEN = re.compile("Admitted|admit|Axiom|Parameter|Conjecture")
"""Words with which Coq takes something for granted; not even a comment may have them."""

ALLOWED = {
    "ClassicalDedekindReals.sig_forall_dec": "the reals",
    "ClassicalDedekindReals.sig_not_dec": "the reals",
    "FunctionalExtensionality.functional_extensionality_dep": "functional extensionality",
}
"""What a theorem may rest on, and what that is in words: the reals of Coq's standard library, and
that functions with the same values are equal."""

CLOSED = "Closed under the global context"
"""Coq's words for a theorem that rests on nothing."""

LIMIT = 180
"""Seconds that all sources together may take."""

INSTALL = "apt-get install coq libcoq-coquelicot"
"""What brings Coq 8.16 and the one library that is used."""


def missing() -> str:
    """Why Coq cannot run here.

    Returns:
        The reason and the way out; empty if `coqc` and Coquelicot are there.
    """
    coqc = shutil.which("coqc")
    if coqc is None:
        return f"coqc is not installed; {INSTALL}"
    where = subprocess.run([coqc, "-where"], capture_output=True, text=True, check=True)
    if not (Path(where.stdout.strip()) / "user-contrib" / "Coquelicot").is_dir():
        return f"coqc is there, Coquelicot is not; {INSTALL}"
    return ""


def version() -> str:
    """The version of Coq.

    Returns:
        Such as "8.16.1".
    """
    return _coqc("--print-version").split()[0]


def forbidden(texts: dict[str, str]) -> list[str]:
    """Words by which a source would take something for granted.

    Args:
        texts: the sources by file name.

    Returns:
        "file:line: word" for each.
    """
    return [
        f"{name}:{number}: {word}"
        for name, text in sorted(texts.items())
        for number, line in enumerate(text.splitlines(), start=1)
        for word in FORBIDDEN.findall(line)
    ]


def texts(folder: Path = SOURCES) -> dict[str, str]:
    """The sources.

    Args:
        folder: where they are.

    Returns:
        Text by file name.
    """
    return {path.name: path.read_text() for path in sorted(folder.glob("*.v"))}


def in_order(sources: dict[str, str]) -> list[str]:
    """The sources, each after those that it requires.

    Args:
        sources: text by file name.

    Returns:
        File names.

    Raises:
        InvalidInputError: two files require each other.
    """
    requires = {
        name: {
            f"{word}.v"
            for line in re.findall(r"^From Formal Require Import ([^.]+)\.", text, re.M)
            for word in line.split()
        }
        for name, text in sources.items()
    }
    order: list[str] = []
    while len(order) < len(sources):
        ready = [n for n, needs in requires.items() if n not in order and needs <= set(order)]
        if not ready:
            raise InvalidInputError(
                f"{', '.join(sorted(set(sources) - set(order)))}: require each other or a file "
                "that is not there; a source may only require those before it."
            )
        order += ready
    return order


def check(sources: dict[str, str], theorems: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Compile the sources, in a folder of their own, and ask what theorems rest on.

    Args:
        sources: text by file name.
        theorems: each as "file.theorem".

    Returns:
        By theorem, the names of what is taken for granted; none for most of the algebra.

    Raises:
        InvalidInputError: a word is forbidden, Coq rejects a source, a theorem is not there, or it
            rests on more than `ALLOWED`.
    """
    if words := forbidden(sources):
        raise InvalidInputError(
            f"{words[0]}: a source may take nothing for granted, nor say so in a comment; "
            "write a Variable or Hypothesis of a section."
        )
    names = list(theorems)
    with tempfile.TemporaryDirectory() as folder:
        for name, text in sources.items():
            (Path(folder) / name).write_text(text)
        for name in in_order(sources):
            _coqc("-Q", ".", "Formal", name, folder=Path(folder))
        asked = f"From Formal Require {' '.join(n.removesuffix('.v') for n in sources)}.\n"
        for name in names:
            asked += f'Goal True. idtac "== {name}". Abort.\nPrint Assumptions Formal.{name}.\n'
        (Path(folder) / "asked.v").write_text(asked)
        found = parsed(_coqc("-Q", ".", "Formal", "asked.v", folder=Path(folder)))
    for name in names:
        if name not in found:
            raise InvalidInputError(f"{name}: Coq did not say what it rests on; is it a theorem?")
        if extra := sorted(set(found[name]) - set(ALLOWED)):
            raise InvalidInputError(
                f"{name} rests on {', '.join(extra)}: only the reals and functional "
                "extensionality may be taken for granted."
            )
    return found


def parsed(answer: str) -> dict[str, tuple[str, ...]]:
    """What Coq answered to `Print Assumptions`.

    Args:
        answer: for each theorem a line "== file.theorem", then Coq's words.

    Returns:
        By theorem, the names of what it rests on.

    Raises:
        InvalidInputError: an answer is neither a list nor that there is nothing.
    """
    found = {}
    for block in re.split(r"^== ", answer, flags=re.M)[1:]:
        name, _, words = block.partition("\n")
        names = re.findall(r"^([A-Za-z_][\w.']*)(?: :|\s*$)", words, re.M)
        listed = words.lstrip().startswith("Axioms:")
        # "Axioms:" itself does not match: its colon follows without a space
        if not (listed and names) and not words.strip().startswith(CLOSED):
            raise InvalidInputError(f"{name}: cannot read Coq's answer {words.strip()[:80]!r}.")
        found[name.strip()] = tuple(sorted(names)) if listed else ()
    return found


def all_theorems() -> list[str]:
    """The theorems of all claims.

    Returns:
        Each as "file.theorem".
    """
    return [name for formal in FORMAL.values() for name in formal.qualified]


def _coqc(*arguments: str, folder: Path | None = None) -> str:
    """What `coqc` prints; its first error, where it finds one, is raised."""
    if reason := missing():
        raise InvalidInputError(f"{reason}.")
    try:
        done = subprocess.run(
            ["coqc", "-w", "-ambiguous-paths", *arguments],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise InvalidInputError(
            f"coqc {' '.join(arguments)}: no answer in {LIMIT} s; look for a tactic that searches."
        ) from error
    if done.returncode:
        raise InvalidInputError(f"Coq rejects {arguments[-1]}: {' '.join(done.stderr.split())}")
    return done.stdout
