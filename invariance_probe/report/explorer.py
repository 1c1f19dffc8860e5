"""What a page lets a reader choose from: maps as pictures, numbers of pairs, curves.

All of it is data: texts, numbers, and pictures as ``data:`` addresses, in one JSON object. The
page's script shows texts as texts.
"""

import base64
import io
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import UInt8
from PIL import Image

from invariance_probe.report import rules
from invariance_probe.report.short import UNITS
from invariance_probe.results.maps import DIFFERENCE, picture
from invariance_probe.results.methods import Method
from invariance_probe.results.strips import STAGES, Strip
from invariance_probe.results.style import AXIS_LABELS
from invariance_probe.results.tables import ProbeTables

BUDGET = 3_400_000
"""Bytes of all maps of a probe on a page, as pictures."""
PROVEN, FOUND, ESTIMATED, MEASURED = "proven", "found", "estimated", "measured"
_STANDING = {
    Method.ANY_WARP: PROVEN,
    Method.FLOOR: ESTIMATED,
    Method.AFFINE: FOUND,
    Method.FLOW: FOUND,
}


def standing(method: Method) -> str:
    """Say what a number rests on.

    Args:
        method: What was compared.

    Returns:
        ``proven``; ``found`` by a search or a fit, so that another may leave less; ``estimated``;
        or ``measured``.
    """
    return FOUND if method.mixing else _STANDING.get(method, MEASURED)


def data(tables: ProbeTables, budget: int = BUDGET) -> dict[str, Any]:
    """Gather what the interactive part of a page shows.

    Args:
        tables: Of a probe whose table holds residuals.
        budget: Bytes of the maps; channels, then images, are left out until they fit.

    Returns:
        What JSON holds: names, means with their intervals, values of the images that are shown,
        verdicts, pictures.
    """
    layers = [str(name) for name in tables.layers["name"]]
    moves = tables.config["moves"]
    images = sorted({strip.image for strip in tables.strips})
    names = [str(tables.config["images"][number]) for number in images]
    keys = ["layer", "transform_number", "method"]
    summary = tables.summary(["layer", "parameter", "method", "metric"])
    summary = summary[summary["metric"] == "fvu"].set_index(keys)[["mean", "low", "high"]]
    wide = pd.concat(tables.by_image(keys, every=True, metric="fvu")).reindex(columns=names)

    def listed(rows: Any, method: Method) -> list[list[Any]]:
        """By layer and transform."""
        found = {key: _plain(row) for key, row in zip(rows.index, rows.to_numpy(), strict=True)}
        return [
            [found.get((layer, number, str(method))) for number in range(len(moves))]
            for layer in layers
        ]

    return {
        "model": str(tables.config["model"]),
        "layers": layers,
        "shapes": [
            f"{row.channels} channels of {row.height} × {row.width}"
            for row in tables.layers.itertuples()
        ],
        "families": _families(moves),
        "methods": [
            {
                "name": str(method),
                "label": method.label,
                "colour": method.colour,
                "standing": standing(method),
                "means": listed(summary, method),
                "single": listed(wide, method),
            }
            for method in tables.methods
        ],
        "verdicts": _verdicts(tables, layers, len(moves)),
        "images": names,
        "stages": [*STAGES[: len(tables.strips[0].maps) if tables.strips else 0], DIFFERENCE],
        "maps": _maps(tables.strips, images, layers, len(moves), budget),
        "pictures": [_pictures(tables.strips, number, len(moves)) for number in images],
    }


def _plain(values: Iterable[float]) -> list[float | None]:
    """Numbers as JSON holds them: none that is infinite, as a ratio to a floor of 0 is."""
    return [float(f"{value:.4g}") if math.isfinite(value) else None for value in values]


