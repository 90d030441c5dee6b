import math
from dataclasses import replace

import pytest
import torch
from cases import Case, leaves, preference
from torch import Tensor
from torch.nn import functional as F

from objectives.objective import Objective
from objectives.preference import bradley_terry, dpo, inpo, ipo, madpo, rdpo, sft, simpo
from objectives.records import Demonstration, JudgedPreference, Rewards, SelfPlay


def judged() -> JudgedPreference:
    generator = torch.Generator().manual_seed(1)
    chosen, rejected = 3 * torch.randn(2, 6, generator=generator, dtype=torch.float64)
    return JudgedPreference(**vars(preference()), chosen_reward=chosen, rejected_reward=rejected)


def rewards() -> Rewards:
    record = judged()
    return Rewards(record.chosen_reward, record.rejected_reward, record.index)


def demonstration() -> Demonstration:
    record = preference()
    return Demonstration(record.chosen_logprobs, record.chosen_mask, record.index)


def self_play() -> SelfPlay:
    generator = torch.Generator().manual_seed(2)
    old = -torch.randn(2, 6, 5, generator=generator, dtype=torch.float64).abs()
    return SelfPlay(**vars(preference()), old_chosen_logprobs=old[0], old_rejected_logprobs=old[1])


LEARNED = "chosen_logprobs", "rejected_logprobs"

CASES = {
    "bradley_terry": Case(rewards, ("chosen_reward", "rejected_reward"), still=("head.bias",)),
    "dpo": Case(preference, LEARNED, settings=({}, {"beta": 0.7})),
    "inpo": Case(self_play, LEARNED, settings=({}, {"eta": 0.7, "tau": 0.2}, {"tau": 0.0})),
    "ipo": Case(preference, LEARNED, settings=({}, {"beta": 0.7})),
    "madpo": Case(
        judged,
        LEARNED,
        settings=({}, {"beta": 0.7, "tau": 1.0, "c_min": 0.2, "c_max": 4.0, "lam": 3.0}),
        on_task={"pairs": ("+reward_model.seed=0",)},
    ),
    "rdpo": Case(preference, LEARNED, settings=({}, {"epsilon": 0.0}, {"epsilon": 0.3})),
    "sft": Case(
        demonstration,
        ("chosen_logprobs",),
        lacks={"golden": "the negative log-likelihood itself"},
    ),
    "simpo": Case(preference, LEARNED, settings=({}, {"beta": 0.7, "gamma": 0.0})),
}


def pairs(count: int = 8) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return (-5 * torch.rand(4, count, dtype=torch.float64)).unbind()


def test_by_hand() -> None:
    # ((-1 - -2) - (-4 - -3)) = 2 nats; beta = log(3) / 2: sigmoid(log 3) = 3/4
    columns = [torch.tensor([value]) for value in (-1.0, -4.0, -2.0, -3.0)]
    beta = math.log(3) / 2
    value, metrics = dpo(*columns, beta=beta)
    assert value.item() == pytest.approx(math.log(4 / 3), rel=1e-6)
    assert metrics["chosen_reward"].item() == pytest.approx(beta)
    assert metrics["rejected_reward"].item() == pytest.approx(-beta)
    assert metrics["reward_margin"].item() == pytest.approx(2 * beta)
    assert metrics["reward_accuracy"].item() == 1


def test_policy_at_the_reference_gives_log_two() -> None:
    chosen, rejected, _, _ = pairs()
    value, metrics = dpo(chosen, rejected, chosen, rejected, beta=0.3)
    torch.testing.assert_close(value, torch.full_like(value, math.log(2)))
    assert metrics["reward_accuracy"].item() == 0


def test_swapped_responses_differ_by_the_margin() -> None:
    # -log sigmoid(-m) + log sigmoid(m) = m
    chosen, rejected, ref_chosen, ref_rejected = pairs()
    value, _ = dpo(chosen, rejected, ref_chosen, ref_rejected, beta=0.6)
    swapped, _ = dpo(rejected, chosen, ref_rejected, ref_chosen, beta=0.6)
    margin = 0.6 * ((chosen - ref_chosen) - (rejected - ref_rejected))
    torch.testing.assert_close(swapped - value, margin)


