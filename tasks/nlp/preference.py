"""Learning from preference pairs: a policy and its frozen reference, or a reward model."""

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from objectives.records import Demonstration, JudgedPreference, Preference, Record, Rewards
from tasks.nlp.judges import Judge
from tasks.nlp.logprobs import logprobs_of, token_logprobs
from tasks.nlp.pairs import Pairs, PairSet, Written, given
from tasks.nlp.reference import reference_of
from tasks.protocol import Batch, Monitor, Protocol
from tasks.sampling import MakeSampler, Shuffled

EVALUATION_BATCH = 64

FEW = 512
"""Prompts by which the KL to a reference is measured where nothing else is asked of responses."""


@dataclass(frozen=True)
class PairBatch(Batch):
    chosen: Tensor
    rejected: Tensor
    chosen_mask: Tensor
    rejected_mask: Tensor
    index: Tensor


class PairProtocol(Protocol):
    """What all protocols on preference pairs share; they differ in what a model says of a pair.

    A model that writes, where new responses can be judged, is evaluated by them too: by the mean
    reward of a sample to each prompt, and what the judge says of the likeliest responses.

    Args:
        sampler: Which pairs a batch holds.
    """

    num_outputs: int | None = None
    """Numbers that a model gives a token; None for a score of every token of the vocabulary."""

    writes = True
    """Whether the model can write responses."""

    def __init__(
        self,
        data: PairSet,
        batch_size: int,
        seed: int,
        device: torch.device,
        sampler: MakeSampler = Shuffled,
    ):
        self.data, self.device = data.to(device), device
        self.sampler = sampler(self.data.train, batch_size, seed, device)
        self.steps_per_epoch = self.sampler.steps_per_epoch
        self.facts = {
            "num_tokens": data.num_tokens,
            "context": data.train.chosen.shape[1],
            "num_outputs": self.num_outputs or data.num_tokens,
            "causal": True,
            "tokenizer": data.tokenizer,
            "num_examples": len(data.train),
        }

    def batches(self, model: nn.Module, epoch: int, start: int) -> Iterator[Batch]:
        for index in self.sampler.batches(epoch, start):
            yield self._batch(self.data.train, index)

    def evaluate(self, model: nn.Module, split: str) -> dict[str, float]:
        pairs = getattr(self.data, split)
        parts = torch.arange(len(pairs), device=self.device).split(EVALUATION_BATCH)
        record = joined([self(model, self._batch(pairs, part)) for part in parts])
        found = self.metrics(record)
        if self.writes and self.data.judge is not None:
            found |= self.judged(model, pairs, self.data.judge)
        return {name: value.item() for name, value in found.items()}

    @abstractmethod
    def metrics(self, record: Any) -> dict[str, Tensor]:
        """What is said of a model, from its record of a whole split."""

    def judged(self, model: nn.Module, pairs: Pairs, judge: Judge) -> dict[str, Tensor]:
        """What a judge says of the likeliest response to each prompt, and the reward of samples."""
        prompts = given(pairs)
        draw = torch.Generator(self.device).manual_seed(0)
        samples = self.data.responses(model, prompts, draw)
        likeliest = self.data.responses(model, prompts, None, temperature=0)
        return {"reward": judge.reward(*samples).mean(), **judge.shown(*likeliest)}

    def _batch(self, pairs: Pairs, index: Tensor) -> PairBatch:
        return PairBatch(
            **{name: column[index] for name, column in vars(pairs).items()}, index=index
        )


class Demonstrations(PairProtocol):
    """Token log-probabilities of chosen responses; evaluated in nats a token, and perplexity."""

    record = Demonstration
    monitor = Monitor("nll", maximize=False)

    def __call__(self, model: nn.Module, batch: PairBatch) -> Demonstration:
        return Demonstration(
            token_logprobs(model, batch.chosen, batch.chosen_mask),
            batch.chosen_mask[:, 1:],
            batch.index,
        )

    def metrics(self, record: Demonstration) -> dict[str, Tensor]:
        nll = -record.chosen_logprobs[record.chosen_mask].double().mean()
        return {"nll": nll, "perplexity": nll.exp()}


