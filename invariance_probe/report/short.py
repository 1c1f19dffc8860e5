"""What a page says first of a probe: where a transformer belongs, what is lost, how sure."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from invariance_probe.report import rules
from invariance_probe.report.blocks import Cell, Drawing, Grid, Short
from invariance_probe.results.methods import Method
from invariance_probe.results.store import MOST_ROWS, InMemory
from invariance_probe.results.tables import ProbeTables
from invariance_probe.statistics import interval_words

UNITS = {"rotation": "°", "reflection": "°", "scaling": " times", "translation": " px"}
"""What follows the parameter of a family."""

MOST_STRENGTHS = 6
"""Strengths of a family of transforms that its table has a column for."""
_DOES = {"can live": "yes", "no warp": "no, proven", "undecided": "undecided"}
_DOES |= {"grid": "grid too coarse", "permutation": "no", "mixing": "no", "input": "no"}
"""Answers to: would a warp of the map do? By rule."""
_ANSWERS = {
    Method.IDENTITY: "nothing undone",
    Method.ORACLE: "map warped back exactly",
    Method.INPUT: "image warped back",
}


def short(
    summary: pd.DataFrame,
    tables: ProbeTables | None,
    put_back: pd.DataFrame | None,
    moves_put_back: Sequence[dict[str, Any]],
    images: int,
) -> Short:
    """Answer in a sentence, a figure and a table a family.

    Args:
        summary: Of residuals by layer, family and method.
        tables: Of the same run, where they are there.
        put_back: Summary of the same network with its maps put back, or None.
        moves_put_back: Transforms of that run.
        images: How many images the means are over.

    Returns:
        What a reader sees first.
    """
    found = rules.residuals(summary, ["transform", "layer"], tables)
    families = list(dict.fromkeys(str(family) for family, _ in found))
    judged = {key: rules.rules_met(one)[0] for key, one in found.items()}
    strengths = {
        family: _strengths(tables, family) if tables is not None else {} for family in families
    }
    grids = [
        _grid(family, found, strengths[family], put_back, moves_put_back, images)
        for family in families
    ]
    sentences = [
        _where(family, found, judged, several=len(strengths[family]) > 1)
        + _from_the_mildest(strengths[family])
        for family in families
    ]
    if put_back is not None:
        sentences += _lost(put_back, moves_put_back)
    sentences.append(_how_sure(found, images))
    from invariance_probe.report import short_figure  # matplotlib is slow to import

    return Short(
        sentence=_advice(judged),
        points=tuple(sentences),
        figure=Drawing(
            alt="What the best warp found leaves, layer by layer, between what a perfect layer "
            "would leave and chance; the numbers are in the tables that follow.",
            caption="Left by the best warp found, between a perfect layer and unrelated images. "
            "Bars: 95 % intervals over images.",
            svg=short_figure.svg(found),
        ),
        grids=tuple(grids),
    )


def _advice(judged: dict[tuple[object, ...], str]) -> str:
    """Where a transformer belongs."""
    said = []
    for rule, words in (
        ("can live", "a transformer can sit on the map of {layers} under {family}"),
        ("permutation", "under {family} a group-equivariant layer fits {layers}"),
    ):
        for family in dict.fromkeys(str(family) for family, _ in judged):
            at = [str(n) for (f, n), met in judged.items() if f == family and met == rule]
            if at:
                said.append(words.format(layers=", ".join(at), family=family))
    met = set(judged.values())
    if not said and met <= {"unknown"}:
        return "Not asked: the best affine warp, or what a perfect layer leaves, was not measured."
    if not said and met <= {"unknown", "undecided", "grid"}:
        return (
            "Undecided: a warp of the map is neither shown to do at a layer that was probed nor "
            "ruled out; on the image (C0) a perfect transformer undoes it (P2)."
        )
    if not said:
        some = " shown to" if met & {"undecided", "unknown", "grid"} else ""
        verb = f"is a warp of the map{some} do" if some else "does a warp of the map do"
        return f"Put the transformer on the image (C0): at no layer that was probed {verb}."
    text = "; ".join(said)
    return f"{text[0].upper()}{text[1:]}; elsewhere put it on the image (C0)."


def _where(
    family: str,
    found: dict[tuple[object, ...], rules.Residuals],
    judged: dict[tuple[object, ...], str],
    *,
    several: bool,
) -> str:
    """At which layers a warp would do, by means over all strengths of a family."""
    here = {str(name): one for (f, name), one in found.items() if f == family}
    at = {rule: [n for n in here if judged[family, n] == rule] for rule in rules.VERDICTS}
    said = []
    if at["can live"]:
        said.append(f"a warp of the map does at {', '.join(at['can live'])}")
    if at["no warp"]:
        said.append(f"no warp can at {', '.join(at['no warp'])} (proven)")
    none = [n for n in here if judged[family, n] in {"input", "mixing", "permutation"}]
    if none:
        said.append(f"no warp that was found does at {', '.join(none)}")
    if at["grid"]:
        said.append(f"cells lie too far apart to tell at {', '.join(at['grid'])}")
    if at["undecided"]:
        said.append(f"undecided at {', '.join(at['undecided'])}")
    if at["unknown"]:
        said.append(f"not measured at {', '.join(at['unknown'])}")
    # a single strength may be decided otherwise: the table has each
    over = ", in the mean over its strengths" if several else ""
    return f"{family.capitalize()}{over}: {'; '.join(said)}."


def _from_the_mildest(strengths: dict[str, dict[str, rules.Residuals]]) -> str:
    """At which strengths a warp does somewhere; where at none, how far off the nearest layer is."""
    met = {
        (words, name): rules.rules_met(one)[0]
        for words, layers in strengths.items()
        for name, one in layers.items()
    }

    def where(rule: str) -> str:
        at = {words: [n for w, n in met if w == words and met[w, n] == rule] for words in strengths}
        return "; ".join(
            f"by {words} at {', '.join(names)}" for words, names in at.items() if names
        )

    if does := where("can live"):
        return f" By strength, a warp does {does}."
    said = f" Cells lie too far apart to tell {coarse}." if (coarse := where("grid")) else ""
    times = {
        (words, name): strengths[words][name].ratio(Method.AFFINE, Method.FLOOR)
        for (words, name), rule in met.items()
        if rule not in {"grid", "unknown"}
    }
    if not times:
        return said
    words, name = min(times, key=lambda key: times[key].mean)
    return (
        f" By none of {', '.join(strengths)} is it shown to do at any layer; nearest is {name} by "
        f"{words}, where the best warp leaves {times[words, name]} times what a perfect layer does "
        f"({rules.NEAR_FLOOR:g} would do).{said}"
    )


def _lost(put_back: pd.DataFrame, moves: Sequence[dict[str, Any]]) -> list[str]:
    """What the network says once maps are put back."""
    same = put_back[put_back["metric"] == "agreement"]
    out = []
    for family in dict.fromkeys(same["transform"].astype(str)):
        rows = same[same["transform"].astype(str) == family]
        by = {m: rows[rows["method"] == m] for m in map(str, _ANSWERS)}
        if any(len(by[str(m)]) == 0 for m in (Method.INPUT, Method.ORACLE)):
            continue
        warped, back = by[str(Method.ORACLE)], by[str(Method.INPUT)]
        best = warped.loc[warped["mean"].idxmax()]
        text = (
            f"Cost of {_named(family, moves)}: the answer is that of the upright image for "
            f"{_share(back.iloc[0])} if the image is warped back; if the map is, by the exact inverse, "
            f"for {_share(warped.iloc[0])} at {warped.iloc[0]['layer']}, and at best for "
            f"{_share(best)} at {best['layer']}"
        )
        nothing = by[str(Method.IDENTITY)]
        if len(nothing):
            low, high = nothing["mean"].min(), nothing["mean"].max()
            span = f"{100 * low:.0f}" + (f" to {100 * high:.0f}" if high > low else "")
            text += f"; if nothing is undone, for {span} %"
        out.append(f"{text}.")
    return out


def _named(family: str, moves: Sequence[dict[str, Any]]) -> str:
    values = sorted({abs(float(m["parameter"])) for m in moves if m["kind"] == family})
    values = [value for value in values if not math.isnan(value)]
    unit = UNITS.get(family, "")
    return f"a {family} by {' or '.join(f'{v:g}{unit}' for v in values)}" if values else family


def _share(row: pd.Series) -> str:
    return rules.Estimate(float(row["mean"]), float(row["low"]), float(row["high"])).percent


def _how_sure(found: dict[tuple[object, ...], rules.Residuals], images: int) -> str:
    """What the numbers rest on, and which of them are proven."""
    said = f"How sure: {images} image{'s' * (images != 1)}; {interval_words(images)}."
    if any(not math.isnan(one.of(Method.ANY_WARP).mean) for one in found.values()):
        said += (
            " Proven, image by image, are the bounds alone: no spatial warp with bilinear reading "
            "leaves less."
        )
    else:
        said += " Nothing is proven (`--explain` certifies bounds)."
    if any(not math.isnan(one.of(Method.AFFINE).mean) for one in found.values()):
        said += " The best warp is the best that a search found."
    if any(not math.isnan(one.of(Method.FLOOR).mean) for one in found.values()):
        said += " What a perfect layer leaves is an estimate."
    return said


def _grid(
    family: str,
    found: dict[tuple[object, ...], rules.Residuals],
    strengths: dict[str, dict[str, rules.Residuals]],
    put_back: pd.DataFrame | None,
    moves_put_back: Sequence[dict[str, Any]],
    images: int,
) -> Grid:
    """Layers down; strengths, anchors, the proven bound and what is lost across."""
    here = {str(name): one for (f, name), one in found.items() if f == family}
    # a summary without its table knows no strengths
    asked = strengths or {"": here}
    columns = ["layer", *(f"by {words}" for words in strengths)]
    columns += [] if strengths else ["would a warp of the map do?"]
    answers = pd.DataFrame()
    if put_back is not None:
        rows = put_back[(put_back["metric"] == "agreement") & (put_back["transform"] == family)]
        answers = rows[rows["method"].isin([str(method) for method in _ANSWERS])]
    told = [m for m in _ANSWERS if (answers.get("method", pd.Series(dtype=str)) == m).any()]
    columns += [f"same answer: {_ANSWERS[method]}" for method in told]
    out = []
    for name in here:
        cells = [Cell(name, ""), *(_verdict(column.get(name)) for column in asked.values())]
        for method in told:
            row = answers[(answers["layer"] == name) & (answers["method"] == method)]
            shown = [(_share(each), float(each["mean"])) for _, each in row.iterrows()]
            cells += [Cell(text.replace(" [", "\n["), repr(mean)) for text, mean in shown] or [_NO]
        out.append(tuple(cells))
    note = (
        "Would a warp of the map do? Yes, where the best one found leaves at most "
        f"{rules.NEAR_FLOOR:g} times what a perfect layer would; no, proven, where even a warp "
        "that nobody tried leaves more. Below: what is left, 0 for a perfect map, 1 for one no "
        f"better than the channel means{_chance(list(here.values()))}; then what a perfect layer "
        "would leave, and what any warp is proven to leave at least."
    )
    if told:
        note += f" Same answer: after {_named(family, moves_put_back)}, share of {images} images."
    if Method.IDENTITY in told:
        note += (
            " With nothing undone it differs by layer, as a map holds the upright image's content "
            "beyond the part that is compared."
        )
    return Grid(title=f"{family.capitalize()}", columns=tuple(columns), rows=tuple(out), note=note)


def _chance(here: Sequence[rules.Residuals]) -> str:
    """What unrelated images leave, in the words of a note."""
    means = [one.of(Method.UNRELATED).mean for one in here]
    known = [f"{mean:.2f}" for mean in sorted(means) if not math.isnan(mean)]
    if not known:
        return ""
    return f", {' to '.join(dict.fromkeys((known[0], known[-1])))} for unrelated images"


_NO = Cell("–", "")


def _verdict(one: rules.Residuals | None) -> Cell:
    """A rule's word over what the best warp leaves, and what that is judged by."""
    if one is None or math.isnan(one.of(Method.AFFINE).mean):
        return _NO
    affine, rule = one.of(Method.AFFINE), rules.rules_met(one)[0]
    lines = [f"left {affine}"]
    for words, method in (("perfect layer", Method.FLOOR), ("proven ≥", Method.ANY_WARP)):
        mean = one.of(method).mean
        lines += [] if math.isnan(mean) else [f"{words} {mean:.2f}"]
    return Cell("\n".join(lines), repr(affine.mean), _DOES.get(rule, rules.VERDICTS[rule]))