def test_invariant_to_what_both_responses_share() -> None:
    chosen, rejected, ref_chosen, ref_rejected = pairs()
    shift = torch.randn(8, dtype=torch.float64)
    value, _ = dpo(chosen, rejected, ref_chosen, ref_rejected)
    of_policy, _ = dpo(chosen + shift, rejected + shift, ref_chosen, ref_rejected)
    of_chosen, _ = dpo(chosen + shift, rejected, ref_chosen + shift, ref_rejected)
    torch.testing.assert_close(of_policy, value)
    torch.testing.assert_close(of_chosen, value)


def test_agrees_with_the_logistic_loss() -> None:
    chosen, rejected, ref_chosen, ref_rejected = pairs()
    logits = 0.4 * (chosen - ref_chosen) - 0.4 * (rejected - ref_rejected)
    expected = F.binary_cross_entropy_with_logits(logits, torch.ones_like(logits), reduction="none")
    value, metrics = dpo(chosen, rejected, ref_chosen, ref_rejected, beta=0.4)
    torch.testing.assert_close(value, expected)
    assert metrics["reward_accuracy"].item() == pytest.approx((logits > 0).double().mean().item())


def test_tokens_under_no_mask_do_not_count() -> None:
    objective = Objective(
        dpo,
        ("chosen_logprob", "rejected_logprob", "ref_chosen_logprob", "ref_rejected_logprob"),
        {},
    )
    record = preference()
    poisoned = replace(
        record,
        chosen_logprobs=record.chosen_logprobs.masked_fill(~record.chosen_mask, torch.nan),
        rejected_logprobs=record.rejected_logprobs.masked_fill(~record.rejected_mask, -torch.inf),
        ref_chosen_logprobs=record.ref_chosen_logprobs.masked_fill(~record.chosen_mask, 7.0),
        ref_rejected_logprobs=record.ref_rejected_logprobs.masked_fill(~record.rejected_mask, 7.0),
    )
    poisoned = leaves(poisoned, ("chosen_logprobs", "rejected_logprobs"))
    values, _ = objective(poisoned)
    torch.testing.assert_close(values, objective(record)[0])
    values.sum().backward()
    gradient = poisoned.chosen_logprobs.grad
    assert (gradient[~record.chosen_mask] == 0).all()
    assert (gradient[record.chosen_mask] < 0).all()  # a likelier chosen token lowers the loss
    assert (poisoned.rejected_logprobs.grad[record.rejected_mask] > 0).all()


def test_ipo_by_hand() -> None:
    # h = (-1 - -2) - (-4 - -3) = 2 nats; the target at beta = 0.5 is 1 nat
    value, metrics = ipo(*columns(-1.0, -4.0, -2.0, -3.0), beta=0.5)
    assert value.item() == 1
    assert metrics["reward_margin"].item() == 1


def test_rdpo_by_hand() -> None:
    # beta * h = log 3: l(h) = log 4/3, l(-h) = log 4; (3/4 log 4/3 - 1/4 log 4) / (1/2)
    value, _ = rdpo(*columns(-1.0, -4.0, -2.0, -3.0), beta=math.log(3) / 2, epsilon=0.25)
    assert value.item() == pytest.approx(1.5 * math.log(4 / 3) - 0.5 * math.log(4))


def test_rdpo_is_dpo_without_flips_and_unbiased_under_them() -> None:
    record = pairs()
    torch.testing.assert_close(rdpo(*record, epsilon=0.0)[0], dpo(*record)[0])
    flipped = record[1], record[0], record[3], record[2]
    mean = 0.7 * rdpo(*record, epsilon=0.3)[0] + 0.3 * rdpo(*flipped, epsilon=0.3)[0]
    torch.testing.assert_close(mean, dpo(*record)[0])


def test_simpo_by_hand() -> None:
    # 2 * (-1 - -2) - 1 = 1: -log sigmoid(1)
    value, metrics = simpo(torch.tensor([-1.0]), torch.tensor([-2.0]), beta=2.0, gamma=1.0)
    assert value.item() == pytest.approx(math.log(1 + math.exp(-1)))
    assert metrics["reward_margin"].item() == 2


def test_simpo_takes_means_over_the_response() -> None:
    record = preference()
    lengths = record.chosen_mask.sum(-1)
    torch.testing.assert_close(record.chosen_mean_logprob * lengths, record.chosen_logprob)
    empty = replace(record, chosen_mask=torch.zeros_like(record.chosen_mask))
    assert torch.equal(empty.chosen_mean_logprob, torch.zeros(6, dtype=torch.float64))


