"""What a probe returns: its tables, explained and drawn, and written as a run folder."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from invariance_probe.files import check_out, new_folder
from invariance_probe.machine import provenance
from invariance_probe.plane.transforms import Transform, described
from invariance_probe.results import decomposition, recovery
from invariance_probe.results.reading import FORMAT
from invariance_probe.results.rows import SHAPE, Layout
from invariance_probe.results.store import Rows
from invariance_probe.results.strips import Strip
from invariance_probe.results.tables import ProbeTables

if TYPE_CHECKING:
    import matplotlib.figure  # slow to import, and measuring draws nothing

_PLACE = ("stride_y", "stride_x", "offset_y", "offset_x", "measured")


class ProbeResult(ProbeTables):
    """A probe's tables, and what they say: summed up, explained, drawn, written."""

    def decomposition(self, by: Sequence[str] = ("layer", "transform")) -> pd.DataFrame:
        """Split what the oracle warp leaves into its parts: see `decomposition.decomposition`.

        Args:
            by: Columns that make a group.

        Returns:
            One row a group and part, with intervals.
        """
        return decomposition.decomposition(self, by)

    def recovered_share(
        self, metric: str | None = None, by: Sequence[str] = ("layer", "transform")
    ) -> pd.DataFrame:
        """Compare what putting maps back recovers with what `input` does: see `recovery`.

        Args:
            metric: Which of the run's metrics; the first by default.
            by: Columns that make a group.

        Returns:
            One row a group and method, with intervals.
        """
        return recovery.recovered_share(self, metric, by)

    def plot(self, kind: str) -> "matplotlib.figure.Figure":
        """Draw a figure.

        Args:
            kind: A family of the run (``"rotation"``, ``"scaling"``, ...) for the residual against
                its parameter, ``"depth"`` for the residual by layer, ``"maps"`` for the maps
                themselves, ``"parts"`` for the decomposition of the residual, ``"channels"`` for
                which channel took whose place; of a run of `recover` ``"recovery"`` for its first
                metric by layer, ``"predictions"`` for what the network says of one image.

        Returns:
            A matplotlib figure.
        """
        from invariance_probe.results import figures  # slow to import, see above

        return figures.plot(self, kind)

    def save(self, out: str | Path) -> Path:
        """Write the run folder, whole or not at all.

        Args:
            out: A folder that does not exist or is empty.

        Returns:
            The folder: ``results.parquet``, ``summary.csv``, ``layers.csv``, ``config.json``,
            ``maps.npz``, ``figures/`` (PNG and SVG) and, where channels were permuted,
            ``channels.parquet``; of a run of `recover` ``predictions.csv`` and ``recovered.csv``.
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
