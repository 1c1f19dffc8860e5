"""Does a CUDA card say what the CPU says, how fast is it, and how near to its limits?

Everything is measured on one device, a CUDA card if there is one; nothing is fetched. What fails
leaves a row that says why, and the rest is measured all the same.
"""

import importlib.util
import itertools
import textwrap
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import seaborn as sns
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

import invariance_probe as ip
from analyses import baselines, efficientnet
from analyses.efficientnet_pairs import MapPairs, efficientnet_pairs
from analyses.noise import noise_dataset
from analyses.papers_network import DIGITS, SIDE
from analyses.questions import training_speed
from analyses.seeds_together import Graphed, Learner
from analyses.traffic import Traffic
from invariance_probe.alignment import metrics
from invariance_probe.data.datasets import Dataset, open_dataset
from invariance_probe.data.pictures import TensorImages
from invariance_probe.errors import first_line
from invariance_probe.errors.checks import check_device
from invariance_probe.network import features
from invariance_probe.network.preprocessing import LITE_MEAN, LITE_STD
from invariance_probe.perturbations.kinds import RandomRotation
from invariance_probe.plane import sampling
from invariance_probe.probing.passes import ForwardPasses
from invariance_probe.probing.setup import computing
from invariance_probe.results.methods import RECOVERY_METHODS, Method
from invariance_probe.stn.variants import parse_variant
from invariance_probe.training.batches import TEST, Batch, StoredBatches, TrainingBatches
from invariance_probe.training.configuration import TrainConfig

AGREE = 1e-4
"""Largest difference between devices that counts as none."""
NEAR = 0.6
"""Share of a device's limit from which nothing is left to profile."""
OURS, ADAM, KORNIA = "align", "Adam, 300 steps, batched", "kornia ImageRegistrator"
ALONE, TRAINER = "one seed", "this trainer"
DIFFERENCE, SHARE, PEAK, FAILED = "difference", "share agreeing", "share of peak", "failed"
STEPS = "steps/s"
"""Units of values. A step of several networks counts as several."""


T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Config:
    """What to measure.

    Attributes:
        device: auto, cpu, cuda or cuda:K.
        layers: Layers of EfficientNet-Lite0 that are probed.
        searched: Those whose maps are aligned at once.
        degrees: Rotations of the input.
        images: Photographs that are probed and aligned, 10 at most.
        copies: How many times the pairs are aligned at once, so that the device is full.
        compared: Photographs on which devices are compared.
        methods: Methods that are compared.
        kornia_pairs: Pairs that kornia is given, one at a time.
        data: What is learnt: ``mnist-5k`` or ``noise``.
        variants: Networks: ``cnn``, ``c0``.
        seeds: Networks that learn as one.
        batch: Images of a step.
        steps: Steps of a training.
        rate: Learning rate.
        test_images: Images that errors are measured on.
        timed: Steps that are timed.
        repeats: Timed repetitions.
        product: Side of the matrices whose product is the peak of arithmetic.
        copied: Numbers whose copy is the peak of memory.
        seed: Root of all random choices.
    """

    device: str = "auto"
    layers: tuple[str, ...] = efficientnet.blocks(0, 2, 4, 7, 10, 15)
    searched: tuple[str, ...] = efficientnet.blocks(2, 4, 7)
    degrees: tuple[float, ...] = (30.0, 90.0, -150.0)
    images: int = 10
    copies: int = 1
    compared: int = 4
    methods: tuple[str, ...] = tuple(Method)
    kornia_pairs: int = 2
    data: str = "mnist-5k"
    variants: tuple[str, ...] = ("cnn", "c0")
    seeds: int = 2
    batch: int = 256
    steps: int = 60
    rate: float = 0.02
    test_images: int = 1000
    timed: int = 5
    repeats: int = 3
    product: int = 2048
    copied: int = 2**24
    seed: int = 0


PRESETS = {
    "full": Config(
        degrees=tuple(float(d) for d in range(-165, 180, 15)),
        copies=4,
        kornia_pairs=1,
        seeds=8,
        steps=400,
        timed=50,
        product=8192,
        copied=2**28,
    ),
    "quick": Config(),
    "tiny": Config(
        layers=efficientnet.blocks(10),
        searched=efficientnet.blocks(15),
        degrees=(90.0,),
        images=2,
        compared=2,
        methods=("identity", "oracle", "affine", "floor", "unrelated", "oracle+linear"),
        kornia_pairs=1,
        data="noise",
        batch=8,
        steps=2,
        test_images=8,
        timed=1,
        repeats=1,
        product=64,
        copied=2**10,
    ),
}


