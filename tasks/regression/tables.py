"""Tables of real features and one real target."""

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor

from objectives.errors import InputError


@dataclass(frozen=True)
class Split:
    """Features [n, d] and targets [n], standardised by the training split."""

    features: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return len(self.targets)

    def to(self, device: torch.device) -> "Split":
        return Split(self.features.to(device), self.targets.to(device))


@dataclass(frozen=True)
class Table:
    """A regression table in three splits; `scale` is the target's standard deviation."""

    train: Split
    val: Split
    test: Split
    scale: float

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

    return standardized(*load_diabetes(return_X_y=True))


def standardized(features: np.ndarray, targets: np.ndarray) -> Table:
    """Split at random, the same for every seed, and standardise by the training split.

    Raises:
        InputError: The target is constant.
    """
    order = np.random.default_rng(0).permutation(len(targets))
    train, val, test = np.split(order, [int(0.64 * len(order)), int(0.8 * len(order))])
    if np.ptp(targets[train]) == 0:
        raise InputError("the target is constant: there is nothing to predict.")
    centre, spread = features[train].mean(axis=0), features[train].std(axis=0)
    mean, scale = targets[train].mean(), targets[train].std()

    def split(rows: np.ndarray) -> Split:
        x = (features[rows] - centre) / np.maximum(spread, 1e-12)
        y = (targets[rows] - mean) / scale
        return Split(torch.from_numpy(x).float(), torch.from_numpy(y).float())

    return Table(split(train), split(val), split(test), float(scale))
