"""Policy gradients on groups of responses, and the parts they are made of."""

import json
import math
from collections.abc import Callable
from functools import partial

import pytest
import torch
from cases import GOLDEN, Case
from torch import Tensor

from objectives.parts import group_mean
from objectives.parts.advantages import beside_the_best, centred, leave_one_out, standardized
from objectives.parts.aggregates import per_budget, per_response, per_token
from objectives.parts.divergences import k1, k2, k3
from objectives.parts.surrogates import cispo_clip
from objectives.records import BaselinedResponses, Responses
from objectives.verifiable import grpo, negative_aware, nft, remax, rloo

PARTS = "it is put together from functions"


def responses() -> BaselinedResponses:
    """Two groups of three; one response is empty."""
    generator = torch.Generator().manual_seed(0)
    logprobs, old, ref = -2 * torch.rand(3, 6, 5, generator=generator, dtype=torch.float64)
    lengths = torch.tensor([5, 3, 0, 4, 5, 1])
    rewards = torch.tensor([1.0, 0.0, 0.0, 1.0, 1.0, 0.0], dtype=torch.float64)
    group, greedy = torch.tensor([7, 7, 7, 2, 2, 2]), 7 - 7 * rewards
    mask = torch.arange(5) < lengths[:, None]
    index = torch.arange(6)
    return BaselinedResponses(logprobs, old, ref, mask, rewards, group, index, greedy)


def plain() -> Responses:
    return Responses(*list(vars(responses()).values())[:-1])


LEARNED = ("token_logprobs",)
CASES = {
    "grpo": Case(
        plain,
        LEARNED,
        settings=({}, {"kl": partial(k2), "aggregate": partial(per_token), "reward_kl_beta": 0.3}),
        lacks={"defaults": PARTS, "fall": "the surrogate is of a policy's change"},
    ),
    "dr_grpo": Case(
        plain, LEARNED, lacks={"defaults": PARTS, "fall": "the surrogate is of a policy's change"}
    ),
    "ngrpo": Case(
        plain, LEARNED, lacks={"defaults": PARTS, "fall": "the surrogate is of a policy's change"}
    ),
    "rloo": Case(
        plain,
        LEARNED,
        lacks={
            "defaults": PARTS,
            "golden": "its golden case is of the advantages: see below",
            "fall": "the surrogate is of a policy's change",
        },
    ),
    "remax": Case(
        responses,
        LEARNED,
        lacks={"defaults": PARTS, "fall": "the surrogate is of a policy's change"},
    ),
    "nft": Case(
        plain,
        LEARNED,
        settings=({}, {"floor": 0.5, "negative_weight": 0.3}),
        lacks={
            "golden": "its code divides by a constant: see below",
            "fall": "the surrogate is of a policy's change",
        },
    ),
}

REWARDS, GROUP = torch.tensor([1.0, 0.0, 0.0, 4.0]), torch.tensor([5, 5, 5, 1])


def test_advantages_by_hand() -> None:
    # the first group's mean is 1 / 3, its sample variance (4 + 1 + 1) / 9 / 2 = 1 / 3
    assert group_mean(REWARDS, GROUP).tolist() == pytest.approx([1 / 3] * 3 + [4])
    assert centred(REWARDS, GROUP).tolist() == pytest.approx([2 / 3, -1 / 3, -1 / 3, 0])
    deviation = math.sqrt(1 / 3)
    expected = [2 / 3 / deviation, -1 / 3 / deviation, -1 / 3 / deviation, 0]
    assert standardized(REWARDS, GROUP).tolist() == pytest.approx(expected, rel=1e-4)
    assert leave_one_out(REWARDS, GROUP).tolist() == pytest.approx([1, -0.5, -0.5, 0])


def test_equal_rewards_have_no_advantage_but_beside_the_best() -> None:
    for value in (0.0, 1.0):
        rewards, group = torch.full((4,), value), torch.zeros(4, dtype=torch.long)
        for advantage in (centred, standardized, leave_one_out):
            assert advantage(rewards, group).tolist() == [0, 0, 0, 0]
    assert beside_the_best(rewards, group).abs().max() < 1e-6  # all right
    # five rewards, one of them 1: mean 0.2, sample variance 0.2
    wrong = beside_the_best(torch.zeros(4), group)
    assert wrong.tolist() == pytest.approx([-0.2 / math.sqrt(0.2)] * 4, rel=1e-4)


