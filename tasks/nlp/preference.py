"""Learning from preference pairs: a policy and its frozen reference."""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from objectives.records import Preference
from tasks.nlp.pairs import Pairs, PairSet
from tasks.protocol import Batch, Monitor, Protocol
from tasks.sampling import index_batches


@dataclass(frozen=True)
class PairBatch(Batch):
    chosen: Tensor
    rejected: Tensor
    chosen_mask: Tensor
    rejected_mask: Tensor
    index: Tensor


class PairedResponses(Protocol):
    """Token log-probabilities of both responses under the policy and the reference.

    The reference is the model as it was before training. Evaluated by the share of pairs that
    the log-ratio to the reference ranks rightly, and its mean margin in nats.
    """

    record = Preference
    monitor = Monitor("ranking_accuracy", maximize=True)

    def __init__(self, data: PairSet, batch_size: int, seed: int, device: torch.device):
        self.data = data.to(device)
        self.batch_size, self.seed, self.device = batch_size, seed, device
        self.steps_per_epoch = -(-len(data.train) // batch_size)
        self.facts = {
            "num_tokens": data.num_tokens,
            "context": data.train.chosen.shape[1],
            "num_outputs": data.num_tokens,
            "causal": True,
            "num_examples": len(data.train),
        }

    def prepare(self, model: nn.Module) -> None:
        self.reference = copy.deepcopy(model).requires_grad_(False).eval()

    def batches(self, model: nn.Module, epoch: int, start: int) -> Iterator[PairBatch]:
        train = self.data.train
        for index in index_batches(
            len(train), self.batch_size, self.seed, epoch, start, self.device
        ):
            yield PairBatch(**{name: c[index] for name, c in vars(train).items()}, index=index)

    def __call__(self, model: nn.Module, batch: PairBatch | Pairs) -> Preference:
        tokens = torch.cat([batch.chosen, batch.rejected])
        chosen, rejected = token_logprobs(model, tokens).chunk(2)
        with torch.no_grad():
            ref_chosen, ref_rejected = token_logprobs(self.reference, tokens).chunk(2)
        index = getattr(batch, "index", torch.arange(len(batch.chosen), device=self.device))
        masks = batch.chosen_mask[:, 1:], batch.rejected_mask[:, 1:]
        return Preference(chosen, rejected, ref_chosen, ref_rejected, *masks, index)

    def evaluate(self, model: nn.Module, split: str) -> dict[str, float]:
        pairs = self(model, getattr(self.data, split))
        margin = (pairs.chosen_logprob - pairs.ref_chosen_logprob) - (
            pairs.rejected_logprob - pairs.ref_rejected_logprob
        )
        return {
            "ranking_accuracy": (margin > 0).double().mean().item(),
            "margin": margin.mean().item(),
        }

    def state_dict(self) -> dict[str, Any]:
        return {"reference": self.reference.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.reference.load_state_dict(state["reference"])


def token_logprobs(model: nn.Module, tokens: Tensor) -> Tensor:
    """Log-probability of each token given those before it: [batch, time - 1], in nats."""
    logits = model(tokens[:, :-1])
    return -F.cross_entropy(logits.transpose(1, 2), tokens[:, 1:], reduction="none")