class _Rows:
    """The frame under way."""

    def __init__(self, config: Config) -> None:
        self.config, self.device = config, check_device(config.device)
        self.cuda = self.device.type == "cuda"
        self._named = torch.cuda.get_device_name(self.device) if self.cuda else "CPU"
        self.rows: list[dict[str, object]] = []

    def add(
        self,
        part: str,
        what: str,
        value: float,
        unit: str,
        *,
        of: str = "",
        repeat: int = 0,
        why: str = "",
    ) -> None:
        """Write a number down; `of` says which layer, network or method it is of."""
        place = {"part": part, "of": of, "what": what, "device": self._named, "unit": unit}
        self.rows.append({**place, "repeat": repeat, "value": value, "why": why})

    @contextmanager
    def trying(self, part: str, what: str, of: str = "") -> Iterator[None]:
        """Write down what fails, and go on."""
        try:
            yield
        except Exception as error:  # whatever a card or a library that was never tried raises
            why = f"{type(error).__name__}: {first_line(error)}"
            self.add(part, what, np.nan, FAILED, of=of, why=why)

    def timed(
        self,
        call: Callable[[], T],
        count: float,
        unit: str,
        part: str,
        what: str,
        of: str = "",
    ) -> tuple[float, T]:
        """Write down how many a second a call does; the median, and what a first call returned."""
        first = call()  # which does not count: it warms up
        rates = []
        for repeat in range(self.config.repeats):
            self._wait()
            began = time.perf_counter()
            call()
            self._wait()
            rates.append(count / (time.perf_counter() - began))
            self.add(part, what, rates[-1], unit, of=of, repeat=repeat)
        return float(np.median(rates)), first

    def _wait(self) -> None:
        """Let the device finish what it was given."""
        if self.cuda:
            torch.cuda.synchronize(self.device)


def measure(config: Config) -> pd.DataFrame:
    """Compare devices, then time probing, searching and training.

    Args:
        config: What to measure.

    Returns:
        One row for each number: its ``part``, what it is ``of`` (a layer, network or method),
        ``what``, the ``device``, ``repeat`` (of errors the seed's place), ``value`` and ``unit``;
        of what failed the value is missing, and ``why`` says why.
    """
    rows = _Rows(config)
    memory, arithmetic = _limits(rows)
    for part, measured in (
        ("agreement", _agreement),
        ("probe", _probing),
        ("search", partial(_searching, memory=memory)),
        ("training", partial(_training, arithmetic=arithmetic)),
    ):
        with rows.trying(part, "everything"):
            measured(rows)
    return pd.DataFrame(rows.rows)


def _limits(rows: _Rows) -> tuple[float, dict[bool, float]]:
    """GB a second of a copy, and 10^12 operations a second of a product, by half precision."""
    config = rows.config
    source = torch.rand(config.copied, device=rows.device)
    target, moved = torch.empty_like(source), 2 * source.numel() * source.element_size()
    copying = partial(target.copy_, source)
    memory, _ = rows.timed(copying, moved / 1e9, "GB/s", "limits", "copy")
    arithmetic, before = {}, torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")  # as convolutions do without being asked: in TF32
    try:
        for half, dtype in ((False, torch.float32), (True, torch.bfloat16)):
            matrix = torch.rand(config.product, config.product, device=rows.device).to(dtype)
            product, count = partial(torch.mm, matrix, matrix), 2 * config.product**3 / 1e12
            what = f"product, {'bfloat16' if half else 'float32'}"
            arithmetic[half], _ = rows.timed(product, count, "TFLOP/s", "limits", what)
    finally:
        torch.set_float32_matmul_precision(before)
    return memory, arithmetic


def _moves(config: Config) -> list[ip.Transform]:
    return [*map(ip.Rotation, config.degrees), ip.Scaling(0.7)]


