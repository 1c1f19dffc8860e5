"""The claims P1 to P16 with their verdicts, and the figures of the page that bear on each."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from invariance_probe.errors import InvalidInputError
from invariance_probe.report.blocks import Item, Section
from proofs.claim import Claim
from proofs.claims import CLAIMS
from proofs.formal.log import MachineCheck, machine_checks, stored

KIND = "verdicts of the proofs"
VERDICTS = "verdicts.json"
NOT_CHECKED = "not checked in this report"


def is_verdicts(folder: Path) -> bool:
    """Tell a folder that ``python -m proofs --out`` wrote.

    Args:
        folder: Any folder.

    Returns:
        Whether it holds verdicts.
    """
    return (folder / VERDICTS).is_file()


def section(folders: Sequence[Path], sections: Sequence[Section]) -> Section:
    """State the claims.

    Args:
        folders: Folders with verdicts; of two on one claim the later counts.
        sections: The other parts of the page.

    Returns:
        A part of the page with an item for each claim; verdicts that cannot be read are refused
        with an `InvalidInputError`.
    """
    found: dict[str, dict[str, Any]] = {}
    for folder in folders:
        found |= _read(folder)
    checks = machine_checks(stored())
    items = tuple(
        _item(claim, found.get(id_), checks[id_], sections) for id_, claim in CLAIMS.items()
    )
    standing = sum(item.tone == "yes" for item in items)
    said = (
        f"{standing} of {len(found)} claims that were checked hold in all their settings, each "
        "with its negative controls refuted."
        if found
        else "`python -m proofs --out DIR` checks them; a report of DIR shows the verdicts."
    )
    return Section(
        id="claims",
        title="The claims",
        kind="the theory as it was checked",
        lead=(said,),
        items=items,
    )


def _read(folder: Path) -> dict[str, dict[str, Any]]:
    """What a folder says of each claim."""
    path = folder / VERDICTS
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {one["id"]: one for one in content["claims"] if isinstance(one["verdicts"], list)}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidInputError(
            f"{str(path)!r} contains no verdicts that can be read ({type(error).__name__}); run "
            "python -m proofs --out again, or leave it out"
        ) from error


def _item(
    claim: Claim, found: dict[str, Any] | None, check: MachineCheck, sections: Sequence[Section]
) -> Item:
    links = tuple((s.id, s.title) for s in sections if claim.id in s.bears_on)
    badge, tone = NOT_CHECKED, "open"
    points: tuple[str, ...] = ()
    if found is not None and found["verdicts"]:
        holds = [bool(verdict.get("holds")) for verdict in found["verdicts"]]
        badge = "holds" if all(holds) else f"fails in {holds.count(False)} of {len(holds)} settings"
        tone = "yes" if all(holds) else "no"
        points = tuple(str(verdict.get("words", "")) for verdict in found["verdicts"])
        points += tuple(
            f"reports {name}: {value:.4g}" for name, value in found.get("observations", {}).items()
        )
    return Item(
        id=claim.id,
        title=f"{claim.id} {claim.title}",
        badge=badge,
        tone=tone,
        text=(claim.statement, f"{claim.formula} ({'; '.join(map(str, claim.sources))})"),
        points=(f"machine-checked: {check}", *points),
        links=links,
        proof=claim.proof,
    )
