"""What lies in a run folder, read on no trust: whole, of a known format, and of one piece."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pyarrow import parquet

from invariance_probe.errors import InvalidInputError
from invariance_probe.files import (
    check_format,
    count_rows,
    read_json,
    read_parquet,
    reading,
    refuse_explosion,
)
from invariance_probe.results.methods import METHODS, Warp
from invariance_probe.results.predictions import UPRIGHT
from invariance_probe.results.rows import SHAPE, THETA
from invariance_probe.results.store import MOST_ROWS, InFile, InMemory, Rows

FORMAT = 2
"""Of run folders, in their `config.json`; those of version 0.1.0 name none, and are read."""
_MOST = 100_000
"""Bytes of the first line of a small table, of which at most one in a hundred is a comma."""
_TEXTS = dict.fromkeys(("name", "type", "layer", "method", "image"), str)
"""Columns of names, some of which look like numbers."""
_NUMBERS = ("parameter", "transform_number", "value", "n_iter", "region_frac", "filled_frac")
_NAMES = ("model", "layer", "image", "transform", "method", "metric", "outcome")
COLUMNS = (*_NAMES, *_NUMBERS, "call", *THETA, "stride", *SHAPE)
"""Of the tidy table."""
_CHANNELS = ("layer", "transform", "warp")
_CHANNEL_NUMBERS = (
    *("parameter", "transform_number", "channel", "source", "agreement"),
    *("better", "worse", "p_value"),
)
_RANKS = ("transform_number", "rank", "class", "probability")
_PREDICTIONS = ("image", "layer", "method", "name")
LAYER_NUMBERS = (*SHAPE, "stride_y", "stride_x", "offset_y", "offset_x")


def read_config(path: Path) -> dict[str, Any]:
    """Read what was measured, and how.

    Args:
        path: The file.

    Returns:
        The configuration of a run.

    Raises:
        InvalidInputError: If it is damaged, or of a later version.
    """  # noqa: DOC502  (raised by what is called)
    config = read_json(path)
    check_format(path, config, FORMAT)
    texts = {name: _all(config.get(name), str) for name in ("layers", "images", "methods")}
    moves = config.get("moves")
    good = all(texts.values()) and isinstance(config.get("model"), str) and _all(moves, dict)
    good &= set(config["methods"]) <= set(METHODS) if texts["methods"] else False
    good &= isinstance(config.get("provenance", {}), dict)
    good &= type(seed := config.get("seed")) is int and seed >= 0
    alike, unmeasured = config.get("near_duplicates", []), config.get("unmeasured", [])
    good &= _all(unmeasured, str, some=False) and _all(alike, list, some=False)
    good = good and all(_all(names, str) for names in alike)
    good = good and _knows_its_images(config)
    for move in moves if good and isinstance(moves, list) else ():
        with reading(path):
            good &= isinstance(move["kind"], str) and isinstance(move["parameter"], int | float)
            matrix = np.array(move["matrix"], dtype=float)
            good &= matrix.shape == (3, 3) and bool(np.isfinite(matrix).all())
    _refuse_unless(good, path, "it is not the configuration of a probe")
    return config


def _knows_its_images(config: Mapping[str, Any]) -> bool:
    """Whether partners are images of the run, and the floor's copies and errors are told whole."""
    partners, images = config.get("partners", []), len(config["images"])
    floor = config.get("floor", {"shifts": [], "errors": {}})
    if not isinstance(partners, list) or not isinstance(floor, dict):
        return False
    errors = floor.get("errors")
    return (
        len(partners) in {0, images}
        and all(one is None or (type(one) is int and 0 <= one < images) for one in partners)
        and isinstance(floor.get("shifts"), list)
        and isinstance(errors, dict)
        and all(isinstance(one, int | float) for one in errors.values())
    )


def read_table(path: Path, config: Mapping[str, Any]) -> pd.DataFrame:
    """Read the tidy table of a run.

    Args:
        path: The file.
        config: Configuration of the same run.

    Returns:
        Its rows, which are about nothing that the configuration does not name.

    Raises:
        InvalidInputError: If it is damaged, or of another run.
    """  # noqa: DOC502  (raised by what is called)
    table = read_parquet(path)
    _check_table(path, table, config)
    return table


def _check_table(path: Path, table: pd.DataFrame, config: Mapping[str, Any]) -> None:
    """Refuse rows that are of another run, or no rows of a run."""
    check_columns(path, table, COLUMNS, numbers=_NUMBERS)
    with reading(path):
        known = {"layer": config["layers"], "image": config["images"], "method": config["methods"]}
        strange = [
            f"{name} {value!r}"
            for name, values in known.items()
            for value in set(table[name].astype(object)) - set(values)
        ]
        count = len(config["moves"])
        numbers = table["transform_number"]
        strange += [f"transform {n}" for n in set(numbers[(numbers < 0) | (numbers >= count)])]
        kinds = {move["kind"] for move in config["moves"]}
        strange += [str(kind) for kind in set(table["transform"].astype(object)) - kinds]
        strange += [] if len(table) else ["no row"]
        strange += [f"no names in {n}" for n in _NAMES if table[n].dtype != "category"]
    _refuse_unless(not strange, path, f"it holds {', '.join(strange[:3])}, of another run")


