import math
from dataclasses import replace

import pytest
import torch
from cases import Case, leaves, preference
from torch import Tensor
from torch.nn import functional as F

from objectives.objective import Objective
from objectives.preference import dpo

CASES = {
    "dpo": Case(preference, ("chosen_logprobs", "rejected_logprobs"), settings=({}, {"beta": 0.7})),
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
