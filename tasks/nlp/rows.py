"""Rows of files: JSON lines, comma-separated values, parquet."""

import csv
import gzip
import json
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from objectives.errors import InputError


def files_in(folder: Path) -> list[Path]:
    """The files with rows that a folder holds, of the first kind that it has any of."""
    kinds = ([*folder.glob(f"*.{kind}"), *folder.glob(f"*.{kind}.gz")] for kind in READERS)
    return sorted(next(filter(None, kinds), []))


def rows_of(file: Path) -> list[Any]:
    """The rows of a file, of whatever kind it is.

    Raises:
        InputError: It cannot be read.
    """
    read, what = READERS[file.name.removesuffix(".gz").rpartition(".")[2]]
    try:
        return read(file)
    except (OSError, EOFError, ValueError, csv.Error, zlib.error) as error:
        raise InputError(
            f"{file} cannot be read as {what}: {error}. Put the file there whole."
        ) from None


def _objects(file: Path) -> list[Any]:
    with _opened(file) as lines:
        return [json.loads(line) for line in lines if line.strip()]


def _values(file: Path) -> list[Any]:
    csv.field_size_limit(sys.maxsize)  # a text may be long
    with _opened(file, newline="") as lines:
        return list(csv.DictReader(lines))


def _parquet(file: Path) -> list[Any]:
    try:
        from pyarrow import parquet
    except ImportError:
        raise InputError(f"{file} is read by pyarrow: pip install 'runner[hub]'") from None
    return parquet.read_table(file).to_pylist()


def _opened(file: Path, newline: str | None = None) -> Any:
    opened = gzip.open if file.suffix == ".gz" else open
    return opened(file, "rt", encoding="utf-8-sig", newline=newline)  # some begin with a mark


READERS: dict[str, tuple[Callable[[Path], list[Any]], str]] = {
    "jsonl": (_objects, "JSON objects, one a line"),
    "csv": (_values, "comma-separated values"),
    "parquet": (_parquet, "parquet"),
}
