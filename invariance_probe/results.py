"""What a probe returns: the tidy table, its summary with intervals, run folders, provenance."""

import json
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from invariance_probe.alignment import metrics
from invariance_probe.errors import InvalidInputError
from invariance_probe.features import Layer
from invariance_probe.transforms import Transform, is_identity

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RESAMPLES = 2000
"""Bootstrap resamples of the images behind each interval."""
CONFIDENCE = 0.95
"""Coverage of the intervals (percentile bootstrap; Efron 1979)."""
METHODS = ("identity", "oracle", "affine", "floor", "unrelated")
"""What is compared with the reference map F, G being the map of the transformed image: G as it is;
G warped by the inverse of the input transform; G under the best affine warp found; F itself sent
there and back by the transform at the layer's resolution (blurred first if it shrinks); the
oracle-warped map of another image."""
THETA = ("theta_00", "theta_01", "theta_02", "theta_10", "theta_11", "theta_12")
_PURPOSES = {"order": 1, "bootstrap": 2}


def generator(seed: int, purpose: str) -> np.random.Generator:
    """Derive the random numbers of one purpose from the root seed.

    Args:
        seed: Root seed.
        purpose: ``"order"`` or ``"bootstrap"``.

    Returns:
        A generator of its own.
    """
    return np.random.default_rng([seed, _PURPOSES[purpose]])


@dataclass(frozen=True, kw_only=True)
class Block:
    """Results of one layer and method for some pairs of image and transform.

    Attributes:
        layer: Number of the layer.
        method: Name of the method.
        images: Number of the image, by pair.
        transforms: Number of the transform, by pair.
        values: The metrics, by pair.
        theta: The warp, by pair.
        outcome: How the search ended or why there is no value, by pair.
        n_iter: Steps of the search, by pair.
    """

    layer: int
    method: str
    images: list[int]
    transforms: list[int]
    values: Float[Tensor, "pair 3"]
    theta: Float[Tensor, "pair 6"]
    outcome: list[str]
    n_iter: list[int]


@dataclass(frozen=True, kw_only=True)
class Strip:
    """Maps of one image, to be looked at.

    Attributes:
        layer: Name of the layer.
        transform: Number of the transform.
        channels: Numbers of the strongest channels (largest standard deviation).
        maps: Reference, moved, oracle-warped, best-warped.
        region: Where they were compared.
        images: Pixel values before and after the transform.
    """

    layer: str
    transform: int
    channels: list[int]
    maps: Float[np.ndarray, "stage channel height width"]
    region: Bool[np.ndarray, "height width"]
    images: Float[np.ndarray, "2 colour crop_height crop_width"]