def open_rows(path: Path, config: Mapping[str, Any]) -> Rows:
    """Open the tidy table of a run: it is read whole, unless that is more than memory should hold.

    Args:
        path: The file.
        config: Configuration of the same run.

    Returns:
        The rows.

    Raises:
        InvalidInputError: If it is damaged, or of another run.
    """  # noqa: DOC502  (raised by what is called)
    if count_rows(path) <= MOST_ROWS:
        return InMemory(read_table(path, config))
    names: dict[str, list[str]] = {}
    with reading(path), parquet.ParquetFile(path) as file:
        for number in range(file.num_row_groups):
            group = file.metadata.row_group(number)  # which is read as a whole
            refuse_explosion(path, max(group.total_byte_size, 8.0 * group.num_rows * len(COLUMNS)))
            some = file.read_row_group(number, columns=list(_NAMES)).to_pandas()
            check_columns(path, some, _NAMES)
            _refuse_unless(some["layer"].nunique() == 1, path, "a group of rows mixes layers")
            for name in _NAMES:
                there = some[name].cat.categories.tolist()
                _refuse_unless(names.setdefault(name, there) == there, path, f"{name} changes")
        head = file.read_row_group(0).slice(0, 1).to_pandas()
    _check_table(path, head, config)
    for known, told in (("layer", "layers"), ("image", "images")):
        _refuse_unless(names[known] == config[told], path, f"its {told} are another run's")
    _refuse_unless(set(names["method"]) <= set(config["methods"]), path, "its methods are others")
    return InFile(path, names)


def read_channels(path: Path, config: Mapping[str, Any]) -> pd.DataFrame:
    """Read which channel took whose place.

    Args:
        path: The file.
        config: Configuration of the same run.

    Returns:
        A row for each layer, transform, warp and channel.

    Raises:
        InvalidInputError: If it is damaged, or of another run.
    """  # noqa: DOC502  (raised by what is called)
    table = read_parquet(path)
    check_columns(path, table, (*_CHANNELS, *_CHANNEL_NUMBERS), _CHANNEL_NUMBERS)
    good = set(table["layer"]) <= set(config["layers"]) and set(table["warp"]) <= {*Warp}
    for _, one in table.groupby(["layer", "transform_number", "warp"]) if good else ():
        every = list(range(len(one)))
        good &= sorted(one["channel"]) == every and sorted(one["source"]) == every
    _refuse_unless(good and len(table) > 0, path, "it is no permutation of the run's channels")
    return table


def read_predictions(path: Path, config: Mapping[str, Any]) -> pd.DataFrame:
    """Read what a network said of one image.

    Args:
        path: The file.
        config: Configuration of the same run.

    Returns:
        Rows as of `predictions.rows`.

    Raises:
        InvalidInputError: If it is damaged, or of another run.
    """  # noqa: DOC502  (raised by what is called)
    table = read_csv(path, (*_PREDICTIONS, *_RANKS), _RANKS)
    said = set(table["method"])
    good = UPRIGHT in said and said <= {*config["methods"], UPRIGHT}
    _refuse_unless(good, path, "it names other methods than the run's")
    return table


def read_layers(path: Path, config: Mapping[str, Any]) -> pd.DataFrame:
    """Read which layers a run probed.

    Args:
        path: The file.
        config: Configuration of the same run.

    Returns:
        A row for each layer.

    Raises:
        InvalidInputError: If it is damaged, or of another run.
    """  # noqa: DOC502  (raised by what is called)
    table = read_csv(path, ("name", "type", *LAYER_NUMBERS), numbers=LAYER_NUMBERS)
    _refuse_unless(list(table["name"]) == config["layers"], path, "it lists layers of another run")
    return table


def read_csv(path: Path, columns: Sequence[str], numbers: Sequence[str] = ()) -> pd.DataFrame:
    """Read a small table.

    Args:
        path: The file.
        columns: Those that it must have.
        numbers: Those of them that hold numbers.

    Returns:
        The table; empty texts stay texts.

    Raises:
        InvalidInputError: If it is damaged.
    """  # noqa: DOC502  (raised by what is called)
    with reading(path):
        _check_text(path)
        table = pd.read_csv(path, keep_default_na=False, na_values=[""], dtype=_TEXTS)
        texts = [name for name in table if not pd.api.types.is_numeric_dtype(table[name])]
        table[texts] = table[texts].fillna("")
    check_columns(path, table, columns, numbers)
    return table


def check_columns(
    path: Path, table: pd.DataFrame, columns: Sequence[str], numbers: Sequence[str] = ()
) -> None:
    """Refuse a table that lacks a column.

    Args:
        path: The file to name.
        table: What is in it.
        columns: Those that it must have.
        numbers: Those of them that hold numbers.
    """
    missing = [name for name in columns if name not in table]
    _refuse_unless(not missing, path, f"it has no column {', '.join(missing)}")
    # a column without a row has no kind: of a run whose transforms are all the identity
    odd = [n for n in numbers if len(table) and not pd.api.types.is_numeric_dtype(table[n])]
    _refuse_unless(not odd, path, f"its column {', '.join(odd)} holds no numbers")


def _check_text(path: Path) -> None:
    """Refuse a table that breaks off, or would fill the memory."""
    size = path.stat().st_size
    refuse_explosion(path, 30.0 * size)  # a cell of a character takes 60 bytes
    with path.open("rb") as file:
        if file.readline(_MOST).count(b",") >= _MOST // 100:
            raise ValueError("too many columns")
        file.seek(max(0, size - 1))
        if file.read() not in {b"\n", b"\r"}:
            raise ValueError("it breaks off within a line")


def _all(values: object, kind: type, *, some: bool = True) -> bool:
    """Whether this is a list of one kind."""
    return (
        isinstance(values, list)
        and all(isinstance(value, kind) for value in values)
        and (bool(values) or not some)
    )


def _refuse_unless(good: bool, path: Path, cause: str) -> None:
    if not good:
        raise InvalidInputError(
            f"file {str(path)!r} is damaged: {cause}; restore it, or make the run again"
        )
