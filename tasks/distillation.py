"""Learning from another model: any classification, seen by two."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import nn

from objectives.errors import InputError
from objectives.objective import fill
from objectives.records import Distilled, Mutual
from tasks.models.peers import Peers
from tasks.protocol import Batch, Monitor, Protocol
from tasks.sampling import MakeSampler, Shuffled


class SeenByTwo(Protocol):
    """A classification of which another model gives class scores, too.

    Args:
        of: Makes the classification; it evaluates the model as it would alone.
    """

    monitor = Monitor("accuracy", maximize=True)

    def __init__(
        self,
        data: Any,
        batch_size: int,
        seed: int,
        device: torch.device,
        of: "partial[Protocol]",
        sampler: MakeSampler = Shuffled,
    ):
        self.own = of(data, batch_size, seed, device, sampler=sampler)
        self.facts, self.steps_per_epoch = self.own.facts, self.own.steps_per_epoch

    def batches(self, model: nn.Module, epoch: int, start: int) -> Iterator[Batch]:
        return self.own.batches(model, epoch, start)

    def evaluate(self, model: nn.Module, split: str) -> dict[str, float]:
        return self.own.evaluate(model, split)

    def examples(self, split: str) -> Iterator[Batch]:
        return self.own.examples(split)


class Distillation(SeenByTwo):
    """Class scores of the model, the student, and of a teacher.

    Args:
        teacher: A trained model of the same examples; it learns no more.

    Raises:
        InputError: The teacher has other classes or does not take these examples.
    """

    record = Distilled

    def __init__(
        self,
        data: Any,
        batch_size: int,
        seed: int,
        device: torch.device,
        of: "partial[Protocol]",
        teacher: nn.Module,
        sampler: MakeSampler = Shuffled,
    ):
        super().__init__(data, batch_size, seed, device, of, sampler)
        self.teacher = teacher
        self._check_teacher()

    def __call__(self, model: nn.Module, batch: Any) -> Distilled:
        seen: Any = self.own(model, batch)
        with torch.no_grad():
            told: Any = self.own(self.teacher, batch)
        return Distilled(seen.logits, told.logits, seen.labels, seen.index)

    @torch.no_grad()
    def _check_teacher(self) -> None:
        some = next(self.own.examples("val"))
        one = next(some.parts(len(some)))
        try:
            told: Any = self.own(self.teacher, one)
        except (RuntimeError, IndexError) as error:
            said = str(error).splitlines()[0]
            raise InputError(f"the teacher does not take this task's examples: {said}") from None
        given, wanted = tuple(told.logits.shape), (1, self.facts["num_classes"])
        if given != wanted:
            raise InputError(
                f"the teacher gives scores of shape {given} for one example, expected {wanted}: it "
                "was made for other classes."
            )


class MutualLearning(SeenByTwo):
    """Class scores of the model, the student, and of a peer that is trained with it.

    Evaluated by the peer's accuracy, too.

    Args:
        peer: Makes the peer, a model of the same examples.
    """

    record = Mutual

    def __init__(
        self,
        data: Any,
        batch_size: int,
        seed: int,
        device: torch.device,
        of: "partial[Protocol]",
        peer: "partial[nn.Module]",
        sampler: MakeSampler = Shuffled,
    ):
        super().__init__(data, batch_size, seed, device, of, sampler)
        self.peer = peer

    def trained(self, model: nn.Module) -> Peers:
        return Peers(model, fill(self.peer, self.facts)())

    def __call__(self, model: nn.Module, batch: Any) -> Mutual:
        assert isinstance(model, Peers)
        seen: Any = self.own(model, batch)
        peer: Any = self.own(model.peer, batch)
        return Mutual(seen.logits, peer.logits, seen.labels, seen.index)

    def evaluate(self, model: nn.Module, split: str) -> dict[str, float]:
        assert isinstance(model, Peers)
        of_peer = self.own.evaluate(model.peer, split)
        return self.own.evaluate(model, split) | {"peer_accuracy": of_peer["accuracy"]}