def test_aggregates_by_hand() -> None:
    losses = torch.tensor([[1.0, 3.0, 9.0], [6.0, 9.0, 9.0], [9.0, 9.0, 9.0]])
    mask = torch.tensor([[True, True, False], [True, False, False], [False] * 3])
    assert per_response(losses, mask).tolist() == [2, 6, 0]
    assert per_token(losses, mask).tolist() == [4, 6, 0]  # three tokens, three responses
    assert per_token(losses, mask).mean() == pytest.approx(10 / 3)
    assert per_budget(losses, mask).tolist() == pytest.approx([4 / 3, 2, 0])


def test_estimators_of_kl_have_its_mean() -> None:
    p, q = torch.tensor([[0.7, 0.2, 0.1]]), torch.tensor([[0.3, 0.3, 0.4]])
    kl = (p * (p / q).log()).sum()
    for estimator in (k1, k3):
        torch.testing.assert_close((p * estimator(p.log(), q.log())).sum(), kl)
    assert (k3(p.log(), q.log()) >= 0).all()
    torch.testing.assert_close(k2(p.log(), q.log()), 0.5 * (p / q).log() ** 2)
    far = k3(torch.tensor([[-1e4]]), torch.tensor([[0.0]]))
    assert far.isfinite().all()


def test_where_the_policy_has_drawn_the_responses_grpo_is_the_policy_gradient() -> None:
    record = plain()
    logprobs = record.token_logprobs.clone().requires_grad_()
    settings = {"advantage": centred, "aggregate": per_budget, "kl_beta": 0.0}
    rest = record.mask, record.rewards, record.group
    loss, metrics = grpo(
        logprobs, record.token_logprobs, record.ref_token_logprobs, *rest, **settings
    )
    assert metrics["clip_fraction"] == 0
    (gradient,) = torch.autograd.grad(loss.sum(), logprobs)
    worth = centred(record.rewards, record.group)[:, None] / 5
    torch.testing.assert_close(gradient, -(worth * record.mask))
    (of_nft,) = torch.autograd.grad(nft(logprobs, record.token_logprobs, *rest)[0].sum(), logprobs)
    tokens = record.mask.sum() / 6
    torch.testing.assert_close(of_nft, -(worth * 5 * record.mask) / tokens)  # as nft's paper shows


@pytest.mark.parametrize("estimator", [k1, k2, k3])
def test_kl_in_the_reward_is_less_reward_for_what_is_far_from_the_reference(
    estimator: Callable[..., Tensor],
) -> None:
    record = plain()
    tensors = list(vars(record).values())[:-1]
    logprobs, old, ref, mask, rewards, group = tensors
    paid, _ = grpo(*tensors, reward_kl=estimator, reward_kl_beta=0.5)
    tensors[4] = rewards - 0.5 * (estimator(old, ref) * mask).sum(dim=1)
    torch.testing.assert_close(paid, grpo(*tensors)[0])
    paid, metrics = rloo(logprobs, ref, mask, rewards, group, kl=estimator, kl_beta=0.5)
    divergence = estimator(logprobs, ref) * mask
    worth = leave_one_out(rewards - 0.5 * divergence.sum(dim=1), group)
    torch.testing.assert_close(paid, -worth * (logprobs * mask).sum(dim=1))
    torch.testing.assert_close(metrics["kl"], divergence.sum() / mask.sum())


def test_kl_in_remax_is_less_return_of_the_token_that_bears_it() -> None:
    record = responses()
    logprobs = record.token_logprobs.clone().requires_grad_()
    loss, _ = remax(
        *(logprobs, record.ref_token_logprobs, record.mask),
        *(record.rewards, record.greedy_rewards),
        kl=k2,
        kl_beta=0.5,
    )
    (gradient,) = torch.autograd.grad(loss.sum(), logprobs)
    lead = (record.rewards - record.greedy_rewards).clamp(-5, 5)[:, None]
    returns = lead - 0.25 * (record.token_logprobs - record.ref_token_logprobs) ** 2
    torch.testing.assert_close(gradient, -returns * record.mask * 6 / record.mask.sum())