def shown_transforms(moves: Sequence[Transform]) -> list[int]:
    """Choose the transforms whose maps are kept for the picture.

    Args:
        moves: All transforms of the run.

    Returns:
        One number a family: the largest of the milder half of its transforms.
    """
    chosen = []
    for kind in dict.fromkeys(move.kind for move in moves):
        family = [
            (float((move.matrix - torch.eye(3)).norm()), -i)
            for i, move in enumerate(moves)
            if move.kind == kind and not is_identity(move)
        ]
        if family:
            chosen.append(-sorted(family)[(len(family) - 1) // 2][1])
    return chosen


def check_out(out: str | Path | None) -> Path | None:
    """Refuse an output folder that something else lies in.

    Args:
        out: Where a run is to be written.

    Returns:
        The folder, which does not exist or is empty.

    Raises:
        InvalidInputError: If it holds anything, or is a file.
    """
    if out is None:
        return None
    path = Path(out)
    if path.is_file():
        raise InvalidInputError(
            f"output {str(path)!r} is a file; give a folder that does not exist"
        )
    if path.is_dir() and any(path.iterdir()):
        what = "another run" if (path / "config.json").is_file() else "other files"
        raise InvalidInputError(
            f"output folder {str(path)!r} holds {what}; give a new one, or remove it first"
        )
    return path


@dataclass(frozen=True, kw_only=True)
class ProbeResult:
    """A probe's table, with what is needed to read and to draw it.

    Attributes:
        table: The tidy table, see `frame`.
        layers: The probed layers, in the order of the network: name, channels, size, stride.
        config: Resolved configuration and provenance.
        strips: Maps of one image, for the picture.
    """

    table: pd.DataFrame
    layers: pd.DataFrame
    config: dict[str, Any]
    strips: list[Strip] = field(default_factory=list)

    def frame(self) -> pd.DataFrame:
        """Return the tidy long table.

        Returns:
            One row per model, layer, call, image, transform, parameter, method and metric, with
            ``value`` and the diagnostics ``outcome``, ``n_iter``, ``theta_00`` to ``theta_12``,
            ``region_frac``, ``filled_frac``, ``stride``, ``channels``, ``height``, ``width``.
        """
        return self.table.copy()

    def summary(
        self, by: Sequence[str] = ("layer", "transform", "method", "metric")
    ) -> pd.DataFrame:
        """Average over the images, with bootstrap intervals over the images.

        All parameters of a family are averaged within an image first, as they are repeated measures
        of it; those that change nothing (0 degrees, factor 1) are left out, as they are a check and
        no measurement, unless ``parameter`` is among `by`.

        Args:
            by: Columns that make a group; ``method`` and ``metric`` belong to it.

        Returns:
            The columns of `by`, ``mean``, ``low``, ``high`` (95 % interval; NaN for one image) and
            ``n_images``; layers and methods in their natural order.
        """
        keys = list(by)
        table = self.table
        if "parameter" not in keys:
            still = [
                number
                for number, move in enumerate(self.config["moves"])
                if np.array_equal(move["matrix"], np.eye(3))
            ]
            table = table[~table["transform_number"].isin(still)]
        wide = table.pivot_table(
            index=keys,
            columns="image",
            values="value",
            aggfunc="mean",
            observed=True,
            sort=True,
            dropna=False,
        )
        # pivoting keeps combinations that never occurred
        wide = wide.loc[wide.index.isin(pd.MultiIndex.from_frame(table[keys].drop_duplicates()))]
        values = wide.to_numpy(dtype=float)
        known = np.isfinite(values)
        counts = known.sum(1)
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = np.where(known, values, 0).sum(1) / counts
        low, high = _bootstrap(values, known, int(self.config["seed"]))
        out = wide.index.to_frame(index=False)
        return out.assign(mean=mean, low=low, high=high, n_images=counts)

    def plot(self, kind: str) -> "Figure":
        """Draw a figure.

        Args:
            kind: A family of the run (``"rotation"``, ``"scaling"``, ...) for the residual against
                its parameter, ``"depth"`` for the residual by layer, ``"maps"`` for the maps
                themselves.

        Returns:
            A matplotlib figure.
        """
        from invariance_probe import figures

        return figures.plot(self, kind)

    def save(self, out: str | Path) -> Path:
        """Write the run folder, whole or not at all.

        Args:
            out: A folder that does not exist or is empty.

        Returns:
            The folder: ``results.parquet``, ``summary.csv``, ``layers.csv``, ``config.json``,
            ``maps.npz`` and ``figures/`` (PNG and SVG).
        """
        from invariance_probe import figures

        target = check_out(out)
        assert target is not None
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
        try:
            partial.chmod(0o755)
            self.table.to_parquet(partial / "results.parquet", index=False)
            self.summary().to_csv(partial / "summary.csv", index=False, float_format="%.6g")
            self.layers.to_csv(partial / "layers.csv", index=False)
            _save_strips(partial / "maps.npz", self.strips)
            (partial / "figures").mkdir()
            for kind in figures.kinds(self):
                figures.save(self.plot(kind), partial / "figures" / kind)
            text = json.dumps(self.config, indent=2)
            (partial / "config.json").write_text(text + "\n", encoding="utf-8")
            if target.is_dir():
                target.rmdir()
            Path(partial).replace(target)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        return target

    @classmethod
    def load(cls, folder: str | Path) -> "ProbeResult":
        """Read a run folder.

        Args:
            folder: What `save` wrote.

        Returns:
            The same result.

        Raises:
            InvalidInputError: If the folder holds no run.
        """
        path = Path(folder)
        if not (path / "config.json").is_file() or not (path / "results.parquet").is_file():
            raise InvalidInputError(
                f"folder {str(path)!r} holds no run (config.json and results.parquet)"
            )
        return cls(
            table=pd.read_parquet(path / "results.parquet"),
            layers=pd.read_csv(path / "layers.csv", keep_default_na=False),
            config=json.loads((path / "config.json").read_text(encoding="utf-8")),
            strips=_load_strips(path / "maps.npz"),
        )


def _bootstrap(
    values: Float[np.ndarray, "group image"], known: Bool[np.ndarray, "group image"], seed: int
) -> tuple[Float[np.ndarray, " group"], Float[np.ndarray, " group"]]:
    """Percentile intervals of the mean over resampled images, the same resamples for all groups."""
    groups, images = values.shape
    if images < 2:
        blank = np.full(groups, np.nan)
        return blank, blank
    counts = generator(seed, "bootstrap").multinomial(
        images, np.full(images, 1 / images), size=RESAMPLES
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        means = (np.where(known, values, 0) @ counts.T) / (known @ counts.T)
    tail = (1 - CONFIDENCE) / 2
    bounds = np.full((2, groups), np.nan)
    enough = known.sum(1) >= 2
    if enough.any():
        bounds[:, enough] = np.nanquantile(means[enough], [tail, 1 - tail], axis=1)
    return bounds[0], bounds[1]


def assemble(
    blocks: Sequence[Block],
    *,
    config: dict[str, Any],
    layers: Sequence[Layer],
    transforms: Sequence[Transform],
    region_frac: Sequence[Sequence[float]],
    filled_frac: Sequence[float],
    strips: list[Strip],
    wall_time: float,
) -> ProbeResult:
    """Put a probe's blocks together.

    Args:
        blocks: All results.
        config: Resolved configuration.
        layers: The probed layers.
        transforms: The transforms.
        region_frac: Share of the map that was compared, by layer and transform.
        filled_frac: Share of the crop that had to be filled, by transform.
        strips: Maps for the picture.
        wall_time: Seconds that the probe took.

    Returns:
        The result.
    """
    layer = np.concatenate([np.full(len(block.images), block.layer) for block in blocks])
    image = np.concatenate([block.images for block in blocks])
    move = np.concatenate([block.transforms for block in blocks])
    methods = [m for m in METHODS if m in config["methods"]]
    method = np.concatenate([
        np.full(len(block.images), methods.index(block.method)) for block in blocks
    ])
    order = np.lexsort((method, image, move, layer))
    outcome = np.concatenate([np.asarray(block.outcome, dtype=object) for block in blocks])[order]
    n_iter = np.concatenate([block.n_iter for block in blocks])[order]
    values = torch.cat([block.values for block in blocks]).double().numpy()[order]
    theta = torch.cat([block.theta for block in blocks]).double().numpy()[order]
    layer, image, move, method = layer[order], image[order], move[order], method[order]
    kinds = list(dict.fromkeys(t.kind for t in transforms))
    rows, names = len(layer), metrics.METRICS

    def each(numbers: np.ndarray, labels: Sequence[str]) -> pd.Categorical:
        return pd.Categorical.from_codes(
            np.repeat(numbers, len(names)), categories=list(labels), ordered=True
        )

    def spread(of: Sequence[float], numbers: np.ndarray) -> np.ndarray:
        return np.repeat(np.asarray(of)[numbers], len(names))

    kind_of = np.asarray([kinds.index(t.kind) for t in transforms])
    columns: dict[str, Any] = {
        "model": pd.Categorical.from_codes(
            np.zeros(rows * len(names), dtype=int), categories=[config["model"]]
        ),
        "layer": each(layer, [one.name for one in layers]),
        "call": spread([one.call for one in layers], layer),
        "image": each(image, config["images"]),
        "transform": each(kind_of[move], kinds),
        "parameter": spread([t.parameter for t in transforms], move),
        "transform_number": np.repeat(move, len(names)),
        "method": each(method, methods),
        "metric": pd.Categorical.from_codes(
            np.tile(np.arange(len(names)), rows), categories=list(names), ordered=True
        ),
        "value": values.reshape(-1),
        "outcome": pd.Categorical(np.repeat(outcome, len(names))),
        "n_iter": np.repeat(n_iter, len(names)),
    }
    for i, name in enumerate(THETA):
        columns[name] = np.repeat(theta[:, i], len(names))
    columns["region_frac"] = np.repeat(np.asarray(region_frac)[layer, move], len(names))
    columns["filled_frac"] = spread(filled_frac, move)
    for name, attribute in (("stride", "stride_x"), *((n, n) for n in _SHAPE)):
        columns[name] = spread([getattr(one, attribute) for one in layers], layer)
    table = pd.DataFrame(columns)
    moves = [
        {"kind": t.kind, "parameter": t.parameter, "matrix": t.matrix.tolist()} for t in transforms
    ]
    listing = pd.DataFrame(
        {"name": [one.name for one in layers], "type": [one.type for one in layers]}
        | {n: [getattr(one, n) for one in layers] for n in (*_SHAPE, *_PLACE)}
    )
    full = {**config, "moves": moves, "provenance": provenance(wall_time)}
    # through JSON, so that a result is the same before saving and after loading
    full = json.loads(json.dumps(full))
    return ProbeResult(table=table, layers=listing, config=full, strips=strips)


_SHAPE = ("channels", "height", "width")
_PLACE = ("stride_y", "stride_x", "offset_y", "offset_x", "measured")


def provenance(wall_time: float) -> dict[str, Any]:
    """Describe what a result came from.

    Args:
        wall_time: Seconds that it took.

    Returns:
        Versions, machine, git commit and whether the tree was dirty (None outside a checkout).
    """
    versions = {"python": platform.python_version()}
    for package in ("invariance-probe", "torch", "numpy", "pandas", "scipy"):
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "not installed"
    commit, dirty = _git_state()
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "wall_time_s": round(wall_time, 3),
        "versions": versions,
        "platform": platform.platform(),
        "processor": platform.machine(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "git_commit": commit,
        "git_dirty": dirty,
    }


def _git_state() -> tuple[str | None, bool | None]:
    here = Path(__file__).resolve().parent

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", "-C", str(here), *arguments],
                capture_output=True,
                text=True,
                timeout=10,
                check=True,
            )
        except (OSError, subprocess.SubprocessError):
            return None
        return done.stdout.strip()

    # an installed copy may lie inside somebody else's repository
    if git("ls-files", "--error-unmatch", "results.py") is None:
        return None, None
    status = git("status", "--porcelain")
    return git("rev-parse", "HEAD"), None if status is None else bool(status)


def _save_strips(path: Path, strips: Sequence[Strip]) -> None:
    arrays: dict[str, np.ndarray] = {}
    for i, strip in enumerate(strips):
        arrays[f"maps/{i}"] = strip.maps.astype(np.float32)
        arrays[f"region/{i}"] = strip.region
        # all layers of one transform show the same two images
        arrays[f"images/{strip.transform}"] = strip.images.astype(np.float32)
        described = json.dumps([strip.layer, strip.transform, strip.channels])
        arrays[f"about/{i}"] = np.frombuffer(described.encode(), dtype=np.uint8)
    with path.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


def _load_strips(path: Path) -> list[Strip]:
    if not path.is_file():
        return []
    strips = []
    with np.load(path, allow_pickle=False) as arrays:
        for i in range(sum(name.startswith("about/") for name in arrays.files)):
            layer, transform, channels = json.loads(arrays[f"about/{i}"].tobytes())
            strips.append(
                Strip(
                    layer=layer,
                    transform=transform,
                    channels=channels,
                    maps=arrays[f"maps/{i}"],
                    region=arrays[f"region/{i}"],
                    images=arrays[f"images/{transform}"],
                )
            )
    return strips
