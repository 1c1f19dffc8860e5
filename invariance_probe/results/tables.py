"""A run's tables: what a probe measured, its summary, and the files that hold it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from invariance_probe.alignment.metrics import BEST_HIGH
from invariance_probe.errors import InvalidInputError
from invariance_probe.errors.checks import check_path
from invariance_probe.files import UNFINISHED
from invariance_probe.results.methods import EXPLAINING_METHODS, Method, Warp, parse_methods
from invariance_probe.results.reading import (
    read_channels,
    read_config,
    read_layers,
    read_predictions,
    read_table,
)
from invariance_probe.results.strips import Strip, load_strips, save_strips
from invariance_probe.statistics import by_image, far_outside, mean_interval, share_interval

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
        table: The tidy table, see `frame`.
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

    table: pd.DataFrame
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
    def explained(self) -> bool:
        """Whether all was measured that a decomposition rests on.

        Example:
            >>> result.explained  # linear mixings and any-warp were not asked for
            False
        """
        return set(EXPLAINING_METHODS) <= set(self.methods) and len(self.moving()) > 0

    def frame(self) -> pd.DataFrame:
        """Return the tidy long table.

        Returns:
            One row per model, layer, call, image, transform, parameter, method and metric, with
            ``value`` and the diagnostics ``outcome``, ``n_iter``, ``theta_00`` to ``theta_12``,
            ``region_frac``, ``filled_frac``, ``stride``, ``channels``, ``height``, ``width``.

        Example:
            >>> frame = result.frame()
            >>> frame[["layer", "transform", "method", "metric"]].iloc[0].tolist()
            ['1', 'rotation', 'oracle', 'fvu']
        """
        return self.table.copy()

    def moving(self) -> pd.DataFrame:
        """Leave out the transforms that change nothing: a check, and no measurement.

        Returns:
            The other rows of the table.

        Example:
            >>> len(result.moving()) == len(result.frame())  # a rotation by 0 would be left out
            True
        """
        still = [
            number
            for number, move in enumerate(self.config["moves"])
            if np.array_equal(move["matrix"], np.eye(3))
        ]
        return self.table[~self.table["transform_number"].isin(still)]

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
        rows, keys = self.grouped(by)
        if rows.empty:
            return pd.DataFrame(columns=[*keys, *SUMMED])
        wide = by_image(rows, keys)
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

    def grouped(self, by: Sequence[str]) -> tuple[pd.DataFrame, list[str]]:
        """Say which rows a summary averages, and what makes a group of them.

        Args:
            by: Columns that make a group, as of `summary`.

        Returns:
            The rows, and the columns with all that belongs to them.

        Example:
            >>> result.grouped(["layer", "parameter"])[1]
            ['layer', 'parameter', 'transform_number']
        """
        keys = numbered(by)
        return (self.table if "parameter" in keys else self.moving()), keys

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
        self.table.to_parquet(folder / TABLE, index=False)
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
            ...     again = ip.ProbeResult.load(result.save(f"{folder}/run"))
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
            table=read_table(path / TABLE, config),
            layers=read_layers(path / LAYERS, config),
            config=config,
            strips=load_strips(path / STRIPS),
            channels=read_channels(permuted, config) if permuted.exists() else pd.DataFrame(),
            predictions=(
                read_predictions(predicted, config) if predicted.exists() else pd.DataFrame()
            ),
        )


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
    outside = ["; ".join(names[far_outside(row)]) for row in values]
    return median, worst, images, outside