def _compare(rows: _Rows, what: str, results: Sequence[Tensor], of: str = "") -> None:
    """Write down how far the device's result is from the CPU's, as a part of its largest value."""
    cpu, there = (each.double().cpu() for each in results)
    unit = cpu.nan_to_num(0.0).abs().max().clamp(min=torch.finfo(torch.float64).tiny)
    apart = (cpu - there).abs() / unit
    # what is undefined on one device has to be so on the other
    apart[cpu.isnan() & there.isnan()] = 0.0
    apart.nan_to_num_(torch.inf)
    rows.add("agreement", what, float(apart.max()), DIFFERENCE, of=of)
    rows.add("agreement", what, float((apart <= AGREE).double().mean()), SHARE, of=of)


def _agreement(rows: _Rows) -> None:
    """Do the same on the CPU and on the device, stage by stage and as wholes."""
    config, devices = rows.config, [torch.device("cpu"), rows.device]
    network, moves = efficientnet.trained(), _moves(config)[-4:]
    canvases, _ = efficientnet.photographs(config.compared, 320)
    options = ip.ProbeOptions(crop=224, mean=LITE_MEAN, std=LITE_STD, methods=config.methods)
    with rows.trying("agreement", "forward pass"):
        seen: list[Tensor] = []
        maps = []
        for device in devices:
            there = options.replace(device=str(device))
            with computing(network, there):
                passes = ForwardPasses(
                    network, TensorImages(canvases), config.layers, moves, there, keep=False
                )
                seen.append(passes.inputs(range(config.compared)))
                # each stage is given what the CPU made, so that it answers for itself alone
                maps.append(features.tap(network, seen[0].flatten(0, 1).to(device), passes.layers))
        _compare(rows, "rendering", seen)
        for layer in maps[0]:
            _compare(rows, "forward pass", [each[layer] for each in maps], of=layer)
    for pairs in efficientnet_pairs(config.searched, moves, config.compared):
        with rows.trying("agreement", "search", pairs.layer):
            both = [_on(pairs, device) for device in devices]
            found = [_aligned(each) for each in both]
            _compare(rows, "search", [each.fvu for each in found], of=pairs.layer)
            # the CPU's warps on both, as rounding may part searches between two minima
            read = [_left(each, found[0].theta) for each in both]
            _compare(rows, "reading and scoring", read, of=pairs.layer)
    wholes = {
        "probe": (partial(ip.probe, layers=config.layers, options=options), "fvu"),
        "recover": (
            partial(
                ip.recover,
                layers=config.layers[-1:],
                options=options.replace(methods=RECOVERY_METHODS),
            ),
            "logit_rel_l2",
        ),
    }
    for what, (run, metric) in wholes.items():
        with rows.trying("agreement", what):
            frames = [
                run(network, canvases, transforms=moves, device=str(device)).frame()
                for device in devices
            ]
            for method in frames[0]["method"].unique():
                chosen = f"metric == {metric!r} and method == {str(method)!r}"
                values = [torch.tensor(f.query(chosen)["value"].to_numpy()) for f in frames]
                _compare(rows, what, values, of=str(method))
    with rows.trying("agreement", "training"):
        data, training = _data(config), _run(config, "c0", config.seed)
        batches = [TrainingBatches(data, training, device).batch(0) for device in devices]
        _compare(rows, "batch", [each.images for each in batches])
        images, labels = _together(batches[:1])
        states = []
        for device in devices:
            learner = Learner("c0", [config.seed], rate=config.rate, device=device)
            with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
                for _ in range(2):
                    learner.step(images.to(device), labels.to(device))
            states.append(torch.cat([each.flatten() for each in learner.state()]))
        _compare(rows, "two steps", states)


def _probing(rows: _Rows) -> None:
    """Time whole probes with the default methods, and forward passes alone."""
    config, moves, network = rows.config, _moves(rows.config), efficientnet.trained()
    canvases, _ = efficientnet.photographs(config.images, 320)
    probe = partial(
        efficientnet.probe,
        canvases,
        network=network,
        layers=config.layers,
        transforms=moves,
        crop=224,
        device=str(rows.device),
    )
    views = len(canvases) * (len(moves) + 1)
    rows.timed(probe, views, "images/s", "probe", "whole probe")
    with computing(network, ip.ProbeOptions(device=str(rows.device))):
        batch = torch.rand(16, 3, 224, 224, device=rows.device)
        passing = partial(network, batch)
        rows.timed(passing, len(batch), "images/s", "probe", "forward passes")


