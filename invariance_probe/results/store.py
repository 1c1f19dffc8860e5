"""The rows of a run: held in memory, or left in their file and read some at a time."""

import shutil
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import parquet

from invariance_probe.errors import InvalidInputError
from invariance_probe.files import count_rows
from invariance_probe.results.rows import Layout

MOST_ROWS = 10_000_000
"""Rows of the tidy table that are held in memory: 0.15 KB each, and several times that while they
are laid out or drawn from."""
BLOCK_ROWS = 2**19
"""Rows, a pair and method each, that are sorted at a time on their way into a file: 50 MB, and
several times that in the making."""
_COMPRESSION = "zstd"

Filters = Mapping[str, Any]
"""By column, the value or the values that are wanted."""


class Rows(ABC):
    """The rows of the tidy table."""

    @property
    @abstractmethod
    def count(self) -> int:
        """How many there are."""

    @abstractmethod
    def categories(self, column: str) -> list[str]:
        """Say what names a column may hold.

        Args:
            column: One of names.

        Returns:
            The names, in their natural order.
        """

    @abstractmethod
    def pieces(self, columns: Sequence[str], where: Filters) -> Iterator[pd.DataFrame]:
        """Read the rows that are wanted, some at a time.

        Args:
            columns: Those that are wanted.
            where: Which rows.

        Yields:
            Rows in their order; names are categories, the same in all pieces.
        """

    @abstractmethod
    def write(self, path: Path) -> None:
        """Write all rows into a Parquet file.

        Args:
            path: The file, which does not exist.
        """

    @property
    def parted_by(self) -> tuple[str, ...]:
        """Columns by which rows are read apart, so that what is read at a time stays small."""
        return ()


@dataclass(frozen=True, eq=False)
class InMemory(Rows):
    """Rows in memory.

    Attributes:
        table: All of them.
    """

    table: pd.DataFrame

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.table)

    def categories(self, column: str) -> list[str]:
        """Say what names a column may hold: see `Rows`.

        Args:
            column: One of names.

        Returns:
            The names.
        """
        return [str(name) for name in self.table[column].cat.categories]

    def pieces(self, columns: Sequence[str], where: Filters) -> Iterator[pd.DataFrame]:
        """Read rows, all at a time: see `Rows`.

        Args:
            columns: Those that are wanted.
            where: Which rows.

        Yields:
            The rows.
        """
        yield self.table.loc[_wanted(self.table, where), list(columns)]

    def write(self, path: Path) -> None:
        """Write all rows: see `Rows`.

        Args:
            path: The file.
        """
        self.table.to_parquet(path, index=False, compression=_COMPRESSION)


@dataclass(frozen=True, eq=False)
class InFile(Rows):
    """Rows of a Parquet file that `write_sorted` wrote: more than memory should hold.

    Attributes:
        path: The file.
        names: What each column of names may hold, in natural order.
    """

    path: Path
    names: Mapping[str, Sequence[str]]

    @cached_property
    def count(self) -> int:
        """How many there are."""
        return count_rows(self.path)

    @property
    def parted_by(self) -> tuple[str, ...]:
        """Columns by which rows are read apart."""
        return ("layer", "metric")

    def categories(self, column: str) -> list[str]:
        """Say what names a column may hold: see `Rows`.

        Args:
            column: One of names.

        Returns:
            The names.
        """
        return list(self.names[column])

    def pieces(self, columns: Sequence[str], where: Filters) -> Iterator[pd.DataFrame]:
        """Read rows, at most a group of the file at a time: see `Rows`.

        Args:
            columns: Those that are wanted.
            where: Which rows.

        Yields:
            The rows.
        """
        needed = list(dict.fromkeys([*columns, *where]))
        with parquet.ParquetFile(self.path) as file:
            for number in self._row_groups(file.metadata, where):
                piece = self._named(file.read_row_group(number, needed).to_pandas())
                piece = piece.loc[_wanted(piece, where), list(columns)]
                if len(piece):
                    yield piece

    def write(self, path: Path) -> None:
        """Copy the file: see `Rows`.

        Args:
            path: Where to.
        """
        shutil.copyfile(self.path, path)

    def _row_groups(self, about: parquet.FileMetaData, where: Filters) -> Iterator[int]:
        """Numbers of the groups of the file that hold a layer that is wanted."""
        place = list(about.schema.names).index("layer")
        wanted = set(_several(where["layer"])) if "layer" in where else set(self.names["layer"])
        for number in range(about.num_row_groups):
            # a group is of one layer, so that the least name and the greatest are the same
            if about.row_group(number).column(place).statistics.min in wanted:
                yield number

    def _named(self, piece: pd.DataFrame) -> pd.DataFrame:
        """A piece, its names as categories of the whole."""
        for name, known in self.names.items():
            if name in piece:
                ordered = name not in {"model", "outcome"}
                piece[name] = piece[name].astype(pd.CategoricalDtype(list(known), ordered))
        return piece


