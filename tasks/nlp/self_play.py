"""Self-play: pairs of the policy's own responses, judged by an oracle, round after round."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from annotated_types import Gt
from torch import Tensor, nn

from objectives.domains import Count, checked
from objectives.errors import InputError
from objectives.records import Preference, Record, SelfPlay
from tasks.nlp.judges import WinMatrix
from tasks.nlp.logprobs import logprobs_of
from tasks.nlp.pairs import Pairs, PairSet, given
from tasks.nlp.preference import PairBatch, PairedResponses
from tasks.protocol import Monitor
from tasks.sampling import MakeSampler, Shuffled, generator_of


@dataclass(frozen=True)
class SelfPlayBatch(PairBatch):
    old_chosen_logprobs: Tensor
    old_rejected_logprobs: Tensor


@dataclass(frozen=True)
class Round(Pairs):
    """Judged pairs of one policy's responses, and their token log-probabilities under it."""

    old_chosen_logprobs: Tensor
    old_rejected_logprobs: Tensor


class OwnResponses(PairedResponses):
    """An epoch is a round: two responses to every prompt, an oracle's word, and passes over them.

    Evaluated as what learns from given pairs is, on those held out.

    Args:
        replays: Passes over a round.

    Raises:
        InputError: Nobody can judge responses to these prompts, or a setting is outside its domain.
    """

    record: ClassVar[type[Record]] = SelfPlay
    round: Round | None = None

    @checked
    def __init__(
        self,
        data: PairSet,
        batch_size: int,
        seed: int,
        device: torch.device,
        sampler: MakeSampler = Shuffled,
        *,
        replays: Count = 4,
    ):
        if data.judge is None:
            raise InputError(
                "self-play needs an oracle that judges new responses, and these pairs have none: "
                "take task=pairs or task=rock_paper_scissors."
            )
        super().__init__(data, batch_size, seed, device, sampler)
        self.seed, self.replays = seed, replays
        self.per_replay = self.steps_per_epoch
        self.steps_per_epoch = replays * self.per_replay

    def batches(self, model: nn.Module, epoch: int, start: int) -> Iterator[PairBatch]:
        if start == 0:
            self.round = self._played(model, epoch)
        assert self.round is not None
        for number in range(start // self.per_replay, self.replays):
            skip = start % self.per_replay if number == start // self.per_replay else 0
            for index in self.sampler.batches(epoch * self.replays + number, skip):
                columns = {name: column[index] for name, column in vars(self.round).items()}
                yield SelfPlayBatch(**columns, index=index)

    def __call__(self, model: nn.Module, batch: PairBatch) -> Preference:
        columns = self._columns(model, batch)
        if not isinstance(batch, SelfPlayBatch):  # pairs held out, which no policy has sampled
            return Preference(**columns)
        return SelfPlay(
            **columns,
            old_chosen_logprobs=batch.old_chosen_logprobs,
            old_rejected_logprobs=batch.old_rejected_logprobs,
        )

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"round": self.round and list(vars(self.round).values())}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        columns = state["round"]
        self.round = columns and Round(*(column.to(self.device) for column in columns))

    @torch.no_grad()
    def _played(self, model: nn.Module, epoch: int) -> Round:
        pairs, judge = self.data.train, self.data.judge
        assert judge is not None
        generator = torch.Generator(self.device)
        generator.manual_seed(generator_of(self.seed, epoch).initial_seed())
        first, second = (self.data.responses(model, given(pairs), generator) for _ in range(2))
        odds = judge.preference(first.tokens, second.tokens, first.mask | second.mask)
        won = torch.rand(len(odds), 1, generator=generator, device=self.device) < odds[:, None]
        chosen, chosen_mask = (a.where(won, b) for a, b in zip(first, second, strict=True))
        rejected, rejected_mask = (b.where(won, a) for a, b in zip(first, second, strict=True))
        return Round(
            chosen,
            rejected,
            chosen_mask,
            rejected_mask,
            logprobs_of(model, chosen, chosen_mask),
            logprobs_of(model, rejected, rejected_mask),
        )


class MatrixGame(OwnResponses):
    """Self-play of a game whose one response is an action, its odds known.

    Evaluated also by how far the policy is from the Nash policy of the game regularised by KL to
    the reference: the duality gap, in win rate; 0 is there.

    Args:
        penalty: Strength of that KL penalty, in win rate per nat.
    """

    record: ClassVar[type[Record]] = SelfPlay
    monitor = Monitor("duality_gap", maximize=False)

    @checked
    def __init__(
        self,
        data: PairSet,
        batch_size: int,
        seed: int,
        device: torch.device,
        sampler: MakeSampler = Shuffled,
        *,
        replays: Count = 4,
        penalty: Annotated[float, Gt(0)] = 0.1,
    ):
        super().__init__(data, batch_size, seed, device, sampler, replays=replays)
        self.penalty = penalty

    def evaluate(self, model: nn.Module, split: str) -> dict[str, float]:
        assert isinstance(self.data.judge, WinMatrix)
        prompt = self.data.train.chosen[:1, :1]
        policy, reference = (m(prompt)[0, -1].log_softmax(-1) for m in (model, self.reference))
        gap = duality_gap(self.data.judge.wins, policy, reference, self.penalty)
        return super().evaluate(model, split) | {"duality_gap": gap.item()}


def duality_gap(wins: Tensor, policy: Tensor, reference: Tensor, penalty: float) -> Tensor:
    """What the best answer to a policy wins over it, for both players, in a game with a KL penalty.

    max_p J(p, policy) - min_q J(policy, q),
    J(p, q) = P(p beats q) - penalty * KL(p || reference) + penalty * KL(q || reference)

    Args:
        wins: Probability that one action beats another [actions, actions]; with its transpose 1.
        policy: Log-probabilities of the actions.
        reference: The same.
        penalty: Strength of the penalty.

    Returns:
        The gap, in win rate; 0 at the Nash policy alone.

    Source:
        Zhang et al. 2024, arXiv:2407.00617.
    """
    wins, policy, reference = wins.double(), policy.double(), reference.double()
    against = wins @ policy.exp()
    best = penalty * (reference + against / penalty).logsumexp(0)
    return 2 * (best + penalty * (policy.exp() * (policy - reference)).sum()) - 1