def _on(pairs: MapPairs, device: torch.device, copies: int = 1) -> MapPairs:
    """Pairs on a device, so many times over."""

    def there(tensor: Tensor) -> Tensor:
        return tensor.to(device).repeat(copies, *[1] * (tensor.dim() - 1))

    return MapPairs(
        layer=pairs.layer,
        reference=there(pairs.reference),
        moved=there(pairs.moved),
        oracle=there(pairs.oracle),
        region=there(pairs.region),
        transform=pairs.transform * copies,
        parameter=pairs.parameter * copies,
        image=pairs.image * copies,
    )


def _aligned(pairs: MapPairs) -> ip.Alignment:
    return ip.align(pairs.reference, pairs.moved, oracle=pairs.oracle, region=pairs.region)


def _found(pairs: MapPairs) -> Tensor:
    """The warps that are found."""
    return _aligned(pairs).theta


def _left(pairs: MapPairs, theta: Tensor) -> Tensor:
    """What warps leave."""
    mean = metrics.region_mean(pairs.reference, pairs.region)
    target = metrics.Target(pairs.reference, pairs.region, mean)
    return target.score(sampling.warp(pairs.moved, theta.to(pairs.moved.device))).fvu


def _one_by_one(pairs: MapPairs, count: int) -> Tensor:
    """Warps that kornia finds for the first pairs, which it takes one at a time."""
    every = zip(pairs.reference, pairs.moved, pairs.oracle, pairs.region, strict=True)
    return torch.cat([
        baselines.kornia_similarity(*(each[None] for each in pair))
        for pair in itertools.islice(every, count)
    ])


def _searching(rows: _Rows, memory: float) -> None:
    """Time searches side by side, and set the memory that ours moves against a copy's rate."""
    config = rows.config
    for own in efficientnet_pairs(config.searched, _moves(config), config.images):
        pairs, layer = _on(own, rows.device, config.copies), own.layer
        given = (pairs.reference, pairs.moved, pairs.oracle, pairs.region)
        solvers: dict[str, tuple[Callable[[], Tensor], MapPairs, int]] = {
            OURS: (partial(_found, pairs), pairs, len(pairs)),
            ADAM: (partial(baselines.adam, *given), pairs, len(pairs)),
        }
        if importlib.util.find_spec("kornia"):
            few = min(len(pairs), config.kornia_pairs)
            solvers[KORNIA] = (partial(_one_by_one, pairs, few), pairs, few)
        if rows.cuda:
            # on a card `align` goes through torch's operations, on the CPU through what is quickest
            solvers[f"{OURS}, on the CPU"] = (partial(_found, own), own, len(own))
        for what, (solve, of, count) in solvers.items():
            with rows.trying("search", what, layer):
                rate, theta = rows.timed(solve, count, "pairs/s", "search", what, layer)
                left = _left(of, torch.cat([theta, of.oracle[count:]]))[:count]
                rows.add("search", what, float(left.mean()), "mean fvu", of=layer)
                if what == OURS:
                    with Traffic() as traffic:
                        solve()
                    share = traffic.bytes / 1e9 / count * rate / memory
                    rows.add("search", "memory moved", share, PEAK, of=layer)


def _data(config: Config) -> Dataset:
    if config.data == "noise":
        counts = (4 * config.batch, config.batch, config.test_images)
        return noise_dataset(counts, SIDE, DIGITS, config.seed)
    return open_dataset(config.data)


def _run(config: Config, variant: str, seed: int) -> TrainConfig:
    return TrainConfig(
        data=config.data,
        perturbation=RandomRotation(),
        variant=parse_variant(variant),
        network="mnist",
        optimizer="sgd",
        rate=config.rate,
        batch=config.batch,
        seed=seed,
    )


def _together(batches: Sequence[Batch]) -> tuple[Tensor, Tensor]:
    """Images (seed, sample, channel, height, width) and labels (seed, sample)."""
    images = torch.stack([batch.images for batch in batches])
    return images, torch.stack([batch.labels[:, 0] for batch in batches])


