"""Rounds of a policy's own responses, several to a prompt, each with a reward."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from annotated_types import Gt
from torch import Tensor, nn

from objectives.domains import Count, Share, checked
from objectives.errors import InputError
from objectives.records import BaselinedResponses, Record, Responses
from tasks.nlp.logprobs import logprobs_of, token_logprobs
from tasks.nlp.pairs import PairSet, given
from tasks.nlp.preference import PairProtocol
from tasks.nlp.reference import reference_of
from tasks.nlp.sampling import opened
from tasks.protocol import Batch, Monitor
from tasks.sampling import epoch_order, generator_of, index_batches

ATTEMPTS, OF = 8, 4
"""Responses to each prompt when a policy is evaluated, and of how many the best one counts."""


@dataclass(frozen=True)
class ResponseBatch(Batch):
    tokens: Tensor
    mask: Tensor
    old_token_logprobs: Tensor
    rewards: Tensor
    group: Tensor
    index: Tensor


class RewardedResponses(PairProtocol):
    """An epoch is a round: responses to some prompts, their rewards, and passes over them.

    The reference is the model as it was before training. Evaluated on the prompts of a split, by
    the judge's word on the likeliest response (`accuracy`, say); and by eight samples each: their
    mean reward, that of the best of four of them without bias (`pass_at_4` where it is 0 or 1, else
    `best_of_4`), the KL to the reference in nats, the entropy in nats a token, and the length in
    tokens.

    Args:
        group_size: Responses to a prompt.
        prompts: Prompts of a round, drawn anew for each.
        replays: Passes over a round.
        temperature: Of sampling.
        top_p: Of sampling.

    Raises:
        InputError: Nobody can judge responses to these prompts, a batch holds no whole groups, or
            a setting is outside its domain.
    """

    record: ClassVar[type[Record]] = Responses
    monitor = Monitor("reward", maximize=True)
    round: ResponseBatch | None = None

    @checked
    def __init__(
        self,
        data: PairSet,
        batch_size: int,
        seed: int,
        device: torch.device,
        *,
        group_size: Count = 8,
        prompts: Count = 32,
        replays: Count = 1,
        temperature: Annotated[float, Gt(0)] = 1.0,
        top_p: Annotated[Share, Gt(0)] = 1.0,
    ):
        if data.judge is None:
            raise InputError(
                "responses to these prompts cannot be judged: take task=verify or task=pairs."
            )
        if batch_size % group_size:
            raise InputError(
                f"batch_size={batch_size} holds no whole groups: make it a multiple of "
                f"group_size={group_size}."
            )
        super().__init__(data, batch_size, seed, device)
        self.seed, self.group_size, self.replays = seed, group_size, replays
        self.prompts = min(prompts, len(data.train))
        self.per_batch = batch_size // group_size
        self.per_replay = math.ceil(self.prompts / self.per_batch)
        self.steps_per_epoch = replays * self.per_replay
        self.how = {"temperature": temperature, "top_p": top_p}
        self.facts = {**self.facts, "num_examples": self.prompts * group_size}

    def prepare(self, model: nn.Module) -> None:
        self.reference = reference_of(model)

    def batches(self, model: nn.Module, epoch: int, start: int) -> Iterator[ResponseBatch]:
        if start == 0:
            self.round = self._played(model, epoch)
        assert self.round is not None
        for number in range(start // self.per_replay, self.replays):
            skip = start % self.per_replay if number == start // self.per_replay else 0
            order = epoch * self.replays + number
            for some in index_batches(
                self.prompts, self.per_batch, self.seed, order, skip, self.device
            ):
                rows = (some[:, None] * self.group_size + self._within).flatten()
                yield ResponseBatch(*(column[rows] for column in vars(self.round).values()))

    def __call__(self, model: nn.Module, batch: ResponseBatch) -> Responses:
        return Responses(**self._columns(model, batch))

    def evaluate(self, model: nn.Module, split: str) -> dict[str, float]:
        pairs, judge = getattr(self.data, split), self.data.judge
        assert judge is not None
        likeliest = self.data.responses(model, given(pairs), None, temperature=0)
        generator = torch.Generator(self.device).manual_seed(0)
        prompts = given(pairs).repeat_interleave(ATTEMPTS, dim=0)
        tokens, mask = self.data.responses(model, prompts, generator, **self.how)
        rewards, said = judge.reward(tokens, mask), mask[:, 1:]
        logprobs, others = (logprobs_of(m, tokens, mask) for m in (model, self.reference))
        found = {
            **judge.shown(*likeliest),
            "reward": rewards.mean(),
            f"{judge.best}_{OF}": best_of(rewards.view(-1, ATTEMPTS), OF).mean(),
            "kl": (logprobs - others).sum(dim=1).mean(),
            "entropy": -logprobs[said].mean(),
            "length": mask.sum(dim=1).float().mean(),
        }
        return {name: value.item() for name, value in found.items()}

    def metrics(self, record: Responses) -> dict[str, Tensor]:
        raise NotImplementedError("responses are judged, not records")

    def state_dict(self) -> dict[str, Any]:
        columns = self.round and list(vars(self.round).values())
        return {"reference": self.reference.state_dict(), "round": columns}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.reference.load_state_dict(state["reference"])
        columns = state["round"]
        self.round = columns and ResponseBatch(*(column.to(self.device) for column in columns))

    @property
    def _within(self) -> Tensor:
        return torch.arange(self.group_size, device=self.device)

    @torch.no_grad()
    def _played(self, model: nn.Module, epoch: int) -> ResponseBatch:
        pairs, judge = self.data.train, self.data.judge
        assert judge is not None
        generator = torch.Generator(self.device)
        generator.manual_seed(generator_of(self.seed, epoch).initial_seed())
        some = epoch_order(len(pairs), self.seed, epoch)[: self.prompts].to(self.device)
        prompts = given(pairs)[some].repeat_interleave(self.group_size, dim=0)
        tokens, mask = self.data.responses(model, prompts, generator, **self.how)
        group = torch.arange(self.prompts, device=self.device)
        return ResponseBatch(
            tokens,
            mask,
            logprobs_of(model, tokens, mask),
            judge.reward(tokens, mask),
            group.repeat_interleave(self.group_size),
            torch.arange(len(tokens), device=self.device),
        )

    def _columns(self, model: nn.Module, batch: ResponseBatch) -> dict[str, Tensor]:
        with torch.no_grad():
            reference = token_logprobs(self.reference, batch.tokens, batch.mask)
        return {
            "token_logprobs": token_logprobs(model, batch.tokens, batch.mask),
            "old_token_logprobs": batch.old_token_logprobs,
            "ref_token_logprobs": reference,
            "mask": batch.mask[:, 1:],
            "rewards": batch.rewards,
            "group": batch.group,
            "index": batch.index,
        }


class BaselinedByGreedy(RewardedResponses):
    """The same, and the reward of the likeliest response to each prompt under the policy."""

    record: ClassVar[type[Record]] = BaselinedResponses

    def __call__(self, model: nn.Module, batch: ResponseBatch) -> BaselinedResponses:
        assert self.data.judge is not None
        prompts = opened(batch.tokens, batch.mask)
        likeliest = self.data.responses(model, prompts, None, temperature=0)
        rewards = self.data.judge.reward(*likeliest)
        return BaselinedResponses(**self._columns(model, batch), greedy_rewards=rewards)


def best_of(rewards: Tensor, count: int) -> Tensor:
    """The expected best of so many of each row's rewards, drawn without replacement: [rows].

    sum_i C(i - 1, count - 1) / C(n, count) * r_(i),  r sorted; of rewards 0 and 1 it is pass@count

    Source:
        Chen et al. 2021, arXiv:2107.03374.
    """
    size = rewards.shape[1]
    weights = [math.comb(number, count - 1) / math.comb(size, count) for number in range(size)]
    return (rewards.sort(dim=1).values * torch.tensor(weights, device=rewards.device)).sum(dim=1)
