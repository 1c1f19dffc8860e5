"""Runs Coq over the sources: forbidden words, compilation, and what each theorem rests on."""

import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from invariance_probe.errors import InvalidInputError
from proofs.formal.theorems import FORMAL, SOURCES, stated

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
"""Seconds after which a source that is still being compiled is given up."""

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
    return {path.name: path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.v"))}


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


def check(
    sources: dict[str, str], groups: Mapping[str, Sequence[str]]
) -> dict[str, tuple[str, ...]]:
    """Compile the sources, in a folder of their own, and ask what theorems rest on.

    Args:
        sources: text by file name.
        groups: theorems, each as "file.theorem", by a label; Coq is asked once a group, because
            each question costs it a walk through the whole theory of the reals.

    Returns:
        By label, the names of what the group's theorems take for granted; none for some algebra.

    Raises:
        InvalidInputError: a word is forbidden, Coq rejects a source, a theorem is not there, or one
            rests on more than `ALLOWED`.
    """
    if words := forbidden(sources):
        raise InvalidInputError(
            f"{words[0]}: a source may take nothing for granted, nor say so in a comment; "
            "write a Variable or Hypothesis of a section."
        )
    asked = f"From Formal Require {' '.join(n.removesuffix('.v') for n in sources)}.\n"
    for number, (label, names) in enumerate(groups.items()):
        together = ", ".join(f"@Formal.{name}" for name in names)
        asked += f'Definition group_{number} := ({together}).\nGoal True. idtac "== {label}". '
        asked += f"Abort.\nPrint Assumptions group_{number}.\n"
    with tempfile.TemporaryDirectory() as folder:
        for name, text in sources.items():
            (Path(folder) / name).write_text(text, encoding="utf-8")
        for name in in_order(sources):
            _coqc("-Q", ".", "Formal", name, folder=Path(folder))
        (Path(folder) / "asked.v").write_text(asked)
        found = parsed(_coqc("-Q", ".", "Formal", "asked.v", folder=Path(folder)))
    for label in groups:
        if label not in found:
            raise InvalidInputError(f"{label}: Coq did not say what it rests on.")
        if extra := sorted(set(found[label]) - set(ALLOWED)):
            raise InvalidInputError(
                f"{label} rests on {', '.join(extra)}: only the reals and functional "
                "extensionality may be taken for granted."
            )
    return found


def parsed(answer: str) -> dict[str, tuple[str, ...]]:
    """What Coq answered to `Print Assumptions`.

    Args:
        answer: for each group a line "== label", then Coq's words.

    Returns:
        By label, the names of what it rests on.

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


def questions(sources: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """What Coq is asked about the claims: about each by itself, and about what else its file says.

    Args:
        sources: text by file name.

    Returns:
        Theorems, each as "file.theorem", by the claim's theorem and by `rest` of it.
    """
    groups: dict[str, tuple[str, ...]] = {}
    for theorem in (formal.theorem for formal in FORMAL.values() if formal.theorem):
        file = theorem.partition(".")[0] + ".v"
        others = tuple(name for name in stated(file, sources.get(file, "")) if name != theorem)
        groups[theorem] = (theorem,)
        if others:
            groups[rest(theorem)] = others
    return groups


def rest(theorem: str) -> str:
    """What the log calls the theorems that stand in one file with a claim's own.

    Args:
        theorem: the claim's, as "file.theorem".

    Returns:
        A label.
    """
    return f"the rest of {theorem.partition('.')[0]}"


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
