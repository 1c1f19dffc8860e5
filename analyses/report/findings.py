"""Findings 1 to 4 of the papers, judged on the trainings of a report.

For each finding and task there is *one* primary contrast, chosen before the runs (see
``analyses/results/PLAN.md``); all primary contrasts of a report are one family. Whatever else the
trainings say is described, with intervals and without verdicts. Of several setups of a task the
widest network, then the longest training, decides. Differences of errors and slopes are between
runs of the same seed; runs that diverged have neither and are counted.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import pandas as pd

from analyses.report.paired import (
    CONFIRMED,
    CONTRADICTED,
    UNDECIDED,
    Contrast,
    Said,
    Verdict,
    judged,
    paired,
    shares,
    unpaired,
)
from analyses.training_plan import TAKEN_OFF
from invariance_probe.perturbations.parsing import parse_perturbation
from invariance_probe.report.blocks import Drawing, Item, Section, Short
from invariance_probe.report.trainings import SETUP
from invariance_probe.stn.variants import parse_variant

MARGIN, SLOPE_MARGIN, SHARE_MARGIN, GAIN_MARGIN = 0.25, 0.1, 0.25, 0.1
"""Differences that count as none: of errors, in points; of slopes; of shares of the seeds; of
shares of an error that are saved."""
TURNING = ("rotation", "scaling")
"""Perturbations of which a feature map cannot be relieved by a warp."""

_PAPERS = "auto"
"""The classifier that the papers use for the data."""
_STATEMENTS = {
    1: "Transforming the input beats transforming a feature map under rotation and scaling, and "
    "less so under translation.",
    2: "Deeper localization networks that share no parameters become hard to train; shared ones "
    "stay stable as they grow deeper.",
    3: "Iterating helps the transformer on the image; it does not replace rich features.",
    4: "A network that may only transform a feature map compensates the pose less: a smaller slope "
    "of predicted against applied pose.",
}
_TONES = {CONFIRMED: "yes", CONTRADICTED: "no"}
_KINDS = {
    "c": "transformer on the map after layer {}",
    "dl": "transformer on the image steered by {} layer{} of its own",
    "sl": "transformer on the image steered by {} shared layer{}",
}


def spoken(variant: str) -> str:
    """Name a variant in plain words.

    Args:
        variant: As on the command line.

    Returns:
        What it transforms and what steers it.
    """
    parts = []
    for place in parse_variant(variant).placements:
        words = _KINDS[place.kind].format(place.depth, "s" if place.depth > 1 else "")
        words = "transformer on the image" if place.kind == "c" and place.depth == 0 else words
        steps = f", {place.steps} steps" + " of one localizer" * place.shared
        parts.append(words + (steps if place.steps > 1 else ""))
    return " and ".join(parts) or "network without a transformer"


class Task(NamedTuple):
    """Trainings that differ in variant and seed alone.

    Attributes:
        words: Data and perturbation, the classifier where it is another than the papers', and the
            setup where several were trained.
        label: Perturbation with its range, in words.
        kind: Of the perturbation, without its range.
        network: Classifier.
        decides: Whether it is the setup that verdicts rest on.
        numbers: By variant and seed, a column each number.
    """

    words: str
    label: str
    kind: str
    network: str
    decides: bool
    numbers: pd.DataFrame

    @property
    def plainly(self) -> str:
        """Perturbation, and the classifier where it is another than the papers'."""
        other = f", {self.network} network" if self.network != _PAPERS else ""
        return f"under {self.label}{other}"

    def of(self, variant: str, name: str) -> pd.Series:
        """Look a number up.

        Args:
            variant: Which network.
            name: Which number.

        Returns:
            By seed.
        """
        found: pd.Series = self.numbers.loc[variant][name]
        return found

    @property
    def variants(self) -> list[str]:
        """Networks that were trained."""
        return list(dict.fromkeys(self.numbers.index.get_level_values("variant")))

    def plain(self, kind: str) -> dict[int, str]:
        """Look networks with one transformer and one step up.

        Args:
            kind: ``"c"``, ``"dl"`` or ``"sl"``.

        Returns:
            Names by depth, from 1.
        """
        out = {}
        for name in self.variants:
            places = parse_variant(name).placements
            if len(places) == 1 and places[0].steps == 1 and places[0].kind == kind:
                out[places[0].depth] = name
        return {depth: out[depth] for depth in sorted(out) if depth > 0}

    def slope(self, variant: str) -> pd.Series:
        """Look up how much of the pose a network undoes.

        Args:
            variant: Which network.

        Returns:
            By seed, the mean slope over the numbers of the pose; NaN where none was measured.
        """
        names = [name for name in self.numbers if str(name).startswith("slope_")]
        return self.numbers.loc[variant][names].astype(float).mean(axis=1)

    def failures(self, variant: str) -> tuple[int, int]:
        """Count the seeds that diverged, or whose localizer did not take off.

        Args:
            variant: Which network.

        Returns:
            How many of how many; where no pose was applied those alone that diverged.
        """
        slopes = self.slope(variant)
        failed = self.of(variant, "outcome") != "finished"
        failed |= slopes.notna() & (slopes <= TAKEN_OFF)
        return int(failed.sum()), len(failed)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What the trainings say of a finding, before it is judged.

    Attributes:
        primary: The contrasts that were planned.
        described: Others.
        missing: What the finding needs and these trainings lack.
    """

    primary: list[Contrast] = field(default_factory=list)
    described: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


def gathered(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Put trainings of several sources under each other, each training once.

    Args:
        tables: A row a training, with ``data``, ``perturbation``, ``variant``, ``seed``, ``error``,
            ``outcome`` and what there is of the setup.

    Returns:
        All of them, with ``setup``: the same for runs that may be compared.
    """
    frames = []
    for table in tables:
        known = [name for name in (*SETUP, "steps", "preset") if name in table]
        labels = [repr(row) for row in table[known].itertuples(index=False, name=None)]
        frames.append(table.assign(setup=labels if known else ""))
    whole = pd.concat(frames, ignore_index=True)
    if "alignment" in whole:
        whole = whole[whole["alignment"].isna() | (whole["alignment"] == "predicted")]
    # an analysis's table repeats the runs it read; seconds tell two equal runs apart
    same = ["data", "perturbation", "variant", "seed", "error", "seconds"]
    return whole.drop_duplicates([name for name in same if name in whole], ignore_index=True)


