import json
import math

import pytest
import torch
from cases import GOLDEN, Case, rollout
from torch import Tensor

from objectives.policy import ppo, reinforce

CASES = {
    "ppo": Case(
        rollout,
        ("logprobs", "values", "entropies"),
        settings=({}, {"epsilon": 0.1, "value_weight": 0.0, "entropy_weight": 0.0}),
    ),
    "reinforce": Case(
        rollout,
        ("logprobs", "values", "entropies"),
        settings=({}, {"value_weight": 0.0, "entropy_weight": 0.3}),
        lacks={"golden": "its golden case is of scores, not of a rollout"},
    ),
}


PLAIN = {"epsilon": 0.2, "value_weight": 0.0, "entropy_weight": 0.0}


def steps(ratio: float, advantage: float) -> dict[str, Tensor]:
    """One step at a probability ratio, with a critic that is right."""
    old = torch.tensor([-1.0], dtype=torch.float64)
    return {
        "logprobs": (old + math.log(ratio)).requires_grad_(),
        "old_logprobs": old,
        "advantages": torch.tensor([advantage], dtype=torch.float64),
        "returns": torch.zeros(1, dtype=torch.float64),
        "values": torch.zeros(1, dtype=torch.float64),
        "entropies": torch.zeros(1, dtype=torch.float64),
    }


# -min(r A, clip(r, 0.8, 1.2) A); d/dlogprob = -r A where the first is taken, else 0
@pytest.mark.parametrize(
    ("ratio", "advantage", "value", "gradient"),
    [
        (0.5, 1.0, -0.5, -0.5),  # min(0.5, 0.8): a good action became rare, pull it back
        (0.5, -1.0, 0.8, 0.0),  # min(-0.5, -0.8): a bad one is rare enough
        (1.5, 1.0, -1.2, 0.0),  # min(1.5, 1.2): a good one is common enough
        (1.5, -1.0, 1.5, 1.5),  # min(-1.5, -1.2): a bad one became common, push it away
        (1.0, 2.0, -2.0, -2.0),
        (1.1, -1.0, 1.1, 1.1),  # inside the interval
    ],
)
def test_every_corner(ratio: float, advantage: float, value: float, gradient: float) -> None:
    step = steps(ratio, advantage)
    loss, metrics = ppo(**step, **PLAIN)
    loss.backward()
    assert loss.item() == pytest.approx(value)
    assert step["logprobs"].grad.item() == pytest.approx(gradient)
    assert metrics["clip_fraction"].item() == (abs(ratio - 1) > 0.2)


def test_by_hand() -> None:
    # policy: 1.5 > 1.2, -1.2 * 2 = -2.4; critic: 0.5 (1 - 4)^2 = 4.5; entropy: -0.01 * 0.6
    step = steps(1.5, 2.0) | {
        "values": torch.tensor([1.0], dtype=torch.float64),
        "returns": torch.tensor([4.0], dtype=torch.float64),
        "entropies": torch.tensor([0.6], dtype=torch.float64),
    }
    loss, metrics = ppo(**step, epsilon=0.2, value_weight=0.5, entropy_weight=0.01)
    assert loss.item() == pytest.approx(-2.4 + 4.5 - 0.006)
    assert metrics["entropy"].item() == pytest.approx(0.6)
    assert metrics["kl"].item() == pytest.approx(1.5 - 1 - math.log(1.5))


def random_steps(count: int = 10) -> dict[str, Tensor]:
    names = ("logprobs", "old_logprobs", "advantages", "returns", "values", "entropies")
    return dict(zip(names, torch.randn(6, count, dtype=torch.float64), strict=True))


def test_the_acting_policy_without_weights_has_minus_the_advantage() -> None:
    step = random_steps()
    step["logprobs"] = step["old_logprobs"].clone().requires_grad_()
    loss, metrics = ppo(**step, **PLAIN)
    torch.testing.assert_close(loss, -step["advantages"])
    (gradient,) = torch.autograd.grad(loss.sum(), step["logprobs"])
    torch.testing.assert_close(gradient, -step["advantages"])  # the policy gradient
    assert metrics["clip_fraction"] == metrics["kl"] == 0


def test_critic_and_entropy_gradients() -> None:
    step = random_steps()
    values, entropies = step["values"].requires_grad_(), step["entropies"].requires_grad_()
    loss, _ = ppo(**step, epsilon=0.2, value_weight=0.5, entropy_weight=0.03)
    of_values, of_entropies = torch.autograd.grad(loss.sum(), (values, entropies))
    torch.testing.assert_close(of_values, values.detach() - step["returns"])
    torch.testing.assert_close(of_entropies, torch.full_like(entropies, -0.03))


def test_only_the_ratio_of_the_policies_matters() -> None:
    step = random_steps()
    shift = torch.randn(10, dtype=torch.float64)
    shifted = step | {name: step[name] + shift for name in ("logprobs", "old_logprobs")}
    torch.testing.assert_close(ppo(**shifted)[0], ppo(**step)[0])


