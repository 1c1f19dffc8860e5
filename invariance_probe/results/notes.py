"""What a reader of a run should know of its layers and images before its means."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from invariance_probe.statistics import FEWEST


def notes(config: Mapping[str, Any], summary: pd.DataFrame) -> tuple[str, ...]:
    """Name layers of assumed geometry, near duplicates, weak floors, and images far outside.

    Args:
        config: A run's configuration; one of version 0.1.0 tells of none of the first three.
        summary: Its summary.

    Returns:
        A sentence each; none if there is nothing to say.
    """
    said = []
    if config.get("unmeasured"):
        said.append(assumed_places(config["unmeasured"]))
    alike = config.get("near_duplicates", [])
    if alike:
        groups = "; ".join(", ".join(names) for names in alike)
        said.append(
            f"Near duplicates among the images ({groups}): they are not compared as unrelated, and "
            "are held out together. They count as several images in means and intervals all the "
            "same: leave copies out."
        )
    if "floor" in config and (copies := len(config["floor"]["shifts"])) < FEWEST:
        said.append(
            f"Floors rest on {copies} shifted cop{'y' if copies == 1 else 'ies'} of images. They "
            "may be off by a third in layers with a stride; more images or transforms allow for "
            "more copies."
        )
    if "far_outside" in summary:
        said += _outside(summary[summary["metric"] == "fvu"])
    return tuple(said)


def assumed_places(layers: Sequence[str]) -> str:
    """Say what rests on a geometry that was not measured.

    Args:
        layers: Names of the layers.

    Returns:
        A sentence.
    """
    return (
        f"Stride and offset of {', '.join(layers)} failed their checks and are assumed: the map is "
        "taken to cover the input evenly. Whatever rests on it (oracle, floor, region, the limits "
        "of the search) may be wrong there."
    )


def _outside(fvu: pd.DataFrame) -> list[str]:
    """Name each image that lies far outside, with the row in which it does so most."""
    found: dict[str, list[Any]] = {}
    for row in fvu[fvu["far_outside"].notna() & (fvu["far_outside"] != "")].itertuples():
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