@pytest.mark.parametrize(("ratio", "weight"), [(1.0, 1.0), (1.5, 1.3), (0.5, 0.8)])
@pytest.mark.parametrize("worth", [1.0, -1.0])
def test_cispo_cuts_weights_and_no_gradient(ratio: float, weight: float, worth: float) -> None:
    logprob = torch.tensor([[math.log(ratio) - 1]], dtype=torch.float64, requires_grad=True)
    old = torch.full_like(logprob, -1.0)
    found, clipped = cispo_clip(logprob, old, torch.tensor(worth), 0.2, 0.3)
    (gradient,) = torch.autograd.grad(found.sum(), logprob)
    assert found.item() == pytest.approx(-weight * worth * (math.log(ratio) - 1))
    assert gradient.item() == pytest.approx(-weight * worth)
    assert clipped.item() == (ratio != 1)


def test_remax_without_kl_is_reinforce_with_the_greedy_baseline() -> None:
    record = responses()
    loss, _ = remax(
        record.token_logprobs,
        record.ref_token_logprobs,
        record.mask,
        record.rewards,
        record.greedy_rewards,
        kl_beta=0.0,
        reward_clip=0.5,
    )
    lead = (record.rewards - record.greedy_rewards).clamp(-0.5, 0.5)
    logprob = (record.token_logprobs * record.mask).sum(dim=1)
    torch.testing.assert_close(loss, -lead * logprob * 6 / record.mask.sum())


def golden(name: str) -> tuple[dict[str, Tensor], dict[str, object]]:
    content = json.loads((GOLDEN / f"{name}.json").read_text())
    inputs = {
        key: torch.tensor(value, dtype=None if key in {"mask", "group"} else torch.float64)
        for key, value in content["inputs"].items()
    }
    return inputs, content


def test_golden_of_cispo() -> None:
    """In liger's form the upper bound is `clip_high` itself, and there is no lower one."""
    inputs, content = golden("cispo")
    logprobs, hyper = inputs["logprobs"].requires_grad_(), content["hyper"]
    loss, _ = grpo(
        logprobs,
        inputs["old_logprobs"],
        inputs["old_logprobs"],
        inputs["mask"].bool(),
        inputs["rewards"],
        inputs["group"],
        surrogate=cispo_clip,
        aggregate=per_token,
        clip_low=1.0,
        clip_high=hyper["clip_high"] - 1,
        kl_beta=0.0,
    )
    assert loss.mean().item() == pytest.approx(content["output"], rel=1e-6)
    loss.mean().backward()
    expected = torch.tensor(content["grad"]["logprobs"], dtype=torch.float64)
    torch.testing.assert_close(logprobs.grad, expected, rtol=1e-6, atol=1e-9)


def test_golden_of_rloo() -> None:
    inputs, content = golden("rloo")
    found = leave_one_out(inputs["rewards"], inputs["group"])[:, None] * inputs["mask"]
    torch.testing.assert_close(found, torch.tensor(content["output"], dtype=torch.float64))
    record = plain()
    loss, _ = rloo(
        record.token_logprobs,
        record.ref_token_logprobs,
        record.mask,
        record.rewards,
        record.group,
        kl_beta=0.0,
    )
    logprob = (record.token_logprobs * record.mask).sum(dim=1)
    torch.testing.assert_close(loss, -leave_one_out(record.rewards, record.group) * logprob)


def test_golden_of_nft() -> None:
    inputs, content = golden("nft")
    logprobs = inputs["token_logprobs"].requires_grad_()
    losses, _ = negative_aware(
        logprobs,
        inputs["old_token_logprobs"],
        inputs["rewards"],
        inputs["correct_rate"].clamp(0.02, 0.98),
        **content["hyper"],
    )
    loss = (losses * inputs["mask"]).sum() / 1000
    assert loss.item() == pytest.approx(content["output"], rel=1e-9)
    loss.backward()
    expected = torch.tensor(content["grad"]["token_logprobs"], dtype=torch.float64)
    torch.testing.assert_close(logprobs.grad, expected, rtol=1e-8, atol=1e-12)
