import copy
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from objectives.errors import InputError
from tasks.models.table import Table
from tasks.nlp.games import rock_paper_scissors
from tasks.nlp.judges import KnownReward
from tasks.nlp.logprobs import token_logprobs
from tasks.nlp.pairs import synthetic_pairs
from tasks.nlp.sampling import OPEN, sampled
from tasks.nlp.self_play import OwnResponses, duality_gap

Built = Callable[..., Any]

WINS = rock_paper_scissors().judge.wins


def test_responses_are_drawn_as_the_model_says() -> None:
    model = Table(3, 3)
    with torch.no_grad():
        model.head.weight.copy_(torch.tensor([[0.2, 1.0, 0.0], [0.5, 0.0, 0.0], [0.3, 0.0, 1.0]]))
        model.head.weight.clamp_(min=1e-30).log_()  # column a: the probabilities after token a
    prompts = torch.zeros(4000, 2, dtype=torch.long)
    asked = F.pad(prompts, (0, 2), value=OPEN)
    tokens = sampled(model, asked, torch.Generator().manual_seed(0))
    assert torch.equal(tokens[:, :2], prompts)
    shares = tokens[:, 2].bincount(minlength=3) / 4000
    torch.testing.assert_close(shares, torch.tensor([0.2, 0.5, 0.3]), atol=0.03, rtol=0)
    assert (tokens[tokens[:, 2] == 1, 3] == 0).all()  # and from there on what was drawn is read
    assert (tokens[tokens[:, 2] == 2, 3] == 2).all()
    again = sampled(model, asked, torch.Generator().manual_seed(0))
    assert torch.equal(again, tokens)


def test_known_reward_by_hand() -> None:
    judge = KnownReward(torch.tensor([1.0, 10.0, 100.0]))
    tokens = torch.tensor([[1, 0, 2], [0, 0, 2], [1, 2, 2]])  # the prompts 1, 0 and 1
    mask = torch.tensor([[False, True, True], [False, True, True], [False, True, False]])
    assert judge.reward(tokens, mask).tolist() == [101.0, -101.0, 100.0]
    assert judge.preference(tokens, tokens.flip(0), mask).tolist() == [0.0, 0.5, 1.0]
    assert judge.shown(tokens, mask)["true_reward"].item() == pytest.approx(100 / 3)


def test_a_round_is_of_the_policys_own_responses(built: Built) -> None:
    experiment = built("pairs", "objective=inpo", "lr=0.01")
    model, protocol = experiment.learner.model, experiment.learner.protocol
    before = copy.deepcopy(model)
    batches = protocol.batches(model, 0, 0)
    batch = next(batches)
    prompt = protocol.data.train.chosen[batch.index, :4]
    assert torch.equal(batch.chosen[:, :4], prompt)
    assert torch.equal(batch.rejected[:, :4], prompt)
    assert not torch.equal(batch.chosen[:, 4:], protocol.data.train.chosen[batch.index, 4:])
    reward = protocol.data.judge.reward
    lead = reward(batch.chosen, batch.chosen_mask) - reward(batch.rejected, batch.rejected_mask)
    assert (lead >= 0).all()
    assert (lead > 0).any()
    for _ in range(3):
        experiment.algorithm.update(batch)
    record = protocol(model, next(batches))  # of the same round, the model has moved on
    batch = next(batches)
    record = protocol(model, batch)
    wanted = token_logprobs(before, batch.rejected, batch.rejected_mask)
    torch.testing.assert_close(record.old_rejected_logprobs, wanted.detach())
    torch.testing.assert_close(record.ref_rejected_logprobs, wanted.detach())
    assert not record.old_rejected_logprobs.requires_grad
    assert not torch.allclose(record.rejected_logprobs, wanted)
    later = next(protocol.batches(model, 1, 0))  # the next round, against the policy of now
    torch.testing.assert_close(
        later.old_chosen_logprobs,
        token_logprobs(model, later.chosen, later.chosen_mask).detach(),
    )


def test_a_round_goes_on_in_another_process(built: Built) -> None:
    protocols = [built("rock_paper_scissors", "replays=3").learner for _ in range(2)]
    first, second = (learner.protocol for learner in protocols)
    model = protocols[0].model
    whole = list(first.batches(model, 5, 0))
    assert len(whole) == 3 * 4
    second.load_state_dict(first.state_dict())
    for ours, theirs in zip(second.batches(nn.Identity(), 5, 7), whole[7:], strict=True):
        for name, column in vars(theirs).items():
            assert torch.equal(getattr(ours, name), column), name


def test_nobody_judges_pairs_from_files() -> None:
    data = replace(synthetic_pairs(), judge=None)
    with pytest.raises(InputError, match="needs an oracle"):
        OwnResponses(data, 16, 0, torch.device("cpu"))


def test_what_is_said_of_new_responses(built: Built) -> None:
    experiment = built("pairs", "objective=dpo", "lr=0.02")
    learner = experiment.learner
    model, protocol = learner.model, learner.protocol
    with torch.no_grad():
        start = protocol.evaluate(model, "val")
    assert start["kl"] == 0
    assert start["win_rate"] == pytest.approx(0.5, abs=0.07)
    for batch, _ in zip(protocol.batches(model, 0, 0), range(60), strict=False):
        experiment.algorithm.update(batch)
    with torch.no_grad():
        found = protocol.evaluate(model, "val")
    assert found["kl"] > 0.5
    assert found["win_rate"] > start["win_rate"] + 0.05
    assert found["true_reward"] > start["true_reward"] + 0.3


def test_each_action_beats_half_of_the_others() -> None:
    wins = rock_paper_scissors(actions=5, win=0.75).judge.wins
    torch.testing.assert_close(wins + wins.T, torch.ones(5, 5))
    assert ((wins == 0.75).sum(dim=1) == 2).all()
    assert WINS[1, 0] == WINS[2, 1] == WINS[0, 2] == 1
    with pytest.raises(InputError, match="must be odd"):
        rock_paper_scissors(actions=4)


def test_duality_gap_by_hand() -> None:
    uniform = torch.full((3,), 1 / 3).log()
    assert duality_gap(WINS, uniform, uniform, 0.1).item() == pytest.approx(0, abs=1e-6)
    # always the first action, which the second beats: with little penalty the best answer wins
    # surely, for both players: 2 * (1 + penalty * (log 3 - log 3)) - 1
    rock = torch.tensor([0.0, -1e3, -1e3])
    assert duality_gap(WINS, rock, uniform, 1e-3).item() == pytest.approx(1, abs=1e-5)


def test_duality_gap_is_that_of_the_best_answers() -> None:
    policy, reference = torch.randn(2, 3, dtype=torch.float64).log_softmax(-1)
    wins, penalty = WINS.double(), 0.3

    def value(p: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
        kl_p, kl_q = ((x.exp() * (x - reference)).sum(-1) for x in (p, q))
        return (p.exp() @ wins * q.exp()).sum(-1) - penalty * (kl_p - kl_q)

    steps = torch.linspace(-6, 6, 241, dtype=torch.float64)
    grid = torch.cartesian_prod(steps, steps, torch.zeros(1, dtype=torch.float64)).log_softmax(-1)
    gap = value(grid, policy).max() - value(policy, grid).min()
    found = duality_gap(wins, policy, reference, penalty)
    assert found.item() == pytest.approx(gap.item(), abs=1e-3)
    assert math.isfinite(found.item())
