"""How fast is a training step, against the papers' pipeline and against convolutions alone?

The pipeline of the papers turns each image with Pillow in the workers of a DataLoader and takes one
step at a time with torch's own layers. Both train the same network, on as many threads, one after
the other, in every repetition. This trainer, and the convolutions that it is held against, have the
C library keep freed memory (`machine.memory_kept`), as `train` does; the papers' pipeline runs with
the library's defaults, as its users run it.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from analyses.noise import noise_dataset
from analyses.papers_network import DIGITS, FILTERS, FIRST, SECOND, SIDE, PlainTransformer
from invariance_probe.data.datasets import Dataset, Split
from invariance_probe.machine import memory_kept
from invariance_probe.perturbations.kinds import RandomRotation
from invariance_probe.stn.convolution import ImageConvolution
from invariance_probe.stn.variants import parse_variant
from invariance_probe.training import evaluation, factory
from invariance_probe.training.batches import TrainingBatches
from invariance_probe.training.configuration import TrainConfig

OURS, PAPERS, ALONE = "this trainer", "papers' pipeline", "convolutions alone"
PEAK = "fastest convolution"
LIMIT = 90.0


@dataclass(frozen=True, kw_only=True)
class Config:
    """What to compare.

    Attributes:
        variants: Networks; ``cnn`` and ``c0``.
        batch: Images of a step.
        images: Training images, random bytes, as the time of a step does not depend on them.
        workers: Processes that turn images for the papers' pipeline.
        steps: Timed steps of each in one repetition.
        warm_up: Steps before these, so that the workers' queues are in balance.
        repeats: Repetitions of everything.
        seed: Root of all random choices.
    """

    variants: tuple[str, ...] = ("cnn", "c0")
    batch: int = 256
    images: int = 20_000
    workers: int = 2
    steps: int = 15
    warm_up: int = 6
    repeats: int = 7
    seed: int = 0


PRESETS = {
    "quick": Config(),
    "tiny": Config(batch=16, images=200, steps=2, warm_up=1, repeats=2, workers=1),
}


def measure(config: Config) -> pd.DataFrame:
    """Time all methods in turn.

    Args:
        config: What to compare.

    Returns:
        One row for each variant, method and repetition: ``seconds`` a step, ``images_per_second``
        and ``gflops``, the operations of dense convolutions over that time, a multiplication and an
        addition counting as two; gradients of pooled maps are made of fewer (`stn.pooled`).
    """
    data = noise_dataset((config.images, 10, 10), SIDE, DIGITS, config.seed)
    rows = []
    for repeat in range(config.repeats):
        for variant in config.variants:
            methods = {
                PAPERS: partial(_papers, config, data, variant),
                OURS: partial(ours, config, data, variant),
                ALONE: partial(_convolutions, config, variant),
            }
            for method, timed in methods.items():
                seconds = timed()
                rows.append({
                    "variant": variant,
                    "method": method,
                    "repeat": repeat,
                    "seconds": seconds,
                    "images_per_second": config.batch / seconds,
                    "gflops": operations(config, variant) / seconds / 1e9,
                })
        seconds, done = _fastest(config)
        rows.append({
            "variant": "",
            "method": PEAK,
            "repeat": repeat,
            "seconds": seconds,
            "gflops": done / seconds / 1e9,
        })
    return pd.DataFrame(rows)


def _seconds(step: Callable[[], object], config: Config) -> float:
    """Seconds of a step, over all timed ones together, after the warm-up."""
    for _ in range(config.warm_up):
        step()
    began = time.perf_counter()
    for _ in range(config.steps):
        step()
    return (time.perf_counter() - began) / config.steps


@memory_kept()
def ours(config: Config, data: Dataset, variant: str, device: torch.device | None = None) -> float:
    """Time this trainer's step: batch, perturbation, forward, backward, optimizer.

    Args:
        config: How often.
        data: What is learnt from.
        variant: Which network.
        device: Where; the CPU by default.

    Returns:
        Seconds a step.
    """
    run = TrainConfig(
        data="noise",
        perturbation=RandomRotation(),
        variant=parse_variant(variant),
        network="mnist",
        optimizer="sgd",
        rate=0.01,
        weight_decay=0.0,
        batch=config.batch,
        seed=config.seed,
    )
    device = device or torch.device("cpu")
    network = factory.build_network(run, data).to(device)
    optimizer = factory.build_optimizer(run, network)
    batches = TrainingBatches(data, run, device)
    number = iter(range(10**9))

    def step() -> None:
        batch = batches.batch(next(number))
        found = evaluation.predict(network, batch, run)
        loss = evaluation.loss_of(found.logits, batch.labels).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it without types
        optimizer.step()
        loss.item()

    return _seconds(step, config)


class _Turned(TorchDataset[tuple[Tensor, int]]):
    """Images turned one by one with Pillow, as the papers' code does through torchvision."""

    def __init__(self, split: Split) -> None:
        self.images = [Image.fromarray(image) for image in split.images[:, 0].numpy()]
        self.labels = split.labels[:, 0].tolist()

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, number: int) -> tuple[Tensor, int]:
        degrees = float(torch.empty(1).uniform_(-LIMIT, LIMIT))
        turned = self.images[number].rotate(degrees, Image.Resampling.BILINEAR)
        pixels = np.asarray(turned, dtype=np.float32)[None] / 255
        return torch.from_numpy(pixels), self.labels[number]


