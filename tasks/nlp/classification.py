"""Text classification: one pass over the sentences, class scores out."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from objectives.records import Labelled
from tasks.models.transformer import PADDING
from tasks.nlp.text import TextSet
from tasks.protocol import Batch, Monitor, Protocol
from tasks.sampling import MakeSampler, Shuffled

EVALUATION_BATCH = 256


@dataclass(frozen=True)
class SentenceBatch(Batch):
    tokens: Tensor
    labels: Tensor
    index: Tensor


class TextClassification(Protocol):
    """Class scores and labels; evaluated by accuracy and negative log-likelihood (nats)."""

    record = Labelled
    monitor = Monitor("accuracy", maximize=True)

    def __init__(
        self,
        data: TextSet,
        batch_size: int,
        seed: int,
        device: torch.device,
        sampler: MakeSampler = Shuffled,
    ):
        self.data = data.to(device)
        self.sampler = sampler(self.data.train, batch_size, seed, device)
        self.steps_per_epoch = self.sampler.steps_per_epoch
        self.facts = {
            "num_tokens": len(data.words),
            "context": data.train.tokens.shape[1],
            "causal": False,
            "num_outputs": len(data.classes),
            "num_classes": len(data.classes),
            "num_examples": len(data.train),
        }

    def batches(self, model: nn.Module, epoch: int, start: int) -> Iterator[SentenceBatch]:
        train = self.data.train
        for index in self.sampler.batches(epoch, start):
            yield SentenceBatch(trimmed(train.tokens[index]), train.labels[index], index)

    def __call__(self, model: nn.Module, batch: SentenceBatch) -> Labelled:
        return Labelled(model(batch.tokens), batch.labels, batch.index)

    def evaluate(self, model: nn.Module, split: str) -> dict[str, float]:
        logits = torch.cat([model(part.tokens).float() for part in self.examples(split)])
        labels = getattr(self.data, split).labels
        correct = (logits.argmax(dim=-1) == labels).double().mean()
        return {"accuracy": correct.item(), "nll": F.cross_entropy(logits, labels).item()}

    def examples(self, split: str) -> Iterator[SentenceBatch]:
        data = getattr(self.data, split)
        for index in torch.arange(len(data), device=data.labels.device).split(EVALUATION_BATCH):
            yield SentenceBatch(trimmed(data.tokens[index]), data.labels[index], index)


def trimmed(tokens: Tensor) -> Tensor:
    """Rows without the columns that are padding in all of them."""
    return tokens[:, : int((tokens != PADDING).sum(dim=1).max())]