def _wanted(table: pd.DataFrame, where: Filters) -> np.ndarray:
    """Which rows are wanted."""
    wanted = np.ones(len(table), dtype=bool)
    for name, values in where.items():
        wanted &= table[name].isin(_several(values)).to_numpy()
    return wanted


def _several(values: Any) -> list[Any]:
    """Values that are wanted; a single one, or a text, is one."""
    if isinstance(values, str) or not isinstance(values, Collection):
        return [values]
    return list(values)


def read_rows(rows: Rows, columns: Sequence[str], where: Filters) -> pd.DataFrame:
    """Read all rows that are wanted.

    Args:
        rows: Of a run.
        columns: Those that are wanted.
        where: Which rows.

    Returns:
        The rows, `MOST_ROWS` at most.

    Raises:
        InvalidInputError: If there are more.
    """
    pieces, count = [], 0
    for piece in rows.pieces(columns, where):
        count += len(piece)
        if count > MOST_ROWS and not isinstance(rows, InMemory):
            raise InvalidInputError(
                f"more than {MOST_ROWS:,} rows of {rows.count:,} are asked for, which do not go "
                "into memory; name some, such as frame(layer='...', metric='fvu'), or take "
                "summary()"
            )
        pieces.append(piece)
    return pd.concat(pieces, ignore_index=True) if len(pieces) != 1 else pieces[0]


def write_sorted(parts: Sequence[Path], layout: Layout, path: Path) -> InFile:
    """Lay out the tidy table in a file, of parts that no memory need hold together.

    Args:
        parts: Parquet files with rows as of `rows.wide_table`, in any order, together those of
            the run.
        layout: What the numbers in them stand for.
        path: The file to write.

    Returns:
        The rows. In the file images stand in blocks; within a block rows are sorted as in memory.
        Each layer of a block is a row group of its own, so that reading one layer touches no other.
    """
    held = [pd.unique(pd.read_parquet(part, columns=["image"])["image"]) for part in parts]
    # as parts first mention them: the images of a block then lie in few parts
    images = pd.unique(np.concatenate(held))
    size = max(1, BLOCK_ROWS * len(images) // sum(map(count_rows, parts)))
    known = layout.names
    writer: parquet.ParquetWriter | None = None
    try:
        for start in range(0, len(images), size):
            block = np.sort(images[start : start + size])
            wide = pd.concat(
                [
                    pd.read_parquet(part, filters=[("image", "in", block)])
                    for part, some in zip(parts, held, strict=True)
                    if np.isin(some, block).any()
                ],
                ignore_index=True,
            )
            for _, one in wide.groupby("layer", sort=True):
                frame = layout.tidy(one)
                frame["outcome"] = frame["outcome"].astype(pd.CategoricalDtype(known["outcome"]))
                table = pa.Table.from_pandas(frame, preserve_index=False)
                writer = writer or parquet.ParquetWriter(
                    path, table.schema, compression=_COMPRESSION
                )
                writer.write_table(table.cast(writer.schema), row_group_size=len(frame))
    finally:
        if writer is not None:
            writer.close()
    return InFile(path, known)
