"""Tables of numbers and categories with a class to tell."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Annotated

import numpy as np
import torch
from annotated_types import Gt, Interval
from torch import Generator, Tensor

from objectives.domains import checked
from objectives.errors import InputError
from tasks.labels import Imbalance, Noise, kept, validation
from tasks.regression import tables as regression
from tasks.tabular.ordered import OrderedTable, binned

Columns = Mapping[str, np.ndarray]
"""A table by column: numbers, or words where the column is a category."""

ONE_APART = 0.5**0.5
"""Value of a one-hot column by which two categories are a distance of one apart."""


@dataclass(frozen=True)
class Original:
    """A table as its authors give it."""

    train: Columns
    train_labels: np.ndarray
    test: Columns
    test_labels: np.ndarray
    num_classes: int


@dataclass(frozen=True)
class Split:
    """Features [n, d] and labels [n]; protected attributes as numbers and as groups.

    Attributes:
        attributes: Their columns, as the record `Attributed` has them.
        groups: Number of the group by each attribute [n, attributes]; a number has two, up to its
            median and above.
    """

    features: Tensor
    labels: Tensor
    attributes: Tensor
    groups: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device) -> "Split":
        return Split(*(getattr(self, field.name).to(device) for field in fields(self)))


@dataclass(frozen=True)
class Target:
    """A number among the columns that may be predicted in place of the class.

    Attributes:
        feature: Its place among the features.
        scale: Its standard deviation in the training split.
        shares: Share of each of its ordered bins among the training rows.
    """

    feature: int
    scale: float
    shares: tuple[float, ...]


@dataclass(frozen=True)
class LabelledTable:
    """A table in three splits; `attribute_columns` counts the columns of each attribute."""

    train: Split
    val: Split
    test: Split
    num_classes: int
    attribute_columns: tuple[int, ...]
    target: Target | None = None

    @property
    def regression(self) -> regression.Table:
        """The target by the other columns; the class is none of them.

        Raises:
            InputError: There is no target, or it is constant in the training split.
        """
        if self.target is None:
            raise InputError("target=null names no column; give one of numbers, as in target=age.")
        if self.target.scale == 0:
            raise InputError("the target is constant: there is nothing to predict.")
        three = (self.train, self.val, self.test)
        train, val, test = (_without(split.features, self.target.feature) for split in three)
        return regression.Table(train, val, test, self.target.scale)

    @property
    def ordered(self) -> OrderedTable:
        """The target in ordered bins by the other columns."""
        table = self.regression
        assert self.target is not None
        return binned(table, shares=self.target.shares)

    def to(self, device: torch.device) -> "LabelledTable":
        train, val, test = (split.to(device) for split in (self.train, self.val, self.test))
        return replace(self, train=train, val=val, test=test)


@checked
def labelled_table(
    original: Original,
    *,
    seed: int,
    protected: Sequence[str] = (),
    target: str | None = None,
    shares: Sequence[float] = (0.5, 0.35, 0.15),
    noise: Noise | None = None,
    imbalance: Imbalance | None = None,
    subset: Annotated[int, Gt(0)] | None = None,
    val_share: Annotated[float, Interval(gt=0, lt=1)] = 0.1,
) -> LabelledTable:
    """Training, validation and test split of a table, as an experiment wants them.

    Numbers are standardised by the training split; categories become one column a value.

    Args:
        original: The table.
        seed: Decides which labels are wrong and which rows are left out.
        protected: Columns that are protected attributes; they stay features too.
        target: Column that is predicted in place of the class where an objective is of numbers or
            of ordered classes.
        shares: Share of each of its ordered classes among the training rows, from the lowest up.
        noise: Label noise, of training and validation split.
        imbalance: Class sizes of the training split; the other two stay as they are.
        subset: Size of the training split, before imbalance; its classes keep their shares.
        val_share: Share of the training rows that is held out, the same for every seed.

    Raises:
        InputError: A protected column is missing, the target is no column of numbers, a class has
            too few rows, or `subset` does not fit.
    """
    _check_protected(protected, original.train)
    generator = Generator().manual_seed(seed)
    labels = torch.from_numpy(original.train_labels)
    noisy = labels if noise is None else noise(labels, original.num_classes, generator)
    train, val = validation(labels, val_share, original.num_classes)
    if imbalance is not None or subset is not None:
        train = train[
            kept(noisy[train], original.num_classes, generator, imbalance=imbalance, subset=subset)
        ]
    base = _rows(original.train, train)
    three = (
        _split(base, _rows(original.train, train), noisy[train], protected),
        _split(base, _rows(original.train, val), noisy[val], protected),
        _split(base, original.test, torch.from_numpy(original.test_labels), protected),
    )
    widths = tuple(len(_attribute(base[name], base[name]).T) for name in protected)
    chosen = None if target is None else _target(base, target, tuple(shares))
    return LabelledTable(*three, original.num_classes, widths, chosen)


def _check_protected(protected: Sequence[str], columns: Columns) -> None:
    for name in protected:
        if name not in columns:
            raise InputError(f"protected={name} is no column (there are: {', '.join(columns)}).")


def _target(base: Columns, name: str, shares: tuple[float, ...]) -> Target:
    numbers = [name for name, column in base.items() if _is_number(column)]
    if name not in numbers:
        raise InputError(
            f"target={name} is no column of numbers (there are: {', '.join(numbers) or 'none'})."
        )
    before = list(base)[: list(base).index(name)]
    feature = sum(_numbers(base[other], base[other]).shape[1] for other in before)
    return Target(feature, float(base[name].std()), shares)


def _without(features: Tensor, column: int) -> regression.Split:
    others = torch.cat([features[:, :column], features[:, column + 1 :]], dim=1)
    return regression.Split(others, features[:, column].contiguous())


def _rows(columns: Columns, chosen: Tensor) -> dict[str, np.ndarray]:
    return {name: column[chosen.numpy()] for name, column in columns.items()}


def _split(base: Columns, columns: Columns, labels: Tensor, protected: Sequence[str]) -> Split:
    """Columns as numbers, by the values that the training split, `base`, has."""
    features = [_numbers(base[name], column) for name, column in columns.items()]
    attributes = [_attribute(base[name], columns[name]) for name in protected]
    groups = [_groups(base[name], columns[name]) for name in protected]
    none = np.empty((len(labels), 0))
    return Split(
        torch.from_numpy(np.hstack(features)).float(),
        labels,
        torch.from_numpy(np.hstack([none, *attributes])).float(),
        torch.from_numpy(np.column_stack([none, *groups])).long(),
    )


def _numbers(base: np.ndarray, column: np.ndarray) -> np.ndarray:
    """A standardised number, or a column of 0 and 1 for each value of a category [n, columns]."""
    if not _is_number(base):
        return (column[:, None] == np.unique(base)).astype(float)
    spread = base.std() if np.ptp(base) > 0 else 1.0
    return ((column - base.mean()) / spread)[:, None]


def _attribute(base: np.ndarray, column: np.ndarray) -> np.ndarray:
    numbers = _numbers(base, column)
    if _is_number(base):
        return numbers
    return numbers[:, 1:] if numbers.shape[1] == 2 else numbers * ONE_APART


def _groups(base: np.ndarray, column: np.ndarray) -> np.ndarray:
    """A category that the training split lacks shares the group of the last one."""
    if _is_number(base):
        return column > np.median(base)
    values = np.unique(base)
    return np.searchsorted(values, column).clip(max=len(values) - 1)


def _is_number(column: np.ndarray) -> bool:
    return bool(np.issubdtype(column.dtype, np.number))
