"""Language modelling: scores of each next character."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from objectives.records import Labelled
from tasks.nlp.characters import Characters
from tasks.protocol import Batch, Monitor, Protocol
from tasks.sampling import epoch_order, index_batches

EVALUATION_BATCH = 128


@dataclass(frozen=True)
class Windows(Batch):
    """Characters, those that follow, and where these are in the text: [windows, time]."""

    inputs: Tensor
    labels: Tensor
    index: Tensor


class LanguageModelling(Protocol):
    """Scores of each next character, every position an example; evaluated in bits per character.

    An epoch cuts the training split into windows, from a random place on and in random order. A
    held-out split is cut into fixed windows, and each of its characters is predicted once, from
    the characters of its window and the one before.
    """

    record = Labelled
    monitor = Monitor("bpc", maximize=False)

    def __init__(self, data: Characters, batch_size: int, seed: int, device: torch.device):
        self.data = data.to(device)
        self.batch_size, self.seed, self.device = batch_size, seed, device
        self.windows = data.ends[0] // data.context - 1  # as many from whichever place on
        self.steps_per_epoch = -(-self.windows // batch_size)
        self.facts = {
            "num_tokens": data.num_tokens,
            "context": data.context,
            "causal": True,
            "num_outputs": data.num_tokens,
            "num_classes": data.num_tokens,
            "num_examples": data.ends[0],
        }

    def batches(self, model: nn.Module, epoch: int, start: int) -> Iterator[Windows]:
        context = self.data.context
        first = 1 + int(epoch_order(context, self.seed, epoch)[0])
        places = torch.arange(first, first + context, device=self.device)
        for index in index_batches(
            self.windows, self.batch_size, self.seed, epoch, start, self.device
        ):
            yield self._windows(places + context * index[:, None])

    def _windows(self, positions: Tensor) -> Windows:
        tokens = self.data.tokens
        return Windows(tokens[positions - 1], tokens[positions], positions)

    def __call__(self, model: nn.Module, batch: Windows) -> Labelled:
        logits = model(batch.inputs)
        return Labelled(logits.flatten(0, 1), batch.labels.flatten(), batch.index.flatten())

    def evaluate(self, model: nn.Module, split: str) -> dict[str, float]:
        span = self.data.span(split)
        positions = torch.arange(span.start, span.stop, device=self.device)
        whole = len(span) - len(span) % self.data.context
        parts = [
            *positions[:whole].view(-1, self.data.context).split(EVALUATION_BATCH),
            *positions[None, whole:].split(1),
        ]
        nats, correct = torch.stack(
            [self._sums(model, self._windows(part)) for part in parts if part.numel()]
        ).sum(dim=0)
        return {
            "bpc": nats.item() / len(span) / math.log(2),
            "accuracy": correct.item() / len(span),
        }

    def _sums(self, model: nn.Module, batch: Windows) -> Tensor:
        """Nats and right guesses, summed over windows."""
        record = self(model, batch)
        nats = F.cross_entropy(record.logits.float(), record.labels, reduction="none").double()
        correct = record.logits.argmax(dim=-1) == record.labels
        return torch.stack([nats.sum(), correct.double().sum()])
