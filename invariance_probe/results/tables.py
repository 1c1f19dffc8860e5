"""A run's tables: what a probe measured, its summary, and the files that hold it."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from invariance_probe.alignment.metrics import BEST_HIGH
from invariance_probe.errors import InvalidInputError
from invariance_probe.errors.checks import check_path
from invariance_probe.files import UNFINISHED
from invariance_probe.results.methods import (
    EXPLAINING_METHODS,
    PARTITION_METHODS,
    Method,
    Warp,
    parse_methods,
)
from invariance_probe.results.reading import (
    COLUMNS,
    open_rows,
    read_channels,
    read_config,
    read_layers,
    read_predictions,
)
from invariance_probe.results.store import InMemory, Rows, read_rows
from invariance_probe.results.strips import Strip, load_strips, save_strips
from invariance_probe.statistics import by_image_of, far_outside, mean_interval, share_interval

TABLE, CONFIG, LAYERS = "results.parquet", "config.json", "layers.csv"
SUMMARY, CHANNELS, STRIPS = "summary.csv", "channels.parquet", "maps.npz"
PREDICTIONS = "predictions.csv"

SHARES = ("agreement", "accuracy")
"""Metrics that are shares of answers, which one image gives or does not."""
SUMMED = ("mean", "low", "high", "median", "worst", "worst_image", "far_outside", "n_images")
"""Columns of a summary beside those that make a group."""

Loaded = TypeVar("Loaded", bound="ProbeTables")
"""The class that was asked to load; a checker that sees methods alone refuses `typing.Self`."""


@dataclass(frozen=True, kw_only=True)
class ProbeTables:
    """A probe's table, with what is needed to read and to draw it.

    Attributes:
        rows: The tidy table, see `frame`; in memory, or in a file where it is large.
        layers: The probed layers, in the order of the network: name, channels, size, stride.
        config: Resolved configuration and provenance.
        strips: Maps of one image, for the picture.
        channels: Which channel took whose place, one row per layer, transform, warp and channel:
            ``source`` stands in for ``channel`` (fitted on all images); ``agreement``, share of the
            folds that say the same; ``better`` and ``worse``, number of images on which an
            assignment fitted on other images serves the channel better or worse than staying;
            ``p_value`` of so many by chance (sign test). Empty without ``+permutation`` methods.
        predictions: What a network whose maps were put back says of one image, see
            `predictions.rows`. Empty for other runs.
    """

    rows: Rows
    layers: pd.DataFrame
    config: dict[str, Any]
    strips: list[Strip] = field(default_factory=list)
    channels: pd.DataFrame = field(default_factory=pd.DataFrame)
    predictions: pd.DataFrame = field(default_factory=pd.DataFrame)

    @property
    def methods(self) -> tuple[Method, ...]:
        """What was compared, in the order asked for.

        Example:
            >>> result.methods
            ('oracle', 'oracle+permutation', 'affine', 'floor')
        """
        return parse_methods(self.config["methods"])

    @property
    def metrics(self) -> list[str]:
        """What was measured of each pair, method by method."""
        return self.rows.categories("metric")

    @property
    def moves(self) -> list[int]:
        """Numbers of the transforms that change something: others are a check, no measurement."""
        return [
            number
            for number, move in enumerate(self.config["moves"])
            if not np.array_equal(move["matrix"], np.eye(3))
        ]

    @property
    def explained(self) -> bool:
        """Whether all was measured that a decomposition rests on.

        Example:
            >>> result.explained  # linear mixings and any-warp were not asked for
            False
        """
        return set(EXPLAINING_METHODS) <= set(self.methods) and bool(self.moves)

    @property
    def partitioned(self) -> bool:
        """Whether all was measured that a partition of the variance rests on.

        Example:
            >>> result.partitioned  # gains were not asked for
            False
        """
        return set(PARTITION_METHODS) <= set(self.methods) and bool(self.moves)

    @property
    def table(self) -> pd.DataFrame:
        """The tidy table, see `frame`, of which this is no copy where it is in memory."""
        return self.rows.table if isinstance(self.rows, InMemory) else self.frame()

    def frame(self, **where: Any) -> pd.DataFrame:
        """Return the tidy long table, or some of its rows.

        Args:
            **where: By column, the value or the values that are wanted, such as
                ``layer="_blocks.0", method=["oracle", "affine"]``; by default all.

        Returns:
            One row per model, layer, call, image, transform, parameter, method and metric, with
            ``value`` and the diagnostics ``outcome``, ``n_iter``, ``theta_00`` to ``theta_12``,
            ``region_frac``, ``filled_frac``, ``stride``, ``channels``, ``height``, ``width``.

        Raises:
            InvalidInputError: If there is no such column, or rows are asked for that memory would
                not hold (`store.MOST_ROWS`).

        Example:
            >>> frame = result.frame(method="oracle")
            >>> frame[["layer", "transform", "method", "metric"]].iloc[0].tolist()
            ['1', 'rotation', 'oracle', 'fvu']
        """
        strange = set(where) - set(COLUMNS)
        if strange:
            raise InvalidInputError(
                f"column {', '.join(sorted(strange))}: the table has {', '.join(COLUMNS)}"
            )
        return read_rows(self.rows, COLUMNS, where)

    def moving(self) -> pd.DataFrame:
        """Leave out the transforms that change nothing.

        Returns:
            The other rows of the table.

        Example:
            >>> len(result.moving()) == len(result.frame())  # a rotation by 0 would be left out
            True
        """
        return self.frame(transform_number=self.moves)

    def by_image(
        self, keys: Sequence[str], *, every: bool = False, metric: str | None = None
    ) -> Iterator[pd.DataFrame]:
        """Lay out values with a row a group and a column an image: see `statistics.by_image`.

        Args:
            keys: Columns that make a group.
            every: Whether transforms that change nothing belong to it.
            metric: A single one; all by default.

        Yields:
            Groups in their natural order; of a large table those of a layer and metric at a time.

        Example:
            >>> [wide.shape for wide in result.by_image(["layer", "method"], metric="fvu")]
            [(4, 3)]
        """
        where: dict[str, Any] = {} if every else {"transform_number": self.moves}
        where |= {} if metric is None else {"metric": metric}
        parts = [name for name in self.rows.parted_by if name in keys or name in where]
        each = [[where[n]] if n in where else self.rows.categories(n) for n in parts]
        columns = list(dict.fromkeys([*keys, "image", "value", *where]))
        for values in product(*each):
            only = where | dict(zip(parts, values, strict=True))
            pieces = [piece for piece in self.rows.pieces(columns, only) if len(piece)]
            if pieces:
                yield by_image_of(pieces, keys)

    def summary(
        self, by: Sequence[str] = ("layer", "transform", "method", "metric")
    ) -> pd.DataFrame:
        """Average over the images, with intervals over the images: see `statistics`.

        All parameters of a family are averaged within an image first, as they are repeated measures
        of it; those that change nothing (0 degrees, factor 1) are left out, as they are a check and
        no measurement, unless ``parameter`` is among `by`.

        Args:
            by: Columns that make a group; ``method`` and ``metric`` belong to it. ``parameter``
                brings ``transform_number`` with it, as one number does not name every transform.

        Returns:
            These columns; ``mean``, ``low``, ``high`` (95 % interval, of `SHARES` as of
            `statistics.share_interval`; NaN below three images); ``median``; ``worst``, the
            value of the image that is aligned worst, and ``worst_image``, its name;
            ``far_outside``, the names of images that lie far outside the others
            (`statistics.far_outside`), parted by semicolons; ``n_images``. Layers and methods in
            their natural order. No rows if every transform of the run is left out.

        Example:
            >>> fvu = result.summary().query("metric == 'fvu'").set_index("method")
            >>> row = fvu.loc["oracle+permutation", ["mean", "low", "high"]]
            >>> row.astype(float).round(6).tolist()
            [0.0, 0.0, 0.0]
        """
        keys = numbered(by)
        parts = [self._summed(wide) for wide in self.by_image(keys, every="parameter" in keys)]
        if not parts:
            return pd.DataFrame(columns=[*keys, *SUMMED])
        # a large table comes a layer and metric at a time
        return parts[0] if len(parts) == 1 else _sorted_again(parts, keys)

    def _summed(self, wide: pd.DataFrame) -> pd.DataFrame:
        """Summarise groups of values by image."""
        values = wide.to_numpy(dtype=float)
        partners = self.partners(wide)
        mean, low, high = mean_interval(values, partners, self.common_errors(wide))
        count = np.isfinite(values).sum(1)
        out = wide.index.to_frame(index=False)
        share = out["metric"].isin(SHARES).to_numpy() if "metric" in out else []
        if np.any(share):
            least, most = share_interval(mean, count)
            # pairs that share images vary more than as many images do
            shared = (partners >= 0).any(1)
            least = np.where(shared, np.fmin(least, np.maximum(low, 0)), least)
            most = np.where(shared, np.fmax(most, np.minimum(high, 1)), most)
            low, high = np.where(share, [least, most], [low, high])
        columns = (mean, low, high, *_single_images(wide), count)
        return out.assign(**dict(zip(SUMMED, columns, strict=True)))

    def partners(self, wide: pd.DataFrame) -> Int[np.ndarray, "group image"]:
        """Find out which images the pairs of unrelated ones share.

        Args:
            wide: Values with a row a group and a column an image, see `statistics.by_image`.

        Returns:
            The column of the other image; -1 where there is none.

        Example:
            >>> from invariance_probe.statistics import by_image
            >>> wide = by_image(result.moving(), ["method"])
            >>> int(result.partners(wide).max())  # no unrelated images were compared
            -1
        """
        none: np.ndarray = np.full(wide.shape, -1)
        if "method" not in wide.index.names:
            return none
        names = self.config["images"]
        column = {name: number for number, name in enumerate(wide.columns)}
        # runs of version 0.1.0 do not tell
        partners = self.config.get("partners", [None] * len(names))
        other = {
            names[image]: column.get(names[partner], -1)
            for image, partner in enumerate(partners)
            if partner is not None
        }
        methods = [Method(text) for text in wide.index.get_level_values("method")]
        shared = [method.warp is Warp.UNRELATED for method in methods]
        none[shared] = [other.get(name, -1) for name in wide.columns]
        return none

    def common_errors(
        self, wide: pd.DataFrame, layer: str | None = None
    ) -> Float[np.ndarray, " group"]:
        """Find out what errors the values of a group have in common: those of the floor's factor.

        Args:
            wide: Values with a row a group and a column an image, see `statistics.by_image`.
            layer: Their layer, if it is not among the groups.

        Returns:
            Standard errors relative to the groups' means; 0 but for floors.

        Example:
            >>> result.common_errors(wide, layer="1").shape
            (4,)
        """
        # runs of version 0.1.0 have none; of several layers the mean stands for all
        known = self.config.get("floor", {"errors": {}})["errors"]
        usual = float(np.mean(list(known.values()))) if known else 0.0
        groups = wide.index.to_frame(index=False)
        if "method" not in groups:
            return np.zeros(len(wide))
        layers = groups["layer"] if "layer" in groups else pd.Series(layer, groups.index)
        relative = layers.astype(object).map(known).astype(float).fillna(usual)
        # rel_l2 is a root of what was measured; nothing is known of other metrics
        metrics = groups["metric"] if "metric" in groups else pd.Series("fvu", groups.index)
        share = metrics.astype(object).map({"fvu": 1.0, "rel_l2": 0.5}).astype(float).fillna(0.0)
        errors: np.ndarray = (relative * share * (groups["method"] == Method.FLOOR)).to_numpy()
        return errors

    def write(self, folder: Path) -> None:
        """Write the files that `load` reads, and the summary for those who look into a folder.

        Args:
            folder: An empty folder.

        Example:
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     result.write(Path(folder))
            ...     (Path(folder) / "figures").exists()  # `fill` draws, too
            False
        """
        self.rows.write(folder / TABLE)
        self.summary().to_csv(folder / SUMMARY, index=False, float_format="%.6g")
        self.layers.to_csv(folder / LAYERS, index=False)
        if len(self.channels):
            self.channels.to_parquet(folder / CHANNELS, index=False)
        if len(self.predictions):
            self.predictions.to_csv(folder / PREDICTIONS, index=False)
        save_strips(folder / STRIPS, self.strips)
        text = json.dumps(self.config, indent=2)
        (folder / CONFIG).write_text(text + "\n", encoding="utf-8")

    @classmethod
    def load(cls: type[Loaded], folder: str | Path) -> Loaded:
        """Read a run folder.

        Args:
            folder: Where a run was written to.

        Returns:
            The same tables.

        Raises:
            InvalidInputError: If the folder holds no run, or a file of it is damaged.

        Example:
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     result.write(Path(folder))  # or `save`, which draws, too
            ...     again = ip.ProbeResult.load(folder)
            >>> again.summary().equals(result.summary())
            True
        """
        path = check_path("folder", folder)
        missing = [name for name in (CONFIG, TABLE, LAYERS) if not (path / name).is_file()]
        if missing and (path / UNFINISHED).is_dir():
            raise InvalidInputError(
                f"folder {str(path)!r} holds a run that was stopped; run the same command again, "
                "and it goes on"
            )
        if missing:
            raise InvalidInputError(
                f"folder {str(path)!r} holds no run that can be loaded: {', '.join(missing)} is "
                "missing; name a folder that a probe wrote"
            )
        config = read_config(path / CONFIG)
        permuted, predicted = path / CHANNELS, path / PREDICTIONS
        return cls(
            rows=open_rows(path / TABLE, config),
            layers=read_layers(path / LAYERS, config),
            config=config,
            strips=load_strips(path / STRIPS),
            channels=read_channels(permuted, config) if permuted.exists() else pd.DataFrame(),
            predictions=(
                read_predictions(predicted, config) if predicted.exists() else pd.DataFrame()
            ),
        )


def _sorted_again(parts: Sequence[pd.DataFrame], keys: Sequence[str]) -> pd.DataFrame:
    """Put summaries together, the groups in their natural order."""
    return pd.concat(parts).sort_values(list(keys), kind="stable", ignore_index=True)


def numbered(by: Sequence[str]) -> list[str]:
    """Tell transforms apart that have the same ``parameter``, or none, such as affine maps.

    Args:
        by: Columns that make a group.

    Returns:
        The same, with ``transform_number`` after ``parameter``.
    """
    keys = list(by)
    if "parameter" in keys and "transform_number" not in keys:
        keys.insert(keys.index("parameter") + 1, "transform_number")
    return keys


def best_is_high(metric: str) -> bool:
    """Tell which way a metric points.

    Args:
        metric: Its name.

    Returns:
        True if its highest value is its best.
    """
    return metric in {*BEST_HIGH, *SHARES, "output_cosine"}


def _single_images(
    wide: pd.DataFrame,
) -> tuple[Float[np.ndarray, " group"], Float[np.ndarray, " group"], list[str], list[str]]:
    """Of each group the median, the worst value and its image, and the images far outside."""
    values = wide.to_numpy(dtype=float)
    names = np.array([str(name) for name in wide.columns], dtype=object)
    metrics = wide.index.get_level_values("metric") if "metric" in wide.index.names else []
    sign = np.ones(len(wide))
    sign[[best_is_high(metric) for metric in metrics]] = -1
    known = np.isfinite(values)
    some = known.any(1)
    median, worst = np.full((2, len(wide)), np.nan)
    median[some] = np.nanmedian(values[some], axis=1)
    place = np.where(known, sign[:, None] * values, -np.inf).argmax(1)
    worst[some] = values[some, place[some]]
    images = [str(name) if one else "" for name, one in zip(names[place], some, strict=True)]
    outside = ["; ".join(names[marked]) if marked.any() else "" for marked in far_outside(values)]
    return median, worst, images, outside
