"""What `proofs/formal/*.v` proves: the main theorem, and what each claim names."""

import re
from pathlib import Path

from proofs.claim import Formal
from proofs.claims import CLAIMS

SOURCES = Path(__file__).parent
"""Where the `.v` files are."""

MAIN = "main theorem"
"""The entry of `FORMAL` that is no claim of its own: P3, P10 and P11 in one statement."""

FORMAL: dict[str, Formal] = {
    MAIN: Formal(
        theorem="main_theorem.main_theorem",
        assumptions=(
            "G D_d = D_d G",
            "G semi-local",
            "G filters space: no single place, however small, is all it reads; for continuous "
            "images and a G continuous in the sup norm: G is not pointwise",
            "s other than 0, abs(s) other than 1",
            "the images are closed under shifts, the scaling and gluing",
            "the warp does not depend on the image",
        ),
    ),
    **{id_: claim.formal for id_, claim in CLAIMS.items()},
}
"""The main theorem and each claim."""


def stated(file: str, text: str) -> list[str]:
    """The theorems of a source; its lemmas are steps on the way.

    Args:
        file: name of the source, with or without its ending.
        text: what it says.

    Returns:
        Each as "file.theorem". "mutant" in a name: it refutes a broken statement.
    """
    names = re.findall(r"^(?:Theorem|Corollary) (\w+)", text, re.M)
    return [f"{file.removesuffix('.v')}.{name}" for name in names]
