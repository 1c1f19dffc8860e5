"""What a probe returns: the tidy table, its summary with intervals, run folders."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from invariance_probe.errors import InvalidInputError
from invariance_probe.files import check_out, new_folder
from invariance_probe.machine import provenance
from invariance_probe.network.features import Layer
from invariance_probe.plane.transforms import Transform
from invariance_probe.results import records
from invariance_probe.results.methods import warp_and_kind
from invariance_probe.statistics import by_image, mean_interval

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_PLACE = ("stride_y", "stride_x", "offset_y", "offset_x", "measured")


@dataclass(frozen=True, kw_only=True)
class ProbeResult:
    """A probe's table, with what is needed to read and to draw it.

    Attributes:
        table: The tidy table, see `frame`.
        layers: The probed layers, in the order of the network: name, channels, size, stride.
        config: Resolved configuration and provenance.
        strips: Maps of one image, for the picture.
        channels: Which channel took whose place, one row per layer, transform, warp and channel:
            ``source`` stands in for ``channel`` (fitted on all images); ``agreement``, share of the
            folds that say the same; ``better`` and ``worse``, number of images on which an
            assignment fitted on other images serves the channel better or worse than staying;
            ``p_value`` of so many by chance (sign test). Empty without ``+permutation`` methods.
    """

    table: pd.DataFrame
    layers: pd.DataFrame
    config: dict[str, Any]
    strips: list[records.Strip] = field(default_factory=list)
    channels: pd.DataFrame = field(default_factory=pd.DataFrame)

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
        """Average over the images, with intervals over the images: see `statistics`.

        All parameters of a family are averaged within an image first, as they are repeated measures
        of it; those that change nothing (0 degrees, factor 1) are left out, as they are a check and
        no measurement, unless ``parameter`` is among `by`.

        Args:
            by: Columns that make a group; ``method`` and ``metric`` belong to it.

        Returns:
            The columns of `by`, ``mean``, ``low``, ``high`` (95 % interval; NaN below three
            images) and ``n_images``; layers and methods in their natural order.
        """
        keys = list(by)
        wide = by_image(self.table if "parameter" in keys else self.moving(), keys)
        values = wide.to_numpy(dtype=float)
        mean, low, high = mean_interval(values, self._partners(wide))
        counts = np.isfinite(values).sum(1)
        out = wide.index.to_frame(index=False)
        return out.assign(mean=mean, low=low, high=high, n_images=counts)

    def _partners(self, wide: pd.DataFrame) -> np.ndarray:
        """In which column the image stands that an unrelated pair shares with another; else -1."""
        names = self.config["images"]
        column = {name: number for number, name in enumerate(wide.columns)}
        other = {
            names[image]: column.get(names[partner], -1)
            for image, partner in enumerate(self.config["partners"])
            if partner is not None
        }
        row = np.array([other.get(name, -1) for name in wide.columns])
        if "method" not in wide.index.names:
            return np.full(wide.shape, -1)
        methods = wide.index.get_level_values("method")
        shared = np.array([warp_and_kind(method)[0] == "unrelated" for method in methods])
        return np.where(shared[:, None], row, -1)

    def decomposition(self, by: Sequence[str] = ("layer", "transform")) -> pd.DataFrame:
        """Split what the oracle warp leaves into its parts: see `decomposition.decomposition`.

        Args:
            by: Columns that make a group.

        Returns:
            One row a group and part, with intervals.
        """
        from invariance_probe.results import decomposition as explain

        return explain.decomposition(self, by)

    def moving(self) -> pd.DataFrame:
        """Leave out the transforms that change nothing: a check, and no measurement.

        Returns:
            The other rows of the table.
        """
        still = [
            number
            for number, move in enumerate(self.config["moves"])
            if np.array_equal(move["matrix"], np.eye(3))
        ]
        return self.table[~self.table["transform_number"].isin(still)]

    def plot(self, kind: str) -> "Figure":
        """Draw a figure.

        Args:
            kind: A family of the run (``"rotation"``, ``"scaling"``, ...) for the residual against
                its parameter, ``"depth"`` for the residual by layer, ``"maps"`` for the maps
                themselves, ``"parts"`` for the decomposition of the residual, ``"channels"`` for
                which channel took whose place.

        Returns:
            A matplotlib figure.
        """
        from invariance_probe.results import figures

        return figures.plot(self, kind)

    def save(self, out: str | Path) -> Path:
        """Write the run folder, whole or not at all.

        Args:
            out: A folder that does not exist or is empty.

        Returns:
            The folder: ``results.parquet``, ``summary.csv``, ``layers.csv``, ``config.json``,
            ``maps.npz``, ``figures/`` (PNG and SVG) and, where channels were permuted,
            ``channels.parquet``.
        """
        from invariance_probe.results import figures

        target = check_out(out)
        assert target is not None
        with new_folder(target) as partial:
            self.table.to_parquet(partial / "results.parquet", index=False)
            self.summary().to_csv(partial / "summary.csv", index=False, float_format="%.6g")
            self.layers.to_csv(partial / "layers.csv", index=False)
            if len(self.channels):
                self.channels.to_parquet(partial / "channels.parquet", index=False)
            records.save_strips(partial / "maps.npz", self.strips)
            (partial / "figures").mkdir()
            for kind in figures.kinds(self):
                figures.save(self.plot(kind), partial / "figures" / kind)
            text = json.dumps(self.config, indent=2)
            (partial / "config.json").write_text(text + "\n", encoding="utf-8")
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
            strips=records.load_strips(path / "maps.npz"),
            channels=(
                pd.read_parquet(path / "channels.parquet")
                if (path / "channels.parquet").is_file()
                else pd.DataFrame()
            ),
        )


def assemble(
    blocks: Sequence[records.Block],
    *,
    config: dict[str, Any],
    layers: Sequence[Layer],
    transforms: Sequence[Transform],
    region_frac: Sequence[Sequence[float]],
    filled_frac: Sequence[float],
    strips: list[records.Strip],
    permutations: pd.DataFrame,
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
        permutations: Which channel took whose place, by transform number.
        wall_time: Seconds that the probe took.

    Returns:
        The result.
    """
    table = records.table(blocks, config, layers, transforms, region_frac, filled_frac)
    moves = [
        {"kind": t.kind, "parameter": t.parameter, "matrix": t.matrix.tolist()} for t in transforms
    ]
    listing = pd.DataFrame(
        {"name": [one.name for one in layers], "type": [one.type for one in layers]}
        | {n: [getattr(one, n) for one in layers] for n in (*records.SHAPE, *_PLACE)}
    )
    full = {**config, "moves": moves, "provenance": provenance(wall_time)}
    # through JSON, so that a result is the same before saving and after loading
    full = json.loads(json.dumps(full))
    return ProbeResult(
        table=table,
        layers=listing,
        config=full,
        strips=strips,
        channels=_with_transforms(permutations, transforms),
    )


def _with_transforms(permutations: pd.DataFrame, transforms: Sequence[Transform]) -> pd.DataFrame:
    """Name the transforms of a table that numbers them."""
    if permutations.empty:
        return permutations
    numbers = permutations["transform_number"]
    out = permutations.copy()
    out.insert(1, "transform", [transforms[number].kind for number in numbers])
    out.insert(2, "parameter", [transforms[number].parameter for number in numbers])
    return out