def _strengths(tables: ProbeTables, family: str) -> dict[str, dict[str, rules.Residuals]]:
    """By strength and layer, both directions together; the strongest is among them."""
    signed = family != "scaling"
    by: dict[float, list[int]] = {}
    for number in tables.moves:
        move = tables.config["moves"][number]
        value = float(move["parameter"])
        if move["kind"] == family and not math.isnan(value):
            by.setdefault(abs(value) if signed else value, []).append(number)
    values = sorted(by)
    if len(values) > MOST_STRENGTHS:
        kept = np.linspace(0, len(values) - 1, MOST_STRENGTHS).round().astype(int)
        values = [values[place] for place in kept]
    first = {number: by[value][0] for value in values for number in by[value]}
    if tables.rows.count > MOST_ROWS or not first:
        return {}
    table = tables.frame(metric="fvu", transform_number=list(first))
    table = table.assign(
        transform_number=table["transform_number"].map(first),
        parameter=table["parameter"].abs() if signed else table["parameter"],
    )
    folded = rules.by_transform(replace(tables, rows=InMemory(table=table)))
    unit = UNITS.get(family, "")
    return {
        f"{'±' * (len(by[value]) > 1)}{value:g}{unit}": {
            layer: one for (number, layer), one in folded.items() if number == by[value][0]
        }
        for value in values
    }
