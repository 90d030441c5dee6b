"""The protocol: how a task meets a model and an objective.

A task offers one or more. Each yields batches, turns a batch and a model's output into a record,
and evaluates a model in the way that belongs to it. The runner takes the protocol with the
poorest record that has every field the objective needs.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, NamedTuple, Self

from torch import nn

from objectives.errors import InputError
from objectives.records import Record


@dataclass(frozen=True)
class Batch:
    """Base of all batches: tensors whose first dimension is the example."""

    def __len__(self) -> int:
        return len(getattr(self, fields(self)[0].name))

    def parts(self, count: int) -> Iterator[Self]:
        """The batch in (at most) `count` parts."""
        columns = (getattr(self, field.name).chunk(count) for field in fields(self))
        return (type(self)(*part) for part in zip(*columns, strict=True))


class Monitor(NamedTuple):
    """The metric by which two models of one protocol are compared on the validation split."""

    metric: str
    maximize: bool


class Protocol(ABC):
    """What the training loop and the algorithms know of a task.

    Attributes:
        record: The record type that calling the protocol yields.
        monitor: The validation metric that tells which of two models is better.
        facts: What models and objectives may ask for by name (`num_outputs`, `num_examples`, ...).
        steps_per_epoch: Batches in one pass.
    """

    record: ClassVar[type[Record]]
    monitor: ClassVar[Monitor]
    facts: Mapping[str, Any]
    steps_per_epoch: int

    def trained(self, model: nn.Module) -> nn.Module:
        """What is trained: the model, or a module that holds it and what learns beside it."""
        return model

    def prepare(self, model: nn.Module) -> None:
        """Look at the untrained model once, before the first step (to freeze a reference, say)."""

    @abstractmethod
    def batches(self, model: nn.Module, epoch: int, start: int) -> Iterator[Batch]:
        """The batches of one epoch from number `start` on.

        Which examples a batch holds depends on seed, epoch and number alone, so that a run can
        go on mid-epoch.
        """

    @abstractmethod
    def __call__(self, model: nn.Module, batch: Any) -> Record:
        """One forward pass."""

    @abstractmethod
    def evaluate(self, model: nn.Module, split: str) -> dict[str, float]:
        """Metrics on "val" or "test"; leaves the global random state as it was."""

    def examples(self, split: str) -> Iterator[Batch]:
        """A split's examples in order, as they are, in batches that calling the protocol takes.

        Raises:
            InputError: This protocol's splits are no such batches.
        """
        raise InputError(f"{type(self).__name__} does not show the examples of a split.")

    def state_dict(self) -> dict[str, Any]:
        """What the protocol remembers between steps, as tensors and plain values."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up the state again."""