def test_agrees_with_a_plain_loop() -> None:
    step = random_steps()
    expected = []
    for new, old, advantage, target, value, entropy in zip(
        *(column.tolist() for column in step.values()), strict=True
    ):
        ratio = math.exp(new - old)
        limit = 1.3 if advantage > 0 else 0.7
        clipped = min(ratio, limit) if advantage > 0 else max(ratio, limit)
        expected.append(-clipped * advantage + 0.4 * (value - target) ** 2 - 0.02 * entropy)
    loss, _ = ppo(**step, epsilon=0.3, value_weight=0.4, entropy_weight=0.02)
    torch.testing.assert_close(loss, torch.tensor(expected, dtype=torch.float64))


def test_metrics_over_several_steps() -> None:
    # ratios 0.5, 1, 2: two of three clipped; kl: (0.5 - 1 + log 2 + 0 + 2 - 1 - log 2) / 3
    step = random_steps(3)
    ratios = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)
    step["logprobs"] = step["old_logprobs"] + ratios.log()
    _, metrics = ppo(**step)
    assert metrics["clip_fraction"].item() == pytest.approx(2 / 3)
    assert metrics["kl"].item() == pytest.approx(0.5 / 3)
    torch.testing.assert_close(metrics["entropy"], step["entropies"].mean())


def policy_only(step: dict[str, Tensor], **weights: float) -> Tensor:
    """The loss of reinforce on steps that hold more than it needs."""
    rest = {name: column for name, column in step.items() if name != "old_logprobs"}
    return reinforce(**rest, **{"value_weight": 0.0, "entropy_weight": 0.0} | weights)[0]


def test_reinforce_by_hand() -> None:
    # policy: -log(0.25) * 2 = 2.7726; critic: 0.5 (1 - 4)^2 = 4.5; entropy: -0.1 * 0.6
    loss, metrics = reinforce(
        logprobs=torch.tensor([math.log(0.25)]),
        advantages=torch.tensor([2.0]),
        returns=torch.tensor([4.0]),
        values=torch.tensor([1.0]),
        entropies=torch.tensor([0.6]),
        value_weight=0.5,
        entropy_weight=0.1,
    )
    assert loss.item() == pytest.approx(2.772589 + 4.5 - 0.06)
    assert metrics["entropy"].item() == pytest.approx(0.6)


def test_reinforce_has_ppos_gradient_where_the_policy_is_the_acting_one() -> None:
    step = random_steps()
    learned = ("logprobs", "values", "entropies")
    step["logprobs"] = step["old_logprobs"].clone()
    leaves = [step[name].requires_grad_() for name in learned]
    weights = {"value_weight": 0.7, "entropy_weight": 0.2}
    ppos = torch.autograd.grad(ppo(**step, **weights)[0].sum(), leaves)
    ours = torch.autograd.grad(policy_only(step, **weights).sum(), leaves)
    for mine, theirs in zip(ours, ppos, strict=True):
        torch.testing.assert_close(mine, theirs)


def test_reinforce_makes_good_actions_likelier() -> None:
    step = random_steps()
    policy_only(step | {"logprobs": step["logprobs"].requires_grad_()}).sum().backward()
    torch.testing.assert_close(step["logprobs"].grad, -step["advantages"])


def test_a_baseline_leaves_the_expected_gradient_as_it_is() -> None:
    # in expectation over the actions, each as often as the policy has it
    scores = torch.randn(4, dtype=torch.float64, requires_grad=True)
    logprobs, rewards = scores.log_softmax(0), torch.randn(4, dtype=torch.float64)
    zeros = torch.zeros(4, dtype=torch.float64)

    def gradient(baseline: float) -> Tensor:
        rest = {"returns": zeros, "values": zeros, "entropies": zeros}
        loss = policy_only({"logprobs": logprobs, "advantages": rewards - baseline} | rest)
        mean = (loss * logprobs.detach().exp()).sum()
        return torch.autograd.grad(mean, scores, retain_graph=True)[0]

    torch.testing.assert_close(gradient(5.0), gradient(0.0))
    expected = torch.autograd.grad(-(logprobs.exp() * rewards).sum(), scores, retain_graph=True)
    torch.testing.assert_close(gradient(0.0), expected[0])


def test_reinforce_agrees_with_rlax() -> None:
    golden = json.loads((GOLDEN / "reinforce.json").read_text())
    logits, advantages = (
        torch.tensor(golden["inputs"][name], dtype=torch.float64)
        for name in ("logits", "advantages")
    )
    actions = torch.tensor(golden["inputs"]["actions"])[:, None]
    logprobs = logits.requires_grad_().log_softmax(dim=-1).gather(1, actions).squeeze(1)
    rest = dict.fromkeys(("returns", "values", "entropies"), torch.zeros_like(advantages))
    steps = {"logprobs": logprobs, "advantages": advantages}
    loss = reinforce(**steps, **rest, **golden["hyper"])[0].mean()
    assert loss.item() == pytest.approx(golden["output"], rel=1e-5)
    loss.backward()
    expected = torch.tensor(golden["grad"]["logits"], dtype=torch.float64)
    torch.testing.assert_close(logits.grad, expected, rtol=1e-4, atol=1e-6)