def _families(moves: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Kinds of transforms, with their members from the least parameter to the largest."""
    out = []
    for kind in dict.fromkeys(str(move["kind"]) for move in moves):
        members = [n for n, move in enumerate(moves) if move["kind"] == kind]
        parameters = [float(moves[n]["parameter"]) for n in members]
        named = len(set(parameters)) == len(members) and not any(map(math.isnan, parameters))
        if named:
            members = [n for _, n in sorted(zip(parameters, members, strict=True))]
        unit = UNITS.get(kind, "")
        out.append({
            "kind": kind,
            "axis": AXIS_LABELS.get(kind if named else "affine", kind),
            "numbers": members,
            "values": sorted(parameters) if named else list(range(len(members))),
            "words": [
                f"{kind} by {moves[n]['parameter']:g}{unit}" if named else f"{kind} number {n}"
                for n in members
            ],
        })
    return out


def _verdicts(tables: ProbeTables, layers: Sequence[str], count: int) -> list[list[Any]]:
    """By layer and transform: would a warp of the map do?"""
    out: list[list[Any]] = [[None] * count for _ in layers]
    for (number, layer), one in rules.by_transform(tables).items():
        met = rules.rules_met(one)
        times = one.ratio(Method.AFFINE, Method.FLOOR)
        out[layers.index(layer)][number] = {
            "rule": met[0],
            "words": rules.VERDICTS[met[0]],
            "times": _plain(times),
            "proven": _plain(one.ratio(Method.ANY_WARP, Method.AFFINE)),
        }
    return out


def _maps(
    strips: Sequence[Strip],
    images: Sequence[int],
    layers: Sequence[str],
    count: int,
    budget: int,
) -> list[list[Any]]:
    """By image and layer a picture of all its maps, as many channels as fit."""
    kept = {(strip.image, strip.layer, strip.transform): strip for strip in strips}
    most = max((len(strip.channels) for strip in strips), default=0)
    for channels, some in [*((n, images) for n in range(most, 0, -1)), (1, images[:1])]:
        drawn = [
            [_sheet([kept.get((i, layer, n)) for n in range(count)], channels) for layer in layers]
            for i in some
        ]
        if sum(len(each["source"]) for row in drawn for each in row if each) <= budget:
            return drawn
    return []


def _sheet(strips: Sequence[Strip | None], channels: int) -> dict[str, Any] | None:
    """One picture: channels and, in each, transforms from top to bottom, stages across."""
    there = [(number, strip) for number, strip in enumerate(strips) if strip is not None]
    if not there:
        return None
    first = there[0][1]
    stages, _, height, width = first.maps.shape
    numbers = first.channels[:channels]
    sheet = np.zeros((len(numbers), len(there), height, stages + 1, width), dtype=np.uint8)
    scales = []
    for place in range(len(numbers)):
        maps = np.stack([strip.maps[:, place].astype(np.float64) for _, strip in there])
        maps = np.nan_to_num(maps, posinf=0.0, neginf=0.0)
        low, high = float(maps.min()), float(maps.max())
        step = max(high - low, 1e-12) / 255
        sheet[place, :, :, :stages] = np.rint((maps - low) / step).transpose(0, 2, 1, 3)
        dark, bright = np.percentile(maps[0, 0], [1, 99])
        scales.append([float(f"{value:.6g}") for value in (low, step, dark, bright)])
    for row, (_, strip) in enumerate(there):
        sheet[:, row, :, stages] = 255 * strip.region.astype(np.uint8)
    return {
        "channels": numbers,
        "numbers": [number for number, _ in there],
        "height": height,
        "width": width,
        "scales": scales,
        "source": _address(sheet.reshape(-1, (stages + 1) * width), lossless=True),
    }


def _pictures(strips: Sequence[Strip], image: int, count: int) -> dict[str, Any]:
    """An image as it is, then under each transform, from top to bottom."""
    found = {strip.transform: strip for strip in strips if strip.image == image}
    numbers = [number for number in range(count) if number in found]
    views = [picture(found[numbers[0]].images[0])]
    views += [picture(found[number].images[1]) for number in numbers]
    height, width, _ = views[0].shape
    return {
        "numbers": numbers,
        "height": height,
        "width": width,
        "source": _address(np.rint(255 * np.concatenate(views)).astype(np.uint8), lossless=False),
    }


def _address(
    pixels: UInt8[np.ndarray, "height width"] | UInt8[np.ndarray, "height width 3"],
    *,
    lossless: bool,
) -> str:
    """A picture as an address that holds it."""
    stream = io.BytesIO()
    kind = "WEBP" if max(pixels.shape[:2]) <= _LARGEST_WEBP else "PNG"
    Image.fromarray(pixels).save(stream, kind, lossless=lossless, quality=80)
    coded = base64.b64encode(stream.getvalue()).decode("ascii")
    return f"data:image/{kind.lower()};base64,{coded}"


_LARGEST_WEBP = 16_000
"""Pixels along a side that WebP takes, about."""
