"""Tables of real features with ordered classes, the last of which may be rare."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Annotated, Protocol

import numpy as np
import torch
from annotated_types import Ge, Gt, Lt, MinLen
from torch import Tensor

from objectives.domains import Count, Share, checked
from objectives.errors import InputError
from tasks.regression.tables import Table

TEST_ROWS = 2000
ATTEMPTS = 100
"""Draws of weights by which some class has a negative probability, before it is given up."""


@dataclass(frozen=True)
class Split:
    """Features [n, d], labels [n] in order, and the true probability of the last class [n, 1].

    `rare` has no column [n, 0] where nobody knows it.
    """

    features: Tensor
    labels: Tensor
    rare: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device) -> "Split":
        return Split(*(getattr(self, field.name).to(device) for field in fields(self)))


class Ordered(Protocol):
    """Where a table with ordered classes is to be had: from itself, or from a column of another."""

    @property
    def ordered(self) -> "OrderedTable": ...


@dataclass(frozen=True)
class OrderedTable:
    """A table with ordered classes in three splits."""

    train: Split
    val: Split
    test: Split
    num_classes: int

    @property
    def ordered(self) -> "OrderedTable":
        return self

    def to(self, device: torch.device) -> "OrderedTable":
        train, val, test = (split.to(device) for split in (self.train, self.val, self.test))
        return OrderedTable(train, val, test, self.num_classes)


@checked
def binned(
    table: Table,
    *,
    shares: Annotated[Sequence[Annotated[float, Gt(0), Lt(1)]], MinLen(2)] = (0.5, 0.35, 0.15),
) -> OrderedTable:
    """A regression table whose target is cut into classes at quantiles of its training split.

    Args:
        table: The table.
        shares: Share of each class among the training rows, from the lowest values up.

    Raises:
        InputError: The shares do not add up to 1, or a class gets no row.
    """
    if not np.isclose(sum(shares), 1):
        raise InputError(f"shares={list(shares)} add up to {sum(shares):g}, not to 1.")
    cuts = table.train.targets.quantile(torch.tensor(shares).cumsum(0)[:-1])
    three = []
    for name in ("train", "val", "test"):
        rows = getattr(table, name)
        labels = torch.bucketize(rows.targets, cuts)
        three.append(Split(rows.features, labels, torch.empty(len(rows), 0)))
    missing = three[0].labels.bincount(minlength=len(shares)) == 0
    if missing.any():
        raise InputError(
            f"class {int(missing.int().argmax())} has no training row; make its share larger."
        )
    return OrderedTable(three[0], three[1], three[2], len(shares))


@checked
def rare_steps(
    *,
    seed: int,
    size: Count = 2500,
    dim: Count = 10,
    intercepts: Annotated[Sequence[float], MinLen(2)] = (0.0, 3.0, 5.0),
    sparsity: Share = 1 / 3,
    deviation: Annotated[float, Ge(0)] = 0.5,
) -> OrderedTable:
    """Steps, each on top of the one before, of which the last is rare; new for every seed.

    log odds of y <= k = intercept_k + x b_k,  x uniform between -1 and 1. An entry of b_1 is 1 or
    0, one of b_k - b_{k-1} is +-deviation or 0; neither is 0 with probability `sparsity`.

    Args:
        seed: Decides weights and rows.
        size: Training rows; 500 validation and 2,000 test rows come on top.
        dim: Features.
        intercepts: One a threshold, rising; (0, 3, 5) makes the last class about 1 %.
        sparsity: Share of the entries that are not 0.
        deviation: How far odds are from proportional.

    Raises:
        InputError: The intercepts do not rise, or some class has a negative probability in every
            attempt.

    Source:
        Faletto & Bien 2023, arXiv:2305.18700, section 4.1.
    """
    if any(np.diff(intercepts) <= 0):
        raise InputError(f"intercepts={list(intercepts)} do not rise.")
    generator = np.random.default_rng(seed)
    for _ in range(ATTEMPTS):
        features = generator.uniform(-1, 1, size=(size + 500 + TEST_ROWS, dim))
        weights = _weights(generator, dim, len(intercepts), sparsity, deviation)
        at_most = 1 / (1 + np.exp(-(features @ weights + np.array(intercepts))))
        if (np.diff(at_most) >= 0).all():
            return _drawn(generator, features, at_most, size)
    raise InputError(
        f"deviation={deviation:g} leaves some class a negative probability in {ATTEMPTS} attempts."
    )


def _weights(
    generator: np.random.Generator, dim: int, thresholds: int, sparsity: float, deviation: float
) -> np.ndarray:
    present = generator.random((dim, thresholds)) < sparsity
    steps = generator.choice([-deviation, deviation], size=(dim, thresholds))
    steps[:, 0] = 1
    return (present * steps).cumsum(axis=1)


def _drawn(
    generator: np.random.Generator, features: np.ndarray, at_most: np.ndarray, size: int
) -> OrderedTable:
    labels = (generator.random((len(features), 1)) > at_most).sum(axis=1)
    last, rare = at_most.shape[1], 1 - at_most[:, -1:]
    if not (labels[:size] == last).any():
        labels[int(rare[:size].argmax())] = last  # a class that is never seen has no likelihood
    rows = np.split(np.arange(len(features)), [size, size + 500])
    three = [
        Split(
            torch.from_numpy(features[part]).float(),
            torch.from_numpy(labels[part]),
            torch.from_numpy(rare[part]),
        )
        for part in rows
    ]
    return OrderedTable(three[0], three[1], three[2], last + 1)
