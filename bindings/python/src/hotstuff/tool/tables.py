# SPDX-License-Identifier: Apache-2.0
"""Rows as files: CSV by its ending, or Parquet."""

from __future__ import annotations

import csv
import itertools
import pathlib
from collections.abc import Iterable, Iterator
from typing import Any

from .console import fail

Row = dict[str, Any]
CHUNK_ROWS = 10_000
"""Rows that are held in memory."""


def write(rows: Iterable[Row], path: pathlib.Path) -> int:
    """Writes a new file, and returns how many rows."""
    if path.exists():
        fail(f"{path} exists already")
    if path.suffix not in (".csv", ".parquet"):
        fail(f"{path}: expected a file that ends with .csv or .parquet")
    begun = iter(rows)
    first = next(begun, None)
    if first is None:
        fail("there is nothing to write")
    everything = itertools.chain([first], begun)
    return (_write_csv if path.suffix == ".csv" else _write_parquet)(everything, path, first)


def _write_csv(rows: Iterator[Row], path: pathlib.Path, first: Row) -> int:
    count = 0
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(first))
        writer.writeheader()
        for row in rows:
            writer.writerow(row)
            count += 1
    return count


def _write_parquet(rows: Iterator[Row], path: pathlib.Path, first: Row) -> int:
    import pyarrow
    import pyarrow.parquet

    kinds = {int: pyarrow.uint64(), str: pyarrow.string()}
    schema = pyarrow.schema([(name, kinds[type(value)]) for name, value in first.items()])
    count = 0
    with pyarrow.parquet.ParquetWriter(str(path), schema) as writer:
        while chunk := list(itertools.islice(rows, CHUNK_ROWS)):
            writer.write_table(pyarrow.Table.from_pylist(chunk, schema=schema))
            count += len(chunk)
    return count