def test_bradley_terry_by_hand() -> None:
    # a lead of log 3 is believed to 3/4
    value, metrics = bradley_terry(torch.tensor([math.log(3), 1.0]), torch.tensor([0.0, 1.0]))
    torch.testing.assert_close(value, torch.tensor([math.log(4 / 3), math.log(2)]))
    assert metrics["reward_accuracy"].item() == 0.5


def test_madpo_by_hand() -> None:
    # m = 0, tau = 2, lam = 1, c in [0.5, 2]: c matters not, w = 1/2 / 1/2 = 1
    # m = 2 = tau: c = 0.5 + 1.5 / (1 + 1 / 0.5) = 1, w = 1; m = -3 < -tau: w = 1
    record = columns([-1.0] * 3, [-4.0] * 3, [-2.0] * 3, [-3.0] * 3)
    reward = torch.tensor([0.0, 2.0, -3.0])
    value, metrics = madpo(*record, reward, torch.zeros(3), beta=0.5)
    torch.testing.assert_close(value, dpo(*record, beta=0.5)[0])
    assert metrics["weight"].item() == pytest.approx(1)


def test_madpo_amplifies_small_margins_and_damps_large_ones() -> None:
    record = columns([-1.0] * 2, [-4.0] * 2, [-2.0] * 2, [-3.0] * 2)
    value, _ = madpo(*record, torch.tensor([1.0, 6.0]), torch.zeros(2), beta=0.5)
    plain = dpo(*record, beta=0.5)[0]
    assert value[0] > plain[0]
    assert value[1] < plain[1]


def test_sft_counts_every_token_once() -> None:
    # two tokens of one response, one of the other: 1, 2 and 4 nats
    logprobs = torch.tensor([[-1.0, -2.0, -9.0], [-9.0, -9.0, -4.0]])
    mask = torch.tensor([[True, True, False], [False, False, True]])
    assert sft(logprobs, mask).tolist() == [1.0, 2.0, 4.0]


def columns(*values: float | list[float]) -> list[Tensor]:
    return [torch.tensor(value).reshape(-1) for value in values]


def test_inpo_by_hand() -> None:
    # h = -1 - -4 = 3, h_ref = -2 - -3 = 1, h_old = -1 - -3 = 2; tau / eta = 1/4, 1 / (2 eta) = 1:
    # (3 - 1/4 - 3/4 * 2 - 1)^2 = 1/16
    columns = [torch.tensor([value]) for value in (-1.0, -4.0, -2.0, -3.0, -1.0, -3.0)]
    assert inpo(*columns, eta=0.5, tau=0.125)[0].item() == pytest.approx(1 / 16)


def test_inpo_whose_tau_is_eta_is_ipo_and_forgets_the_last_policy() -> None:
    columns, old = pairs(), pairs()[:2]
    torch.testing.assert_close(
        inpo(*columns, *old, eta=0.2, tau=0.2)[0], ipo(*columns, beta=0.2)[0]
    )


def test_inpo_without_tau_is_ipo_against_the_last_policy() -> None:
    columns, old = pairs(), pairs()[:2]
    torch.testing.assert_close(
        inpo(*columns, *old, eta=0.2, tau=0.0)[0], ipo(*columns[:2], *old, beta=0.2)[0]
    )


def test_inpo_has_its_minimum_at_a_step_of_mirror_descent() -> None:
    """pi proportional to ref^(tau / eta) * old^(1 - tau / eta) * exp(win rate / eta)."""
    wins = torch.tensor([[0.5, 0.9, 0.2], [0.1, 0.5, 0.7], [0.8, 0.3, 0.5]], dtype=torch.float64)
    ref, old = torch.randn(2, 3, dtype=torch.float64).log_softmax(-1)
    eta, tau = 0.5, 0.1
    against_old = wins @ old.exp()
    best = (tau / eta * ref + (1 - tau / eta) * old + against_old / eta).requires_grad_()
    w, o = torch.cartesian_prod(torch.arange(3), torch.arange(3)).unbind(1)
    weight = old.exp()[w] * old.exp()[o] * wins[w, o]  # both sampled, the first one preferred
    loss, _ = inpo(best[w], best[o], ref[w], ref[o], old[w], old[o], eta=eta, tau=tau)
    (weight * loss).sum().backward()
    torch.testing.assert_close(best.grad, torch.zeros(3, dtype=torch.float64), atol=1e-12, rtol=0)
