"""What a probe returns: its tables, explained and drawn, and written as a run folder."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from invariance_probe.errors import InvalidInputError
from invariance_probe.files import check_out, new_folder
from invariance_probe.machine import provenance
from invariance_probe.plane.transforms import Transform, described
from invariance_probe.results import decomposition, glance, partition, recovery
from invariance_probe.results.methods import Method
from invariance_probe.results.reading import FORMAT
from invariance_probe.results.rows import SHAPE, Layout
from invariance_probe.results.store import Rows
from invariance_probe.results.strips import Strip
from invariance_probe.results.tables import ProbeTables, best_is_high, numbered

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure  # slow to import, and measuring draws nothing

_PLACE = ("stride_y", "stride_x", "offset_y", "offset_x", "measured")


class ProbeResult(ProbeTables):
    """A probe's tables, and what they say: summed up, explained, drawn, written.

    Example:
        >>> import torch, invariance_probe as ip
        >>> from invariance_probe.controls import c4_network
        >>> images = torch.rand(3, 3, 25, 25, generator=torch.Generator().manual_seed(0))
        >>> methods = ["oracle", "oracle+permutation", "affine", "floor"]
        >>> result = ip.probe(
        ...     c4_network(depth=1), images, layers="1", transforms=ip.Rotation(90), methods=methods
        ... )
        >>> result
        ProbeResult of GroupNetwork, 3 images, 1 layer, 1 transform; fvu, means over
        ...
    """

    def __repr__(self) -> str:
        """One screen: the dataclass's own would hold every table in full."""
        return glance.text(self)

    def _repr_html_(self) -> str:
        """What a notebook shows: the table and a small figure."""
        from invariance_probe.results import figures  # slow to import, see above

        kinds = figures.kinds(self)  # the first is a family, which tells more of a single layer
        by_depth = [kind for kind in kinds if kind in {"depth", "recovery"}]
        likely = kinds[:1] if len(self.layers) == 1 else by_depth
        return glance.page(self, likely[0] if likely else None)

    def per_image(
        self, by: Sequence[str] = ("layer", "transform", "method", "metric")
    ) -> pd.DataFrame:
        """List what `summary` averages: one value an image.

        Args:
            by: Columns that make a group, as of `summary`.

        Returns:
            These columns, ``image`` and ``value``, the mean over a family's parameters, NaN where
            an image has none.

        Example:
            >>> result.per_image().query("method == 'oracle' and metric == 'fvu'")["image"].tolist()
            ['0', '1', '2']
        """
        keys = numbered(by)
        # stacking as it will be keeps NaN, and what belongs to a group together
        parts = [
            wide.stack(future_stack=True).rename("value").reset_index()
            for wide in self.by_image(keys, every="parameter" in keys)
        ]
        return (
            pd.concat(parts, ignore_index=True)
            if parts
            else pd.DataFrame(columns=[*keys, "image", "value"])
        )

    def worst(self, count: int = 5, *, method: str | None = None) -> pd.DataFrame:
        """List the pairs that are aligned worst, for a look at their images.

        Args:
            count: How many.
            method: Which method's; ``"affine"`` by default, or the likeliest that was measured.

        Returns:
            ``image``, ``layer``, ``transform``, ``parameter`` and, of the run's first metric, the
            ``value`` beside the pair's own ``floor`` and ``unrelated`` where they were measured.

        Raises:
            InvalidInputError: If the run has no such method.

        Example:
            >>> list(result.worst(1))
            ['image', 'layer', 'transform', 'parameter', 'value', 'floor']
        """
        chosen = glance.best_warp(self) if method is None else method
        if chosen not in self.methods:
            raise InvalidInputError(
                f"method {chosen!r} was not measured; this run has {', '.join(self.methods)}"
            )
        metric = glance.headline_metric(self)
        rows = self.frame(metric=metric, transform_number=self.moves)
        keys = ["image", "layer", "transform", "parameter", "transform_number"]
        listed = rows[rows["method"] == chosen][[*keys, "value"]]
        for other in (Method.FLOOR, Method.UNRELATED):
            if other in self.methods and other != chosen:
                beside = rows[rows["method"] == other][[*keys, "value"]]
                beside = beside.rename(columns={"value": str(other)}).drop(columns="parameter")
                listed = listed.merge(beside, on=[k for k in keys if k != "parameter"], how="left")
        ordered = listed.sort_values(
            "value", ascending=best_is_high(metric), kind="stable", na_position="last"
        )
        return ordered.head(count).drop(columns="transform_number").reset_index(drop=True)

    def decomposition(self, by: Sequence[str] = ("layer", "transform")) -> pd.DataFrame:
        """Split what the oracle warp leaves into its parts: see `decomposition.decomposition`.

        Args:
            by: Columns that make a group.

        Returns:
            One row a group and part, with intervals.

        Example:
            >>> import torch, invariance_probe as ip
            >>> from invariance_probe.controls import c4_network
            >>> explained = ip.probe(
            ...     c4_network(depth=1), images, layers="1", transforms=ip.Rotation(90),
            ...     methods=[*methods, "oracle+linear", "affine+permutation", "affine+linear",
            ...              "any-warp"],
            ... )
            >>> shares = explained.decomposition().set_index("part")["share"]
            >>> round(sum(shares[["floor", "left", "mixing", "permutation", "other warp"]]), 6)
            1.0
        """
        return decomposition.decomposition(self, by)

    def partition(self, by: Sequence[str] = ("layer", "transform")) -> pd.DataFrame:
        """Split the maps' variance into unchanged, recoverable and lost: see `partition.partition`.

        Args:
            by: Columns that make a group.

        Returns:
            One row a group and part, with intervals.

        Example:
            >>> import torch, invariance_probe as ip
            >>> from invariance_probe.controls import c4_network
            >>> five = torch.rand(5, 3, 25, 25, generator=torch.Generator().manual_seed(0))
            >>> moved = ip.probe(
            ...     c4_network(depth=1), five, layers="1", transforms=ip.Rotation(90),
            ...     methods=["identity+gain", "oracle+gain", "oracle+linear", "floor"],
            ... )
            >>> shares = moved.partition().set_index("part")["share"]
            >>> list(shares.index), bool(shares["lost"] < 0.01), round(sum(shares), 6)
            (['unchanged', 'warp', 'mixing', 'grid', 'lost'], True, 1.0)
        """
        return partition.partition(self, by)

    def recovered_share(
        self, metric: str | None = None, by: Sequence[str] = ("layer", "transform")
    ) -> pd.DataFrame:
        """Compare what putting maps back recovers with what `input` does: see `recovery`.

        Args:
            metric: Which of the run's metrics; the first by default.
            by: Columns that make a group.

        Returns:
            One row a group and method, with intervals.

        Example:
            >>> import torch, invariance_probe as ip
            >>> from invariance_probe.controls import c4_pooled_network
            >>> _ = torch.manual_seed(0)
            >>> model = torch.nn.Sequential(
            ...     c4_pooled_network(depth=1), torch.nn.Flatten(), torch.nn.Linear(8 * 21 * 21, 4)
            ... )
            >>> back = ip.recover(model, images, layers="0.1", transforms=ip.Rotation(90))
            >>> back.recovered_share("kl")[["method", "lost", "share", "reason"]].shape
            (4, 4)
        """
        return recovery.recovered_share(self, metric, by)

    def plot(
        self, kind: str, ax: "matplotlib.axes.Axes | None" = None
    ) -> "matplotlib.figure.Figure":
        """Draw a figure, which a notebook shows.

        Args:
            kind: A family of the run (``"rotation"``, ``"scaling"``, ...) for the residual against
                its parameter, ``"depth"`` for the residual by layer, ``"maps"`` for the maps
                themselves, ``"parts"`` for the decomposition of the residual, ``"partition"``
                for that of the variance, ``"channels"`` for which channel took whose place; of a
                run of `recover` ``"recovery"`` for its first metric by layer, ``"predictions"`` for
                what the network says of one image.
            ax: Axes of your own figure, for one panel of a family or of ``"depth"``, see
                `panels.draw`; by default a new figure with all panels.

        Returns:
            A matplotlib figure: the new one, or that of `ax`.

        Example:
            >>> figure = result.plot("depth")
            >>> len(figure.axes) > 0
            True
            >>> result.plot("depth", ax=figure.axes[0]) is figure
            True
        """
        from invariance_probe.results import figures, panels  # slow to import, see above

        return figures.plot(self, kind) if ax is None else panels.draw(self, kind, ax)

    def save(self, out: str | Path) -> Path:
        """Write the run folder, whole or not at all.

        Args:
            out: A folder that does not exist or is empty.

        Returns:
            The folder: ``results.parquet``, ``summary.csv``, ``layers.csv``, ``config.json``,
            ``maps.npz``, ``figures/`` (PNG and SVG) and, where channels were permuted,
            ``channels.parquet``; of a run of `recover` ``predictions.csv`` and ``recovered.csv``.

        Example:
            >>> import tempfile
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     saved = result.save(f"{folder}/run")
            ...     sorted(path.name for path in saved.iterdir())[:3]
            ['channels.parquet', 'config.json', 'figures']
        """
        target = check_out(out)
        assert target is not None
        with new_folder(target) as partial:
            self.fill(partial)
        return target

    def fill(self, folder: Path) -> None:
        """Write all files of a run folder.

        Args:
            folder: An empty folder.

        Example:
            >>> from pathlib import Path
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     result.fill(Path(folder))
            ...     (Path(folder) / "summary.csv").is_file()
            True
        """
        from invariance_probe.results import figures, style  # slow to import, see above

        self.write(folder)
        shares = [self.recovered_share(metric) for metric in recovery.measured(self)]
        if shares:
            recovered = pd.concat(shares, ignore_index=True)
            recovered.to_csv(folder / recovery.RECOVERED, index=False, float_format="%.6g")
        (folder / "figures").mkdir()
        for kind in figures.kinds(self):
            style.save(self.plot(kind), folder / "figures" / kind)


def assemble(
    rows: Rows,
    layout: Layout,
    *,
    strips: list[Strip],
    permutations: pd.DataFrame,
    wall_time: float,
    predictions: pd.DataFrame | None = None,
) -> ProbeResult:
    """Put together what a probe measured.

    Args:
        rows: All rows.
        layout: What they stand for.
        strips: Maps for the picture.
        permutations: Which channel took whose place, by transform number.
        wall_time: Seconds that the probe took.
        predictions: What a network says of one image; none by default.

    Returns:
        The result.
    """
    layers, transforms = layout.layers, layout.transforms
    listing = pd.DataFrame(
        {"name": [one.name for one in layers], "type": [one.type for one in layers]}
        | {n: [getattr(one, n) for one in layers] for n in (*SHAPE, *_PLACE)}
    )
    full = {
        "format": FORMAT,
        **layout.config,
        "moves": described(transforms),
        "provenance": provenance(wall_time),
    }
    # through JSON, so that a result is the same before saving and after loading
    full = json.loads(json.dumps(full))
    return ProbeResult(
        rows=rows,
        layers=listing,
        config=full,
        strips=strips,
        channels=_with_transforms(permutations, transforms),
        predictions=pd.DataFrame() if predictions is None else predictions,
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
