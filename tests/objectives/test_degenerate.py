"""Batches with less in them than an objective would like: a defined value, or a clear error."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from cases import bound, cases, leaves, names, rows
from torch import Tensor

from objectives.errors import InputError
from objectives.records import Record

CASES = cases()


def one_example(record: Record) -> Record:
    return rows(record, torch.tensor([0]))


def copies_of_one(record: Record) -> Record:
    """All examples are the same one: equal rewards, one class, one group, constant attributes."""
    count = len(next(iter(vars(record).values())))
    return rows(record, torch.zeros(count, dtype=torch.long))


def zeros(record: Record) -> Record:
    """Zero vectors, scores of zero, rewards of zero; deviations are positive by construction."""

    def zero(name: str, tensor: Tensor) -> Tensor:
        return tensor * 0 if tensor.is_floating_point() and "stds" not in name else tensor

    return changed(record, zero)


def one_class(record: Record) -> Record:
    return changed(record, lambda name, t: torch.zeros_like(t) if "labels" in name else t)


def all_different(record: Record) -> Record:
    """No example has another one of its class, group or bag."""
    own = {"group", "bags"}
    return changed(record, lambda name, t: torch.arange(len(t)) if name in own else t)


def empty_responses(record: Record) -> Record:
    return changed(record, lambda name, t: torch.zeros_like(t) if "mask" in name else t)


def repeated_index(record: Record) -> Record:
    return changed(record, lambda name, t: torch.zeros_like(t) if name == "index" else t)


def changed(record: Record, change: Callable[[str, Tensor], Tensor]) -> Record:
    return replace(record, **{name: change(name, t) for name, t in vars(record).items()})


DEGENERATE = (
    one_example,
    copies_of_one,
    zeros,
    one_class,
    all_different,
    empty_responses,
    repeated_index,
)


@pytest.mark.parametrize("make", DEGENERATE, ids=lambda make: make.__name__)
@pytest.mark.parametrize("name", [name for name in names() if name in CASES])
def test_finite_or_refused(name: str, make: Callable[[Record], Record]) -> None:
    case, objective = CASES[name], bound(name, {}).double()
    record = leaves(make(case.record()), case.learned)
    try:
        for _ in range(2):  # the second step meets what the first remembered
            values, metrics = objective(record)
    except InputError as error:
        assert len(str(error)) > 20
        return
    values.mean().backward()
    assert values.isfinite().all()
    assert all(metric.isfinite() for metric in metrics.values()), metrics
    for field in case.learned:
        gradient = getattr(record, field).grad
        assert gradient is None or gradient.isfinite().all(), field
