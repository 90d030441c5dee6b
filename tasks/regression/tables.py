"""Tables of real features and one real target."""

from dataclasses import dataclass
from functools import cache
from typing import Annotated, Protocol

import numpy as np
import torch
from annotated_types import Ge, Lt
from torch import Tensor

from objectives.domains import checked
from objectives.errors import InputError

TEST_ROWS = 2000
"""Test rows of what is new for every seed: enough for a metric's own error to be small."""


@dataclass(frozen=True)
class Split:
    """Features [n, d] and targets [n], standardised by the training split."""

    features: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return len(self.targets)

    def to(self, device: torch.device) -> "Split":
        return Split(self.features.to(device), self.targets.to(device))


class Regression(Protocol):
    """Where a regression table is to be had: from itself, or from a column of another table."""

    @property
    def regression(self) -> "Table": ...


@dataclass(frozen=True)
class Table:
    """A regression table in three splits; `scale` is the target's standard deviation."""

    train: Split
    val: Split
    test: Split
    scale: float

    @property
    def regression(self) -> "Table":
        return self

    def to(self, device: torch.device) -> "Table":
        train, val, test = (split.to(device) for split in (self.train, self.val, self.test))
        return Table(train, val, test, self.scale)


@cache
def diabetes() -> Table:
    """Disease progression of 442 patients by 10 features, 64 / 16 / 20 %.

    Source:
        Efron et al. 2004, Least Angle Regression, Ann. Statist. 32(2); embedded in scikit-learn.
    """
    from sklearn.datasets import load_diabetes

    features, targets = load_diabetes(return_X_y=True)
    return standardized(features, targets, *random_splits(len(targets)))


@cache
@checked
def friedman(size: Annotated[int, Ge(10)] = 1000, noise: Annotated[float, Ge(0)] = 1.0) -> Table:
    """Friedman's first function of ten uniform features, 64 / 16 / 20 %, the same for every seed.

    10 sin(pi x1 x2) + 20 (x3 - 1/2)^2 + 10 x4 + 5 x5 + noise; the other five mean nothing.

    Args:
        size: Rows.
        noise: Standard deviation of the noise, in units of the target: no model has a lower RMSE.

    Raises:
        InputError: A setting is outside its domain.

    Source:
        Friedman 1991, Multivariate Adaptive Regression Splines, Ann. Statist. 19(1).
    """
    from sklearn.datasets import make_friedman1

    features, targets = make_friedman1(size, noise=noise, random_state=0)
    return standardized(features, targets, *random_splits(size))


@checked
def linear(
    *,
    seed: int,
    size: Annotated[int, Ge(10)] = 600,
    dim: Annotated[int, Ge(1)] = 100,
    noise: Annotated[float, Ge(0)] = 1.0,
    redundant: Annotated[float, Ge(0), Lt(1)] = 0.0,
) -> Table:
    """A linear function of normal features with weights of length 1; new for every seed.

    y = x w + noise,  in units of its own signal: nothing is standardised

    Args:
        seed: Decides all.
        size: Training rows; a quarter as many validation rows and 2,000 test rows come on top.
        dim: Features.
        noise: Standard deviation of the noise: no model has a lower RMSE.
        redundant: Share of the training rows that are copies of the first one.

    Raises:
        InputError: A setting is outside its domain.
    """
    generator = np.random.default_rng(seed)
    total = size + size // 4 + TEST_ROWS
    features, weights = generator.normal(size=(total, dim)), generator.normal(size=dim)
    targets = features @ (weights / np.linalg.norm(weights)) + noise * generator.normal(size=total)
    copies = slice(1, 1 + round(redundant * (size - 1)))
    features[copies], targets[copies] = features[0], targets[0]
    x, y = torch.from_numpy(features).float(), torch.from_numpy(targets).float()
    parts = zip(*(column.split([size, size // 4, TEST_ROWS]) for column in (x, y)), strict=True)
    train, val, test = (Split(*part) for part in parts)
    return Table(train, val, test, 1.0)


def random_splits(count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Row numbers of training, validation and test split, 64 / 16 / 20 %, always the same."""
    order = np.random.default_rng(0).permutation(count)
    train, val, test = np.split(order, [int(0.64 * count), int(0.8 * count)])
    return train, val, test


def standardized(
    features: np.ndarray, targets: np.ndarray, train: np.ndarray, val: np.ndarray, test: np.ndarray
) -> Table:
    """The table in splits given as row numbers, standardised by the training split.

    A feature that is constant there keeps its unit.

    Raises:
        InputError: The target is constant in the training split.
    """
    if np.ptp(targets[train]) == 0:
        raise InputError("the target is constant: there is nothing to predict.")
    centre, spread = features[train].mean(axis=0), features[train].std(axis=0)
    spread[np.ptp(features[train], axis=0) == 0] = 1
    mean, scale = targets[train].mean(), targets[train].std()

    def split(rows: np.ndarray) -> Split:
        x, y = (features[rows] - centre) / spread, (targets[rows] - mean) / scale
        return Split(torch.from_numpy(x).float(), torch.from_numpy(y).float())

    return Table(split(train), split(val), split(test), float(scale))
