"""What a reader of a run should know of its images before its means."""

from collections.abc import Mapping
from typing import Any

import pandas as pd


def notes(config: Mapping[str, Any], summary: pd.DataFrame) -> tuple[str, ...]:
    """Name near duplicates, and images that lie far outside the others.

    Args:
        config: A run's configuration; one of version 0.1.0 tells of no near duplicates.
        summary: Its summary.

    Returns:
        A sentence each; none if there is nothing to say.
    """
    said = []
    alike = config.get("near_duplicates", [])
    if alike:
        groups = "; ".join(", ".join(names) for names in alike)
        said.append(
            f"Near duplicates among the images ({groups}): they are not compared as unrelated, and "
            "are held out together. They count as several images in means and intervals all the "
            "same: leave copies out."
        )
    if "far_outside" in summary:
        said += _outside(summary[summary["metric"] == "fvu"])
    return tuple(said)


def _outside(fvu: pd.DataFrame) -> list[str]:
    """Name each image that lies far outside, with the row in which it does so most."""
    found: dict[str, list[Any]] = {}
    for row in fvu[fvu["far_outside"].fillna("") != ""].itertuples():
        for name in str(row.far_outside).split("; "):
            found.setdefault(name, []).append(row)
    out = []
    for name, rows in found.items():
        most = max(rows, key=lambda row: abs(row.worst - row.median))
        out.append(
            f"Image {name!r} lies far outside the others in {len(rows)} of {len(fvu)} rows, as at "
            f"{most.layer} under {most.transform} by {most.method}: look at it, and at medians "
            f"(there {most.median:.2f}; mean {most.mean:.2f}, worst image {most.worst:.2f})."
        )
    return out
