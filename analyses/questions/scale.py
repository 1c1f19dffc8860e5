"""What do many images take, and what does it add that others carry them out?

One probe of few images under many transforms at many layers tells what an image costs: the slope
over their number, which what a run begins with does not enter. Another one, of more images, none of
whose maps are kept from one reading to the next, is carried out in this process and by two tasks of
a Ray cluster on this machine that has been started already: were there nothing to be sent, merged
or waited for, they would take half as long.

What `TARGET` takes follows from both on paper: nobody has run it here, and no GPU has been timed.
"""

import logging
import resource
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn.functional import interpolate
from torch.utils.data import Dataset

import invariance_probe as ip
from analyses import efficientnet
from invariance_probe.engines import Engine, Lost, Processes, Ray
from invariance_probe.machine import cores, one_thread
from invariance_probe.network.preprocessing import LITE_MEAN, LITE_STD
from invariance_probe.probing import passes

TARGET = {"images": 50_000, "transforms": 24, "layers": 20}
"""ImageNet's validation images, a turn of 15 degrees at a time, every block and some more."""
TASKS = (8, 16, 32, 64, 128)
_HOURS = (0.125, 0.25, 0.5, 1, 2, 4, 8)
_SIDES = (240, 480)
_CANVAS = 318
_DEPTHWISE = tuple(f"_blocks.{number}._depthwise_conv" for number in (1, 5, 9, 13))
LAYERS = (*efficientnet.blocks(*range(16)), *_DEPTHWISE)
"""Twenty: all blocks, and some convolutions within."""


class Crops(Dataset[Tensor]):
    """Square cuts of the packaged photographs, as many as wanted, made when asked for.

    Args:
        count: How many.
    """

    def __init__(self, count: int) -> None:
        self.photographs, _ = efficientnet.photographs(10, 640)
        self.count = count

    def __len__(self) -> int:
        """Count them."""
        return self.count

    def __getitem__(self, number: int) -> Tensor:
        """Cut one out.

        Args:
            number: Its number, which decides on place and size.

        Returns:
            Pixel values in [0, 1].
        """
        drawn = torch.Generator().manual_seed(number)
        whole = self.photographs[number % len(self.photographs)]
        side = int(torch.randint(*_SIDES, (1,), generator=drawn))
        y, x = torch.randint(0, whole.shape[-1] - side + 1, (2,), generator=drawn).tolist()
        cut = whole[None, :, y : y + side, x : x + side]
        return interpolate(cut, size=(_CANVAS,) * 2, mode="bilinear", antialias=True)[0].clamp(0, 1)


@dataclass(frozen=True, kw_only=True)
class Config:
    """What to measure.

    Attributes:
        few: Two numbers of images, for what one of them costs.
        layers: Layers of that probe.
        transforms: Rotations of that probe.
        many: Images that an engine is given.
        shared_layers: Layers at which it probes them, under two transforms.
        tasks: Tasks of a cluster at once; 0 leaves the cluster out.
    """

    few: tuple[int, int] = (8, 24)
    layers: tuple[str, ...] = LAYERS
    transforms: int = TARGET["transforms"]
    many: int = 2016
    shared_layers: tuple[str, ...] = efficientnet.blocks(2, 4, 10)
    tasks: int = 2


PRESETS = {
    "quick": Config(),
    "tiny": Config(few=(2, 12), layers=LAYERS[14:16], transforms=2, many=4, tasks=0),
}


def measure(config: Config) -> pd.DataFrame:
    """Probe few images often, and more images here and elsewhere.

    Args:
        config: What to measure.

    Returns:
        One row a probe: ``measured`` (``image``, one thread in a process of its own, or
        ``engine``), ``engine``, ``tasks``, ``images``, ``layers``, ``transforms``; ``seconds`` and
        ``peak_mb`` (memory of the process; NaN of an engine); ``rows`` of the table and
        ``table_mb``, what they take on the disk.
    """
    moves = ip.sweep("rotation", 0, 360 - 360 / config.transforms, 360 / config.transforms)
    alone = [(count, config.layers, tuple(moves)) for count in config.few]
    rows = []
    for one in alone:  # each in a new process, whose memory is its own
        (found,) = Processes(count=1).map(_in_a_process, "", [one])
        assert not isinstance(found, Lost)
        rows.append({"measured": "image", "engine": "here", "tasks": 1, **found})
    pair = (ip.Rotation(90), ip.Scaling(0.7))
    for tasks, engine in _engines(config.tasks):
        with one_thread(), _no_maps_kept():
            found = _probed(config.many, config.shared_layers, pair, engine)
        name = "here" if engine is None else "ray"
        rows.append({"measured": "engine", "engine": name, "tasks": tasks, **found})
    return pd.DataFrame(rows).assign(machine=_machine())


def _engines(tasks: int) -> Iterator[tuple[int, Engine | None]]:
    """This process, and a cluster that has been started and whose workers have imported all."""
    yield 1, None
    if tasks:
        import ray  # the cluster is to be there before the clock starts

        ray.init(
            address="local",
            num_cpus=tasks,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            _node_ip_address="127.0.0.1",
        )
        try:
            list(Ray(gpus=0).map(_warm, "", range(2 * tasks)))
            yield tasks, Ray(gpus=0)
        finally:
            ray.shutdown()