def _training(rows: _Rows, arithmetic: dict[bool, float]) -> None:
    """Time the trainer's step, then learn in every way from the same batches."""
    config, data = rows.config, _data(rows.config)
    seeds = range(config.seed, config.seed + config.seeds)
    timing = training_speed.Config(batch=config.batch, steps=config.timed, warm_up=2)
    for variant in config.variants:
        with rows.trying("training", TRAINER, variant):
            for repeat in range(config.repeats):
                seconds = training_speed.ours(timing, data, variant, rows.device)
                rows.add("training", TRAINER, 1 / seconds, STEPS, of=variant, repeat=repeat)
        made = [TrainingBatches(data, _run(config, variant, seed), rows.device) for seed in seeds]
        making = partial(made[0].batch, 0)
        rows.timed(making, 1, STEPS, "training", "making batches", variant)
        given = [_together([each.batch(step) for each in made]) for step in range(config.steps)]
        test = StoredBatches(
            data.test,
            data,
            RandomRotation(),
            which=TEST,
            size=config.batch,
            device=rows.device,
            limit=config.test_images,
        )
        operations = training_speed.operations(timing, variant) / 1e12
        for way in _ways(rows):
            with rows.trying("training", way.name, variant):
                rate = _learn(rows, way, variant, list(seeds), given, test)
                share = rate * operations / arithmetic[way.half]
                rows.add("training", way.name, share, PEAK, of=variant)


@dataclass(frozen=True, kw_only=True)
class _Way:
    """How seeds learn.

    Attributes:
        together: Whether as one model.
        half: Whether in bfloat16 where autocast can.
        graph: Whether as a CUDA graph.
        seeds: How many there are.
    """

    together: bool
    half: bool
    graph: bool
    seeds: int

    @property
    def name(self) -> str:
        """In words."""
        words = [f"{self.seeds} seeds as one model" if self.together else ALONE]
        return ", ".join(words + ["bfloat16"] * self.half + ["CUDA graph"] * self.graph)


def _ways(rows: _Rows) -> list[_Way]:
    """All that the device knows."""
    graphs = (False, True) if rows.cuda else (False,)
    return [
        _Way(together=together, half=half, graph=graph, seeds=rows.config.seeds)
        for together in (False, True)
        for half in (False, True)
        for graph in graphs
    ]


def _learn(
    rows: _Rows,
    way: _Way,
    variant: str,
    seeds: list[int],
    given: Sequence[tuple[Tensor, Tensor]],
    test: StoredBatches,
) -> float:
    """Train all seeds, write down their errors, and time steps; networks' steps a second."""
    config, rate = rows.config, 0.0
    groups = [seeds] if way.together else [[seed] for seed in seeds]
    for group in groups:
        rows_of = slice(group[0] - seeds[0], group[-1] - seeds[0] + 1)
        learner = Learner(variant, group, rate=config.rate, device=rows.device, half=way.half)
        batches = [(images[rows_of], labels[rows_of]) for images, labels in given]
        stepping = Graphed(learner, *batches[0]) if way.graph else learner
        for batch in batches:
            stepping.step(*batch)
        for place, error in enumerate(_errors(learner, len(group), test), rows_of.start):
            rows.add("training", way.name, error, "error", of=variant, repeat=place)
        if group is groups[-1]:

            def steps(stepping: Learner | Graphed = stepping, batch: Any = batches[-1]) -> None:
                for _ in range(config.timed):
                    stepping.step(*batch)

            count = config.timed * len(group)
            rate, _ = rows.timed(steps, count, STEPS, "training", way.name, variant)
    return rate


def _errors(learner: Learner, networks: int, test: StoredBatches) -> list[float]:
    """Share of the test images that each network gets wrong."""
    wrong = []
    with torch.no_grad():
        for number in range(len(test)):
            batch = test.batch(number)
            said = learner.logits(batch.images.expand(networks, *batch.images.shape))
            wrong.append((said.argmax(2) != batch.labels[:, 0]).double())
    shares: list[float] = torch.cat(wrong, dim=1).mean(1).tolist()
    return shares


def summary(frame: pd.DataFrame) -> pd.DataFrame:
    """Condense to a line a number, with a verdict.

    Args:
        frame: What `measure` returned.

    Returns:
        Medians over repetitions, of errors means over seeds; ``verdict`` says whether devices
        agree, how rates compare, whether a share of a limit leaves something to profile, or what
        failed.
    """
    keys = ["part", "of", "what", "unit"]
    found = []
    for place, part in frame.groupby(keys, sort=False, dropna=False):
        row = dict(zip(keys, place, strict=True))
        row["value"] = part["value"].mean() if row["unit"] == "error" else part["value"].median()
        found.append({**row, "device": part["device"].iloc[0], "why": part["why"].iloc[0]})
    table = pd.DataFrame(found)
    table["verdict"] = [_verdict(row, table) for row in table.to_dict("records")]
    return table[["part", "what", "of", "value", "unit", "verdict", "device"]]