def tasks(trained: pd.DataFrame) -> list[Task]:
    """Split trainings into what can be compared.

    Args:
        trained: What `gathered` returned.

    Returns:
        One for each data set, perturbation, classifier and setup; of each but the setup one
        decides.
    """
    out: list[Task] = []
    if trained.empty:
        return out
    rows = trained if "network" in trained else trained.assign(network=_PAPERS)
    for (data, perturbation, network), alike in rows.groupby(
        ["data", "perturbation", "network"], sort=False
    ):
        setups = [each for _, each in alike.groupby("setup", sort=False)]
        ranks = [_rank(each) for each in setups]
        for each, rank in zip(setups, ranks, strict=True):
            once = each.drop_duplicates(["variant", "seed"], keep="last")
            words = f"{data} under {perturbation}"
            words += f" ({network} network)" if network != _PAPERS else ""
            words += f" (width {rank[0]:g}, {rank[1]:g} steps)" if len(setups) > 1 else ""
            out.append(
                Task(
                    words=words,
                    label=parse_perturbation(str(perturbation)).label,
                    kind=str(perturbation).partition("=")[0],
                    network=str(network),
                    decides=rank == max(ranks),
                    numbers=once.set_index(["variant", "seed"]).sort_index(),
                )
            )
    return out


def _rank(rows: pd.DataFrame) -> tuple[float, float, int]:
    """Width, length and number of the runs of a setup."""
    return (
        float(rows["width"].max()) if "width" in rows else 1.0,
        float(rows["last_step"].max()) if "last_step" in rows else 0.0,
        len(rows),
    )


