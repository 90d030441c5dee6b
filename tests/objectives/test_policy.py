import math

import pytest
import torch
from torch import Tensor

from objectives.policy import ppo

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
