"""The command line: ``python -m proofs [CLAIMS] [--examples N] [--out DIR] [--gallery DIR]``.

Exit 0: every claim holds and every negative control is refuted. Exit 1: one of them is not. Exit 2:
the command was not understood.
"""

import argparse
import platform
import sys
import time
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

import hypothesis
import numpy as np
import torch
from rich.console import Console

from proofs import reporting
from proofs.checking import word
from proofs.claims import CLAIMS
from proofs.runner import run

EXAMPLES = 120
"""Cases a setting, unless said otherwise."""

WORKERS = 2
"""Processes; the verdicts do not depend on their number."""

WIDTH = 180
"""Columns of the table where the output is not a terminal."""

EXIT_HOLDS, EXIT_FAILS, EXIT_USAGE = 0, 1, 2


def chosen(names: Sequence[str]) -> list[str]:
    """The claims that are meant.

    Args:
        names: ids in any case, with or without leading zeros; none for all.

    Returns:
        Ids in the order of the claims.

    Raises:
        ValueError: a name is no claim; the message has close matches.
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
            raise ValueError(f"unknown claim {name!r}: {hint}")
        found.add(plain)
    return [id_ for id_ in CLAIMS if id_ in found or not names]


def parser() -> argparse.ArgumentParser:
    """The command line's grammar.

    Returns:
        The parser.
    """
    grammar = argparse.ArgumentParser(
        prog="python -m proofs",
        description="Check the claims of the theory, and try to refute them.",
    )
    grammar.add_argument("claims", nargs="*", metavar="CLAIM", help="P1 to P16; none for all")
    grammar.add_argument(
        "--examples",
        type=_positive,
        default=EXAMPLES,
        help="cases a setting; %(default)s if not given",
    )
    grammar.add_argument(
        "--workers", type=_positive, default=WORKERS, help="processes; %(default)s if not given"
    )
    grammar.add_argument("--out", type=Path, help="folder for verdicts.json and verdicts.md")
    grammar.add_argument("--gallery", type=Path, help="draw the witnesses into this folder instead")
    return grammar


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: as typed; None reads them from the process.

    Returns:
        The exit code.
    """
    options = parser().parse_args(arguments)
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    try:
        ids = chosen(options.claims)
    except ValueError as error:
        print(f"python -m proofs: {error}", file=sys.stderr)
        return EXIT_USAGE
    if options.gallery is not None:
        from proofs.gallery import draw  # matplotlib is slow to import

        for path in draw(ids, options.gallery):
            print(path)
        return EXIT_HOLDS
    start = time.perf_counter()
    with console.status(f"checking {len(ids)} claims"):
        verdicts, observations = run(ids, options.examples, options.workers)
    seconds = time.perf_counter() - start
    console.print(reporting.table(verdicts))
    for id_, found in observations.items():
        for name, value in found.items():
            console.print(f"{id_} reports {name}: {value:.4f}", highlight=False)
    failed = [verdict for verdict in verdicts if not verdict.holds]
    for verdict in failed:
        console.print(word(verdict), style="bold red", markup=False)
    cases = sum(verdict.evidence.cases for verdict in verdicts)
    standing = sum(all(v.holds for v in verdicts if v.claim == id_) for id_ in ids)
    console.print(
        f"{standing} of {len(ids)} claims hold in all their settings, every negative control of "
        f"theirs refuted; {cases} cases, {seconds:.0f} s",
        highlight=False,
    )
    if options.out is not None:
        settings = {
            "examples": options.examples,
            "seconds": round(seconds, 1),
            "python": platform.python_version(),
            "numpy": np.__version__,
            "torch": torch.__version__,
            "hypothesis": hypothesis.__version__,
        }
        claims = {id_: CLAIMS[id_] for id_ in ids}
        for path in reporting.write(options.out, verdicts, claims, observations, settings):
            console.print(f"wrote {path}", highlight=False)
    return EXIT_FAILS if failed else EXIT_HOLDS


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number; use 1 or more.")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