def section(trained: pd.DataFrame) -> Section:
    """Judge the findings.

    Args:
        trained: What `gathered` returned, or an empty frame.

    Returns:
        A part of the page with verdicts for each, corrected for the number of all.
    """
    found = tasks(trained)
    findings = {
        1: input_beats_map(found),
        2: depth_needs_sharing(found),
        3: iterating_helps(found),
        4: maps_compensate_less(found),
    }
    verdicts = iter(judged([each for finding in findings.values() for each in finding.primary]))
    items, meaning, shorts = [], [], []
    for number, finding in findings.items():
        own = [next(verdicts) for _ in finding.primary]
        badge = together(own)
        meaning += _plainly(number, own)
        shorts.append(_short(number, own, badge))
        items.append(
            Item(
                id=f"finding-{number}",
                title=f"Finding {number}",
                badge=badge,
                tone=_TONES.get(badge, "open"),
                text=(_STATEMENTS[number],),
                points=(
                    *(f"Primary: {verdict}." for verdict in own),
                    *(f"{words}." for words in finding.described),
                    *(f"Not in this report: {one}." for one in finding.missing),
                ),
            )
        )
    return Section(
        id="findings",
        title="The papers' findings",
        kind="judged on the trainings of this report",
        lead=(
            "For each finding and task one primary contrast decides, chosen before the runs; it is "
            "a difference that the finding says is positive, with its 95 % interval over seeds. "
            "Confirmed or contradicted: it is not 0 (Holm's correction over all primary contrasts "
            f"of the page). Equivalent: it lies within {MARGIN:g} points of error, "
            f"{SLOPE_MARGIN:g} of a slope or {SHARE_MARGIN:g} of the seeds. Everything else is "
            f"description. A localizer has taken off if its slope exceeds {TAKEN_OFF:g}.",
        ),
        meaning=tuple(meaning) if any(finding.primary for finding in findings.values()) else (),
        items=tuple(items),
        shorts=tuple(shorts) if meaning and not trained.empty else (),
    )


def _short(number: int, verdicts: Sequence[Verdict], badge: str) -> Short:
    """A finding as the page begins with it: in plain words, with its figure and verdict."""
    from analyses.report import findings_figure  # matplotlib is slow to import

    said = [words.partition(", ")[2] for words in _plainly(number, verdicts)] if verdicts else []
    figure = Drawing(
        alt=f"Finding {number}: {' '.join(said)}",
        caption="The difference that the finding says is positive, with its 95 % interval over "
        "seeds; grey: what would count as none.",
        svg=findings_figure.svg(verdicts, f"finding-{number}") if verdicts else b"",
    )
    return Short(
        sentence=f"{number}. {_STATEMENTS[number]}",
        points=tuple(words[0].upper() + words[1:] for words in said)
        or ("The trainings of this report do not ask it.",),
        figure=figure if verdicts else None,
        badge=badge if verdicts else "not asked",
        tone=_TONES.get(badge, "open"),
    )


def together(verdicts: Sequence[Verdict]) -> str:
    """Say what several tasks make of one finding.

    Args:
        verdicts: One a task.

    Returns:
        Their word where it is the same for all; else how many say what; undecided without any.
    """
    words = [verdict.word for verdict in verdicts]
    if len(set(words)) <= 1:
        return words[0] if words else UNDECIDED
    counts = [f"{words.count(word)} {word}" for word in dict.fromkeys(words)]
    return f"{', '.join(counts)} of {len(words)} tasks"


