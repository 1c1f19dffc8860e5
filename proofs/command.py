"""The command line: ``python -m proofs [CLAIMS] [--formal] [--out DIR] [--gallery DIR]``.

Exit 0: every claim holds and every negative control is refuted. Exit 1: one of them is not. Exit 2:
the command was not understood, or Coq is missing or rejects a proof.
"""

import platform
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated

import hypothesis
import numpy as np
import torch
import tyro
from rich.console import Console

from invariance_probe.commands import run_command
from invariance_probe.errors import InvalidInputError
from proofs import reporting
from proofs.checking import word
from proofs.claims import CLAIMS
from proofs.formal import log
from proofs.formal.theorems import MAIN
from proofs.runner import run

WIDTH = 180
"""Columns of the table where the output is not a terminal."""


def chosen(names: Sequence[str]) -> list[str]:
    """The claims that are meant.

    Args:
        names: ids in any case, with or without leading zeros; none for all.

    Returns:
        Ids in the order of the claims.

    Raises:
        InvalidInputError: a name is no claim; the message has close matches.
    """
    found = set()
    for name in names:
        plain = name.upper()
        plain = "P" + plain[1:].lstrip("0") if plain.startswith("P") else plain
        if plain not in CLAIMS:
            titles = {claim.title: claim.id for claim in CLAIMS.values()}
            close = get_close_matches(plain, CLAIMS, n=3, cutoff=0.5)
            close += [
                f"{titles[t]} ({t})" for t in get_close_matches(name.lower(), titles, cutoff=0.4)
            ]
            hint = f"did you mean {', '.join(close)}?" if close else "claims are P1 to P16."
            raise InvalidInputError(f"unknown claim {name!r}: {hint}")
        found.add(plain)
    return [id_ for id_ in CLAIMS if id_ in found or not names]


@dataclass(frozen=True, kw_only=True)
class ProveCommand:
    """Check the claims of the theory, and try to refute them.

    Attributes:
        claims: P1 to P16; none for all.
        examples: Cases a setting.
        workers: Processes; the verdicts do not depend on their number.
        out: Folder for verdicts.json and verdicts.md.
        formal: Have Coq check the formal proofs first, and renew their log.
        gallery: Draw the witnesses into this folder instead.
    """

    claims: Annotated[
        tuple[str, ...],
        tyro.conf.Positional,
        tyro.conf.arg(metavar="[CLAIM ...]", help_behavior_hint=""),
    ] = ()
    examples: int = 120
    workers: int = 2
    out: Path | None = None
    formal: bool = False
    gallery: Path | None = None

    def run(self) -> None:
        """Check or draw.

        Raises:
            InvalidInputError: If a number is too small.
        """
        for name in ("examples", "workers"):
            if getattr(self, name) < 1:
                raise InvalidInputError(f"{name}={getattr(self, name)}: use 1 or more")
        ids = chosen(self.claims)
        if self.formal:
            self._renew()
        if self.gallery is None:
            self._check(ids)
            return
        from proofs.gallery import draw  # matplotlib is slow to import

        for path in draw(ids, self.gallery):
            print(path)

    def _renew(self) -> None:
        """Run Coq and print what it accepted."""
        start = time.perf_counter()
        with Console().status("Coq checks the formal proofs"):
            found = log.renew()
        print(
            f"Coq {found.coq} accepts {len(found.theorems)} theorems in {len(found.sources)} "
            f"files, {time.perf_counter() - start:.0f} s; wrote {log.LOG}"
        )

    def _check(self, ids: Sequence[str]) -> None:
        """Print and write verdicts; exit with status 1 if a claim does not hold."""
        checks = log.machine_checks(log.stored())
        console = Console(width=None if sys.stdout.isatty() else WIDTH)
        start = time.perf_counter()
        with console.status(f"checking {len(ids)} claims"):
            verdicts, observations = run(ids, self.examples, self.workers)
        seconds = time.perf_counter() - start
        console.print(reporting.table(verdicts, checks))
        for id_, found in observations.items():
            for name, value in found.items():
                console.print(f"{id_} reports {name}: {value:.4f}", highlight=False)
        failed = [verdict for verdict in verdicts if not verdict.holds]
        for verdict in failed:
            console.print(word(verdict), style="bold red", markup=False)
        cases = sum(verdict.evidence.cases for verdict in verdicts)
        standing = sum(all(v.holds for v in verdicts if v.claim == id_) for id_ in ids)
        console.print(
            f"{standing} of {len(ids)} claims hold in all their settings, every negative control "
            f"of theirs refuted; {cases} cases, {seconds:.0f} s",
            highlight=False,
        )
        words = [checks[id_].word for id_ in ids]
        console.print(
            f"machine-checked: {words.count('yes')} of them, {words.count('in part')} more in "
            f"part; the main theorem: {checks[MAIN].word} (reasons: --out)",
            highlight=False,
        )
        if self.out is not None:
            settings = {
                "examples": self.examples,
                "seconds": round(seconds, 1),
                "python": platform.python_version(),
                "numpy": np.__version__,
                "torch": torch.__version__,
                "hypothesis": hypothesis.__version__,
            }
            report = reporting.Report(
                verdicts=verdicts,
                claims={id_: CLAIMS[id_] for id_ in ids},
                checks=checks,
                observations=observations,
                settings=settings,
            )
            for path in reporting.write(self.out, report):
                console.print(f"wrote {path}", highlight=False)
        if failed:
            raise SystemExit(1)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command.

    Args:
        arguments: Words after the command's name; those of the process by default.
    """
    run_command(
        ProveCommand,
        program="python -m proofs",
        description="Check the claims of the theory, and try to refute them.",
        arguments=arguments,
    )
