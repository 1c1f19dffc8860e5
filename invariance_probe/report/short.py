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
_NO_BY_SEARCH = ("no: none found", "no")
_DOES = {
    "can live": ("yes", "yes"),
    "no warp": ("no: bound", "no"),
    "undecided": ("undecided", "open"),
    "grid": ("grid too coarse", "open"),
    "permutation": _NO_BY_SEARCH,
    "mixing": _NO_BY_SEARCH,
    "input": _NO_BY_SEARCH,
}
"""Answers to: would a warp of the map do? By rule, with their tones."""
_ANSWERS = {
    Method.IDENTITY: "nothing undone",
    Method.ORACLE: "map warped back exactly",
    Method.FLOOR: "map of a perfect layer",
    Method.INPUT: "image warped back",
}
"""What was put back, in words."""


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
    for family, name in judged:
        each = [rules.rules_met(layers[str(name)])[0] for layers in strengths[str(family)].values()]
        # the mean over strengths advises nothing that does not hold for each of them
        if judged[family, name] in {"can live", "permutation"} and len(set(each)) > 1:
            judged[family, name] = "undecided"
    grids = [
        _grid(family, found, strengths[family], put_back, moves_put_back, images)
        for family in families
    ]
    sentences = [
        _by_strength(family, strengths[family])
        if strengths[family]
        else _where(family, found, judged)
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
            alt="What the best affine warp found leaves, layer by layer, between what a perfect "
            "layer would leave and chance; the numbers are in the tables that follow.",
            caption="What the best affine warp found leaves, between a perfect layer and unrelated "
            "images, and what is proven to be beyond any warp; means over all strengths, with "
            "95 % intervals over images.",
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
            "ruled out; on the image a perfect transformer undoes it (claim P2)."
        )
    if not said:
        some = " shown to" if met & {"undecided", "unknown", "grid"} else ""
        verb = f"is a warp of the map{some} do" if some else "does a warp of the map do"
        return f"The image is the safe place for a transformer: at no layer that was probed {verb}."
    text = "; ".join(said)
    return f"{text[0].upper()}{text[1:]}; elsewhere the image is the safe place."


def _where(
    family: str,
    found: dict[tuple[object, ...], rules.Residuals],
    judged: dict[tuple[object, ...], str],
) -> str:
    """At which layers a warp would do, where only means over all strengths are known."""
    here = {str(name): one for (f, name), one in found.items() if f == family}
    at = {rule: [n for n in here if judged[family, n] == rule] for rule in rules.VERDICTS}
    said = []
    if at["can live"]:
        said.append(f"a warp of the map does at {', '.join(at['can live'])}")
    if at["no warp"]:
        said.append(f"none can, by the proven bound, at {', '.join(at['no warp'])}")
    none = [n for n in here if judged[family, n] in {"input", "mixing", "permutation"}]
    if none:
        said.append(f"no warp that was found does at {', '.join(none)}")
    if at["grid"]:
        said.append(f"cells lie too far apart to tell at {', '.join(at['grid'])}")
    if at["undecided"]:
        said.append(f"undecided at {', '.join(at['undecided'])}")
    if at["unknown"]:
        said.append(f"not measured at {', '.join(at['unknown'])}")
    return f"{family.capitalize()}, over all strengths: {'; '.join(said)}."


def _by_strength(family: str, strengths: dict[str, dict[str, rules.Residuals]]) -> str:
    """How often a warp does among layers and strengths; where nowhere, how far off the nearest."""
    met = {
        (words, name): rules.rules_met(one)[0]
        for words, layers in strengths.items()
        for name, one in layers.items()
    }
    does = {
        words: [n for w, n in met if w == words and met[w, n] == "can live"] for words, _ in met
    }
    there = [f"by {words} at {', '.join(names)}" for words, names in does.items() if names]
    layers = len({name for _, name in met})
    said = (
        f"{family.capitalize()}: of {len(met)} cases ({layers} layer{'s' * (layers != 1)}, "
        f"{_listed(list(strengths))}) a warp of the map is shown to do in "
        f"{sum(map(len, does.values()))}"
    )
    said += f", {'; '.join(there)}" if there else ""
    told = {
        "no: none found": "the best affine warp found leaves too much in {}",
        "no: bound": "any warp leaves too much, by a proven bound, in {}",
        "undecided": "{} are undecided",
        "grid too coarse": "in {} the cells lie too far apart to tell",
        "not measured": "{} were not measured",
    }
    answers = [_DOES.get(rule, ("not measured", ""))[0] for rule in met.values()]
    parts = [words.format(count) for key, words in told.items() if (count := answers.count(key))]
    said += "".join(f"; {part}" for part in parts) + "."
    return said if there else said + _nearest(met, strengths)