def _plainly(number: int, verdicts: Sequence[Verdict]) -> list[str]:
    """A finding as somebody reads it first: what it claims, and a sentence a verdict."""
    if not verdicts:
        return [f"Finding {number}, not asked here: {_STATEMENTS[number]}"]
    out = []
    for verdict in verdicts:
        said = verdict.contrast.said
        words = said.of(verdict.contrast) if said else str(verdict.contrast)
        more = f"; {verdict.needed} seeds would decide" if verdict.needed else ""
        out.append(f"Finding {number}, {verdict.word}: {words}{more}.")
    return out


def _less(task: Task, one: str, other: str, name: str) -> list[float]:
    """One number less another, for the seeds that both have."""
    differences = (task.of(one, name) - task.of(other, name)).dropna()
    return [float(value) for value in differences]


def _errors(task: Task, one: str, other: str) -> Contrast:
    """Error of one network less that of another, in points."""
    words = f"{task.words}, error of the {spoken(one)} less that of the {spoken(other)}"
    points = [100 * value for value in _less(task, one, other, "error")]
    said = Said(
        sentence=f"{task.plainly}, a {spoken(one)} makes {{}} errors than a {spoken(other)}",
        more="points more",
        less="points fewer",
    )
    return replace(paired(words, points, margin=MARGIN, unit=" points"), said=said)


def _started(task: Task) -> list[str]:
    """How many seeds of each network took off."""
    out = []
    for variant in task.variants:
        slopes = task.slope(variant)
        if parse_variant(variant).placements and slopes.notna().any():
            failed, among = task.failures(variant)
            out.append(f"{spoken(variant)} {among - failed} of {among}")
    return [f"{task.words}, seeds that took off: {', '.join(out)}"] if out else []


def _pairs(task: Task) -> Iterator[tuple[str, str]]:
    """A network that moves a map, and one that moves the image."""
    for depth, moved in task.plain("c").items():
        for other in ("c0", f"sl{depth}"):
            if other in task.variants:
                yield moved, other


def _is_primary(task: Task) -> bool:
    """Whether a task sets the transformers of the image and of the first map side by side."""
    return task.decides and task.network == _PAPERS and {"c0", "c1"} <= set(task.variants)


def input_beats_map(found: Sequence[Task]) -> Finding:
    """Set finding 1 out.

    Args:
        found: All tasks.

    Returns:
        Primary: error of C1 less that of C0, under rotation and scaling; and, under translation,
        the share of C1's error that C0 saves under rotation, less that which it saves there.
    """
    out = Finding()
    turned = [task for task in found if _is_primary(task) and task.kind == "rotation"]
    for task in found:
        primary = _is_primary(task)
        if primary and task.kind in TURNING:
            out.primary.append(_errors(task, "c1", "c0"))
        if primary and task.kind == "translation" and turned:
            words = f"{task.words}, share of its error that the {spoken('c1')} would save on the "
            words += "image under rotation less the share here"
            contrast = unpaired(words, _gains(turned[0]), _gains(task), margin=GAIN_MARGIN)
            said = Said(
                sentence="the share of errors that a transformer saves by moving from the first "
                f"map to the image is {{}} under {turned[0].label} than under {task.label}",
                more="larger",
                less="smaller",
            )
            out.primary.append(replace(contrast, said=said))
        for moved, other in _pairs(task):
            if not (primary and task.kind in TURNING and (moved, other) == ("c1", "c0")):
                out.described.append(str(_errors(task, moved, other)))
        out.described.extend(_started(task))
    for kind in (*TURNING, "translation"):
        if not any(_is_primary(task) and task.kind == kind for task in found):
            out.missing.append(f"{spoken('c1')} beside {spoken('c0')} under {kind}")
    return out


def _gains(task: Task) -> list[float]:
    """By seed, the share of C1's error that C0 saves."""
    shares = 1 - task.of("c0", "error") / task.of("c1", "error").replace(0.0, math.nan)
    return [float(value) for value in shares.dropna()]