def headline(table: pd.DataFrame) -> str:
    """Say in a line what was found.

    Args:
        table: Of `summary`.

    Returns:
        How many comparisons agree, how fast searches are, what is near its limit, what failed.
    """
    differences = table.loc[table["unit"] == DIFFERENCE, "value"]
    pairs = table[table["unit"] == "pairs/s"].pivot_table(
        index="of", columns="what", values="value"
    )
    words = [f"{(differences <= AGREE).sum()} of {len(differences)} comparisons agree to {AGREE:g}"]
    for name in (ADAM, KORNIA):
        if {OURS, name} <= set(pairs):
            ratios = pairs[OURS] / pairs[name]
            words.append(f"align is {ratios.min():.3g} to {ratios.max():.3g} times {name}")
    shares = table.loc[table["unit"] == PEAK, "value"]
    words.append(f"{(shares >= NEAR).sum()} of {len(shares)} loads reach {NEAR:.0%} of the limit")
    return "; ".join([*words, f"{(table['unit'] == FAILED).sum()} failed"])


def _verdict(row: dict[Any, Any], table: pd.DataFrame) -> str:
    """What a number says, in words."""
    value, unit = row["value"], row["unit"]
    if unit == FAILED:
        return str(row["why"])
    if unit == DIFFERENCE:
        return f"agrees to {AGREE:g}" if value <= AGREE else f"differs by more than {AGREE:g}"
    if unit == PEAK and row["device"] != "CPU":
        return "near the limit" if value >= NEAR else "profile it"
    # what it is set against
    other = {"pairs/s": OURS, "images/s": "forward passes", STEPS: ALONE, "error": ALONE}.get(unit)
    same = (table["what"] == other) & (table["of"] == row["of"]) & (table["unit"] == unit)
    if other is None or row["what"] in {other, "making batches"} or not same.any():
        return ""
    base = float(table.loc[same, "value"].iloc[0])
    if unit == "error":
        return f"{100 * (value - base):+.2f} points against {other}"
    if unit == STEPS:
        return f"{value / base:.3g} times {other}"
    return f"{other}: {base / value:.3g} times as many"


def plot(frame: pd.DataFrame) -> Figure:
    """Draw agreement, searches, steps and errors, a panel each.

    Args:
        frame: What `measure` returned.

    Returns:
        The figure.
    """
    figure = Figure(figsize=(13.0, 8.4), layout="constrained")
    agreement, search, steps, errors = figure.subplots(2, 2).flat
    apart = frame[frame["unit"] == DIFFERENCE].assign(value=lambda f: f["value"].clip(lower=1e-9))
    _bars(agreement, apart, "what", "largest difference from the CPU, of its largest value")
    agreement.axvline(AGREE, color="0.3", linestyle="--")
    _bars(search, frame[frame["unit"] == "pairs/s"], "what", "pairs a second", hue="of")
    trained = frame[(frame["unit"] == STEPS) & (frame["what"] != "making batches")]
    _bars(steps, trained, "what", "steps of a network a second", hue="of")
    _bars(errors, frame[frame["unit"] == "error"], "what", "test error", hue="of", log=False)
    verdict = textwrap.fill(headline(summary(frame)), 120)
    figure.suptitle(f"{frame['device'].iloc[0]}\n{verdict}", fontsize="medium")
    return figure


def _bars(
    axes: Axes, rows: pd.DataFrame, by: str, label: str, hue: str | None = None, log: bool = True
) -> None:
    """Draw a value by its name: the median, and the range of repetitions, layers or seeds."""
    axes.set_xlabel(label)
    axes.set_ylabel("")
    if rows.empty:
        return
    sns.pointplot(
        rows,
        y=by,
        x="value",
        hue=hue,
        estimator="median",
        errorbar=("pi", 100),
        linestyle="none",
        dodge=0.4 if hue and rows[hue].nunique() > 1 else False,
        palette="colorblind" if hue else None,
        ax=axes,
    )
    axes.set_ylabel("")
    if log:
        axes.set_xscale("log")
    legend = axes.get_legend()
    if legend is not None:
        legend.set_frame_on(False)
        legend.set_title("")