class PairedResponses(PairProtocol):
    """Token log-probabilities of both responses under the policy and the reference.

    The reference is the model as it was before training. Evaluated by the share of pairs that
    the log-ratio to the reference ranks rightly and its mean margin, and by the mean
    log-probabilities of both responses, in nats; and by the KL of samples to the reference, in
    nats. Where these can be judged, also by the share that is preferred to the reference's.
    """

    record: ClassVar[type[Record]] = Preference
    monitor = Monitor("ranking_accuracy", maximize=True)

    def prepare(self, model: nn.Module) -> None:
        self.reference = reference_of(model)

    def __call__(self, model: nn.Module, batch: PairBatch) -> Preference:
        return Preference(**self._columns(model, batch))

    def evaluate(self, model: nn.Module, split: str) -> dict[str, float]:
        found = super().evaluate(model, split)
        if self.data.judge is None:
            draw = torch.Generator(self.device).manual_seed(0)
            prompts = given(getattr(self.data, split))[:FEW]
            found["kl"] = self._kl(model, self.data.responses(model, prompts, draw)).item()
        return found

    def judged(self, model: nn.Module, pairs: Pairs, judge: Judge) -> dict[str, Tensor]:
        prompts, draw = given(pairs), torch.Generator(self.device).manual_seed(0)
        own, others = (self.data.responses(m, prompts, draw) for m in (model, self.reference))
        wins = judge.preference(own.tokens, others.tokens, own.mask | others.mask)
        return {
            "kl": self._kl(model, own),
            "win_rate": wins.mean(),
            **super().judged(model, pairs, judge),
        }

    def metrics(self, record: Preference) -> dict[str, Tensor]:
        margin = (record.chosen_logprob - record.ref_chosen_logprob) - (
            record.rejected_logprob - record.ref_rejected_logprob
        )
        return {
            "ranking_accuracy": (margin > 0).double().mean(),
            "margin": margin.mean(),
            "chosen_logprob": record.chosen_logprob.mean(),
            "rejected_logprob": record.rejected_logprob.mean(),
        }

    def state_dict(self) -> dict[str, Any]:
        return {"reference": self.reference.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.reference.load_state_dict(state["reference"])

    def _kl(self, model: nn.Module, own: Written) -> Tensor:
        """Of a model to the reference, by its own responses, in nats a response."""
        ratios = logprobs_of(model, *own) - logprobs_of(self.reference, *own)
        return ratios.sum(dim=1).mean()

    def _columns(self, model: nn.Module, batch: PairBatch) -> dict[str, Tensor]:
        tokens = torch.cat([batch.chosen, batch.rejected])
        mask = torch.cat([batch.chosen_mask, batch.rejected_mask])
        chosen, rejected = token_logprobs(model, tokens, mask).chunk(2)
        with torch.no_grad():
            ref_chosen, ref_rejected = token_logprobs(self.reference, tokens, mask).chunk(2)
        return {
            "chosen_logprobs": chosen,
            "rejected_logprobs": rejected,
            "ref_chosen_logprobs": ref_chosen,
            "ref_rejected_logprobs": ref_rejected,
            "chosen_mask": batch.chosen_mask[:, 1:],
            "rejected_mask": batch.rejected_mask[:, 1:],
            "index": batch.index,
        }


class JudgedResponses(PairedResponses):
    """The same, and what a trained reward model says of both responses.

    Args:
        reward_model: Gives a token its reward; it learns no more.
    """

    record: ClassVar[type[Record]] = JudgedPreference

    def __init__(
        self,
        data: PairSet,
        batch_size: int,
        seed: int,
        device: torch.device,
        reward_model: nn.Module,
        sampler: MakeSampler = Shuffled,
    ):
        super().__init__(data, batch_size, seed, device, sampler)
        self.reward_model = reward_model

    def __call__(self, model: nn.Module, batch: PairBatch) -> JudgedPreference:
        with torch.no_grad():
            chosen, rejected = rewards(self.reward_model, batch)
        columns = self._columns(model, batch)
        return JudgedPreference(**columns, chosen_reward=chosen, rejected_reward=rejected)


class PairedRewards(PairProtocol):
    """A reward of each response; evaluated by the share of pairs that it ranks rightly."""

    record = Rewards
    monitor = Monitor("ranking_accuracy", maximize=True)
    num_outputs = 1
    writes = False

    def __call__(self, model: nn.Module, batch: PairBatch) -> Rewards:
        return Rewards(*rewards(model, batch), batch.index)

    def metrics(self, record: Rewards) -> dict[str, Tensor]:
        margin = record.chosen_reward - record.rejected_reward
        return {"ranking_accuracy": (margin > 0).double().mean(), "margin": margin.mean()}


def joined(records: list[Any]) -> Any:
    """Records of parts as one of the whole."""
    columns = (
        torch.cat(column) for column in zip(*(vars(r).values() for r in records), strict=True)
    )
    return type(records[0])(*columns)


def rewards(model: nn.Module, batch: PairBatch) -> tuple[Tensor, Tensor]:
    """The reward of chosen and of rejected responses: what the model says of their last token."""
    values = model(torch.cat([batch.chosen, batch.rejected])).squeeze(-1)
    mask = torch.cat([batch.chosen_mask, batch.rejected_mask])
    places = torch.arange(mask.shape[1], device=mask.device)
    last = (mask * places).argmax(dim=1, keepdim=True)
    chosen, rejected = values.gather(1, last).squeeze(1).chunk(2)
    return chosen, rejected