def depth_needs_sharing(found: Sequence[Task]) -> Finding:
    """Set finding 2 out.

    Args:
        found: All tasks.

    Returns:
        Primary: at the deepest layer that both have, the share of seeds that failed (diverged, or
        did not take off) with layers of their own less that with shared ones.
    """
    out = Finding()
    for task in found:
        apart, shared = task.plain("dl"), task.plain("sl")
        depths = sorted(set(apart) & set(shared))
        if not depths or depths[-1] == 1:
            continue  # the first layer alone says nothing about depth
        for depth in depths:
            one, other = apart[depth], shared[depth]
            words = (
                f"{task.words}, share of seeds that failed with the {spoken(one)} less that with "
                f"the {spoken(other)}"
            )
            counts = shares(words, task.failures(one), task.failures(other), margin=SHARE_MARGIN)
            if task.decides and depth == depths[-1]:
                said = Said(
                    sentence=f"{task.plainly}, the share of seeds that fail is {{}} with a "
                    f"{spoken(one)} than with a {spoken(other)}",
                    more="larger",
                    less="smaller",
                    same=f"{task.plainly}, as many seeds fail with a {spoken(one)} as with a "
                    f"{spoken(other)}",
                )
                out.primary.append(replace(counts, said=said))
            else:
                out.described.append(str(counts))
            out.described.append(str(_errors(task, one, other)))
    if not out.primary:
        out.missing.append("localizers with layers of their own and shared ones, beyond layer 1")
    return out


def iterating_helps(found: Sequence[Task]) -> Finding:
    """Set finding 3 out.

    Args:
        found: All tasks.

    Returns:
        Primary: error of C0 less that of C0 with two steps.
    """
    out = Finding()
    for task in found:
        for once in ("c0", *task.plain("dl").values(), *task.plain("sl").values()):
            for many in _iterated(task, once):
                contrast = _errors(task, once, many)
                if task.decides and many == "c0x2":
                    out.primary.append(contrast)
                else:
                    out.described.append(str(contrast))
        if "c0x2" in task.variants:
            rich = task.plain("sl").values()
            out.described.extend(str(_errors(task, "c0x2", name)) for name in rich)
    if not out.primary:
        out.missing.append(f"{spoken('c0')} with one step and with two")
    return out


def _iterated(task: Task, name: str) -> list[str]:
    """The same network with more steps, if it is there with one."""
    if name not in task.variants:
        return []
    many = [each for each in task.variants if each.startswith(f"{name}x") and "+" not in each]
    return sorted(many, key=lambda each: (parse_variant(each).placements[0].steps, each))


def maps_compensate_less(found: Sequence[Task]) -> Finding:
    """Set finding 4 out.

    Args:
        found: All tasks.

    Returns:
        Primary: under rotation and scaling, slope of C0 less that of C1.
    """
    out = Finding()
    for task in found:
        primary = _is_primary(task) and task.kind in TURNING
        for moved, other in _pairs(task):
            for column in map(str, task.numbers.columns):
                start, _, pose = column.partition("_")
                if start not in {"slope", "spread"}:
                    continue
                more, less = (other, moved) if start == "slope" else (moved, other)
                differences = _less(task, more, less, column)
                if not differences:
                    continue
                words = f"{task.words}, {start} ({pose}) of the {spoken(more)} less that of the "
                contrast = paired(words + spoken(less), differences, margin=SLOPE_MARGIN)
                if primary and start == "slope" and (moved, other) == ("c1", "c0"):
                    said = Said(
                        sentence=f"{task.plainly}, the share of the pose that is undone is {{}} "
                        f"with a {spoken(other)} than with a {spoken(moved)}",
                        more="larger",
                        less="smaller",
                    )
                    out.primary.append(replace(contrast, said=said))
                else:
                    out.described.append(str(contrast))
    if not out.primary:
        out.missing.append(f"poses of {spoken('c1')} beside {spoken('c0')} under rotation")
    return out