@contextmanager
def _no_maps_kept() -> Iterator[None]:
    """Work as on so many images that their maps do not fit into the cache.

    Of few images one process keeps the maps from one reading to the next, and tasks make them anew.
    """
    kept, passes.CACHE_BYTES = passes.CACHE_BYTES, 0
    try:
        yield
    finally:
        passes.CACHE_BYTES = kept


def _warm(_: str, number: int) -> int:
    """Have a worker import and compile what a probe needs: that is part of the start."""
    _probed(2, LAYERS[-1:], (ip.Rotation(90),), None)
    return number


def _in_a_process(
    _: str, one: tuple[int, tuple[str, ...], tuple[ip.Transform, ...]]
) -> dict[str, float]:
    _warm("", 0)
    return _probed(*one, None) | {
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    }


def _probed(
    count: int, layers: tuple[str, ...], moves: tuple[ip.Transform, ...], engine: Engine | None
) -> dict[str, float]:
    """A probe with the usual methods, and what it took."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        result = ip.probe(
            efficientnet.trained(),
            Crops(count),
            layers=layers,
            transforms=moves,
            crop=224,
            mean=LITE_MEAN,
            std=LITE_STD,
            device="cpu",
            out=Path(folder) / "run",
            engine=engine or "here",
        )
        return {
            "images": count,
            "layers": len(layers),
            "transforms": len(moves),
            "seconds": time.perf_counter() - began,
            "rows": result.rows.count,
            "table_mb": (Path(folder) / "run" / "results.parquet").stat().st_size / 1e6,
        }


def _machine() -> str:
    """What it was measured on."""
    return f"{cores()} cores"


def summary(frame: pd.DataFrame) -> pd.DataFrame:
    """Say what an image costs, what an engine adds, and what `TARGET` would take.

    Args:
        frame: What `measure` returned.

    Returns:
        One row a number: ``what``, ``value``, ``unit``.
    """
    image = frame[frame["measured"] == "image"].sort_values("images")
    slope = image[["seconds", "rows", "table_mb"]].diff().iloc[-1] / image["images"].diff().iloc[-1]
    pairs = TARGET["transforms"] * TARGET["layers"]
    here = int(image["transforms"].iloc[-1] * image["layers"].iloc[-1])
    rows = TARGET["images"] * slope["rows"] * pairs / here
    hours = TARGET["images"] * slope["seconds"] * pairs / here / 3600
    gigabytes = rows * float(image["table_mb"].iloc[-1] / image["rows"].iloc[-1]) / 1e3
    said: list[tuple[str, float, str]] = [
        ("an image, its rotations and layers, on one core", slope["seconds"], "s"),
        ("memory of the process", image["peak_mb"].iloc[-1], "MB"),
        ("added by the engine, beyond its start", overhead(frame), "of the work"),
        ("50 000 images: rows", rows / 1e6, "million"),
        ("50 000 images: their table", gigabytes, "GB"),
        ("50 000 images: work", hours, "core hours"),
    ]
    return pd.DataFrame(said, columns=["what", "value", "unit"])


def overhead(frame: pd.DataFrame) -> float:
    """Compare a cluster with a process that did all alone.

    Args:
        frame: What `measure` returned.

    Returns:
        What the tasks took together beyond it, as a share; NaN without a cluster.
    """
    engines = frame[frame["measured"] == "engine"].set_index("engine")
    if "ray" not in engines.index:
        return float("nan")
    ray, here = engines.loc["ray"], engines.loc["here"]
    return float(ray["seconds"] * ray["tasks"] / here["seconds"] - 1)


def plot(frame: pd.DataFrame) -> Figure:
    """Draw what was timed, and what follows for many images.

    Args:
        frame: What `measure` returned.

    Returns:
        The figure.
    """
    said = summary(frame).set_index("what")["value"]
    figure = Figure(figsize=(10, 4.4), layout="constrained")
    timed, paper = figure.subplots(1, 2)
    engines = frame[frame["measured"] == "engine"]
    labels = [
        f"{row.engine}, {row.tasks} task{'s' if row.tasks > 1 else ''}"
        for row in engines.itertuples()
    ]
    timed.bar(labels, engines["seconds"], width=0.55, color="#0072B2")
    whole = float(engines["seconds"].iloc[0])
    if len(engines) > 1:
        half = whole / engines["tasks"].iloc[1]
        timed.axhline(half, color="#D55E00", linestyle="--", linewidth=1.4)
        timed.annotate(
            "half the time",
            (1, half),
            xycoords=timed.get_yaxis_transform(),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            color="#D55E00",
        )
    first = engines.iloc[0]
    timed.set_title(
        f"{first['images']} images, {first['transforms']} transforms, {first['layers']} layers"
    )
    timed.set_ylabel("seconds, measured")
    extra = overhead(frame)
    hours = said["50 000 images: work"] * (1 + (extra if extra > 0 else 0))
    paper.plot(TASKS, [hours / tasks for tasks in TASKS], marker="o", color="#0072B2")
    paper.set_xscale("log", base=2)
    paper.set_yscale("log")
    paper.set_yticks(_HOURS, [f"{hours:g}" for hours in _HOURS])
    paper.minorticks_off()
    paper.set_xticks(TASKS, [str(tasks) for tasks in TASKS])
    paper.set_xlabel("tasks at once, a core each")
    paper.set_ylabel("hours, on paper")
    paper.set_title("50 000 images, 24 rotations, 20 layers")
    figure.suptitle(
        f"EfficientNet-Lite0 on the CPU, one thread a task; {frame['machine'].iloc[0]}", fontsize=12
    )
    return figure
