"""What an objective beside a library's loss is."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from objectives.records import Record

FORMULA = "another formula"


class Side(NamedTuple):
    """A loss of one batch.

    Attributes:
        loss: The forward pass.
        leaves: What the gradient is taken of.
    """

    loss: Callable[[], Tensor]
    leaves: list[Tensor]


@dataclass(frozen=True)
class Case:
    """An objective and its counterpart.

    Attributes:
        title: The library's loss.
        objective: Ours, with hyperparameters.
        record: Makes a batch of so many examples.
        size: Of the batch.
        theirs: The other loss of a record.
        unlike: In what it is another loss; empty where it is not.
        surrogate: Only the gradients are the same.
        scale: By which our loss is multiplied.
    """

    title: str
    objective: Callable[..., Any]
    record: Callable[[int], Record]
    size: int
    theirs: Callable[[Any], Side]
    unlike: str = ""
    surrogate: bool = False
    scale: float = 1.0


def direct(loss: Callable[[Any], Tensor]) -> Callable[[Record], Side]:
    """A loss of a record's own tensors."""
    return lambda record: Side(lambda: loss(record), learned(record))


def learned(record: Record) -> list[Tensor]:
    """Those tensors of a record that a model gave."""
    return [tensor for tensor in vars(record).values() if tensor.requires_grad]


def normal(*shape: int) -> Tensor:
    return torch.randn(shape)


def leaf(*shape: int) -> Tensor:
    return torch.randn(shape, requires_grad=True)