def _papers(config: Config, data: Dataset, variant: str) -> float:
    """The papers' step: batches from workers that use Pillow, torch's own layers."""
    torch.manual_seed(config.seed)
    network = PlainTransformer(variant)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)
    loader: DataLoader[Any] = DataLoader(
        _Turned(data.train),
        batch_size=config.batch,
        shuffle=True,
        num_workers=config.workers,
        drop_last=True,
    )

    def endless() -> Iterator[list[Tensor]]:
        while True:
            yield from loader

    batches = endless()

    def step() -> None:
        images, labels = next(batches)
        loss = F.cross_entropy(network(images), labels)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it without types
        optimizer.step()
        loss.item()

    try:
        return _seconds(step, config)
    finally:
        batches.close()  # type: ignore[attr-defined]  # a generator; ends the workers


@memory_kept()
def _convolutions(config: Config, variant: str) -> float:
    """Seconds of the network's dense convolutions alone, both ways, on tensors that are ready."""
    size, inner = SIDE - FIRST + 1, (SIDE - FIRST + 1) // 2
    layout = torch.channels_last
    first, second = ImageConvolution(1, FILTERS, FIRST), nn.Conv2d(FILTERS, FILTERS, SECOND)
    # as the trainer does it: `contiguous` would leave a filter of one channel as it is
    nn.ModuleList([first, second]).to(memory_format=layout)  # type: ignore[call-overload]  # unlisted
    images = torch.rand(config.batch, 1, SIDE, SIDE, requires_grad=variant != "cnn")
    middle = torch.rand(config.batch, FILTERS, inner, inner).contiguous(memory_format=layout)
    middle.requires_grad_()
    gradients = [
        torch.rand(config.batch, FILTERS, side, side).contiguous(memory_format=layout)
        for side in (size, inner - SECOND + 1)
    ]

    def step() -> None:
        for leaf in (images, middle, *first.parameters(), *second.parameters()):
            leaf.grad = None
        torch.autograd.backward([first(images), second(middle)], gradients)

    return _seconds(step, config)


def _macs(config: Config) -> tuple[int, int]:
    """Multiplications of each layer's forward pass."""
    size = SIDE - FIRST + 1
    inner = size // 2 - SECOND + 1
    return (
        config.batch * size**2 * FILTERS * FIRST**2,
        config.batch * inner**2 * FILTERS**2 * SECOND**2,
    )


def operations(config: Config, variant: str) -> int:
    """Count the operations of all convolutions of a step.

    Args:
        config: Images of a step.
        variant: ``cnn``, which needs no gradient of its images, or ``c0``.

    Returns:
        Multiplications and additions.
    """
    first, second = _macs(config)
    passes = 2 if variant == "cnn" else 3
    return 2 * (passes * first + 3 * second)


def _fastest(config: Config) -> tuple[float, int]:
    """Seconds and operations of the second layer's forward pass, the machine's best convolution."""
    inner = (SIDE - FIRST + 1) // 2
    layer = nn.Conv2d(FILTERS, FILTERS, SECOND)
    maps = torch.rand(config.batch, FILTERS, inner, inner)
    with torch.no_grad():
        return _seconds(lambda: layer(maps), config), 2 * _macs(config)[1]


def summary(frame: pd.DataFrame) -> pd.DataFrame:
    """Condense to what is asked of the trainer.

    Args:
        frame: What `measure` returned.

    Returns:
        By variant and method: median milliseconds a step and images a second; for this trainer also
        ``times_faster`` than the papers' pipeline, ``share_of_convolutions``, the time of dense
        convolutions alone over that of the step, above 1 where the step takes less, and
        ``share_of_peak``, the operations a second of dense convolutions over those of the fastest
        single one; all medians of ratios within a repetition.
    """
    rows = []
    peak = frame[frame["method"] == PEAK].set_index("repeat")["gflops"]
    for variant, part in frame[frame["method"] != PEAK].groupby("variant", sort=False):
        wide = part.pivot_table(index="repeat", columns="method", values="seconds")
        rates = part[part["method"] == OURS].set_index("repeat")["gflops"]
        for method in (OURS, PAPERS, ALONE):
            rows.append({
                "variant": variant,
                "method": method,
                "ms_a_step": 1e3 * wide[method].median(),
                "images_per_second": part[part["method"] == method]["images_per_second"].median(),
            })
        ours = next(row for row in rows if row["variant"] == variant and row["method"] == OURS)
        ours["times_faster"] = (wide[PAPERS] / wide[OURS]).median()
        ours["share_of_convolutions"] = (wide[ALONE] / wide[OURS]).median()
        ours["share_of_peak"] = (rates / peak).median()
    return pd.DataFrame(rows)


def plot(frame: pd.DataFrame) -> Figure:
    """Draw images a second by variant and method.

    Args:
        frame: What `measure` returned.

    Returns:
        The figure.
    """
    rates = frame[frame["method"] != PEAK]
    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    axes = figure.subplots()
    sns.barplot(
        rates,
        x="variant",
        y="images_per_second",
        hue="method",
        hue_order=[PAPERS, OURS, ALONE],
        estimator="median",
        errorbar=("pi", 100),
        palette="colorblind",
        ax=axes,
    )
    axes.set_ylabel("images a second (median, range)")
    axes.set_title("A step skips what pooling dropped; convolutions alone are dense", fontsize=10)
    axes.legend(frameon=False, title=None)
    return figure