def _listed(strengths: Sequence[str]) -> str:
    """Strengths in words, however many."""
    if len(strengths) == 1:
        return f"by {strengths[0]}"
    return f"by {', '.join(strengths[:-1])} and {strengths[-1]}"


def _nearest(
    met: dict[tuple[str, str], str], strengths: dict[str, dict[str, rules.Residuals]]
) -> str:
    """Of the cases whose cells lie close enough, the one nearest to a perfect layer."""
    times = {
        (words, name): strengths[words][name].ratio(Method.AFFINE, Method.FLOOR)
        for (words, name), rule in met.items()
        if rule not in {"grid", "unknown"}
    }
    if not times:
        return ""
    words, name = min(times, key=lambda key: times[key].mean)
    return (
        f" Where cells lie close enough, nearest is {name} by {words}: the best affine warp leaves "
        f"{_times(times[words, name])} times a perfect layer ({rules.NEAR_FLOOR:g} would do)."
    )


def _times(ratio: rules.Estimate, digits: int = 3) -> str:
    """How many times as much; beyond a hundred the number says no more."""
    if ratio.mean > _MANY:
        return f"over {_MANY:.0f}"
    end = f", {'over ' * (ratio.high > _MANY)}{min(ratio.high, _MANY):.{digits}g}]"
    interval = "" if math.isnan(ratio.low) else f" [{ratio.low:.{digits}g}{end}"
    return f"{ratio.mean:.{digits}g}{interval}"


_MANY = 100.0
"""Times a perfect layer, above which the ratio is not written out."""


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
            f"{_share(back.iloc[0])} if the image is warped back; if the map is, by the exact "
            f"inverse, for {_share(warped.iloc[0])} at {warped.iloc[0]['layer']}, and at best for "
            f"{_share(best)} at {best['layer']}"
        )
        for method, words in (
            (Method.FLOOR, "even the map of a perfect layer, on the same cells, gives it to"),
            (Method.IDENTITY, "if nothing is undone, it stays for"),
        ):
            if len(mean := by[str(method)]["mean"]):
                low, high = mean.min(), mean.max()
                span = f"{100 * low:.0f}" + (f" to {100 * high:.0f}" if high > low else "")
                text += f"; {words} {span} %"
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
            " Proven, image by image, are the bounds on any warp alone: none with bilinear reading "
            "leaves less."
        )
    else:
        said += " Nothing is proven (`--explain` certifies bounds)."
    if any(not math.isnan(one.of(Method.AFFINE).mean) for one in found.values()):
        said += " The best affine warp is the best that a search found."
    if any(not math.isnan(one.of(Method.FLOOR).mean) for one in found.values()):
        said += " What a perfect layer leaves is an estimate."
    if all(math.isnan(one.of(Method.INPUT).mean) for one in found.values()):
        said += (
            " That a warp of the image undoes all but what left it is theory (P2), measured here "
            "only where answers are."
        )
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
        "Would a warp of the map do? Yes: the best affine one found leaves at most "
        f'{rules.NEAR_FLOOR:g} times what a perfect layer ("× perfect") would, one whose map '
        "moves exactly with the image and is read at the same cells. No, none found: it leaves "
        "more, though another warp might not. No, bound: at least half of what it leaves, and over "
        f"{rules.NEAR_FLOOR:g} times what a perfect layer would, is proven to be beyond any warp. "
        f"Grid too coarse: a perfect layer would leave over {rules.COARSE:g} as well. Undecided: "
        "the 95 % interval of what decides holds the threshold. Left: 0 for a perfect map, 1 for "
        f"the channel means{_chance(list(here.values()))}."
    )
    if told:
        note += f" Same answer: after {_named(family, moves_put_back)}, share of {images} images."
    if Method.IDENTITY in told:
        note += (
            " Only the part of a map that both images show is put back, the rest stays the upright "
            "image's; so the answer with nothing undone differs by layer."
        )
    if Method.FLOOR in told:
        note += (
            " A perfect layer's map is estimated: the upright one, and an error of the size that "
            "its cells cost."
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
    affine, bound = one.of(Method.AFFINE), one.of(Method.ANY_WARP).mean
    times = one.ratio(Method.AFFINE, Method.FLOOR)
    lines = [f"left {affine}"]
    lines += [] if math.isnan(times.mean) else [f"{_times(times, 2)} × perfect"]
    lines += [] if math.isnan(bound) else [f"any warp: {bound:.2f} or more"]
    rule = rules.rules_met(one)[0]
    answer, tone = _DOES.get(rule, (rules.VERDICTS[rule], "open"))
    return Cell("\n".join(lines), repr(affine.mean), answer, tone)


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
