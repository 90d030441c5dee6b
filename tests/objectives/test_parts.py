"""Parts of policy gradients as official code has them, and every corner of what is clipped."""

import json
from collections.abc import Callable

import pytest
import torch
from cases import GOLDEN, bound
from torch import Tensor

from objectives.parts.divergences import k1, k2, k3
from objectives.verifiable import remax


def golden(name: str) -> dict[str, Tensor]:
    content = json.loads((GOLDEN / f"{name}.json").read_text())
    columns = content["inputs"] | {"output": content["output"]}
    return {key: torch.tensor(value, dtype=torch.float64) for key, value in columns.items()} | {
        f"grad_{key}": torch.tensor(value, dtype=torch.float64)
        for key, value in content["grad"].items()
    }


@pytest.mark.parametrize("estimator", [k1, k2, k3])
def test_estimators_of_kl_are_those_of_verl(estimator: Callable[..., Tensor]) -> None:
    known = golden(f"kl_{estimator.__name__}")
    logprobs = known["logprobs"].requires_grad_()
    found = estimator(logprobs, known["ref_logprobs"])
    torch.testing.assert_close(found, known["output"], rtol=1e-12, atol=1e-12)
    found.sum().backward()
    torch.testing.assert_close(logprobs.grad, known["grad_logprobs"], rtol=1e-12, atol=1e-12)


def test_remax_without_kl_is_worth_what_it_is_in_verl() -> None:
    known = golden("remax_verl")
    mask, logprobs = known["mask"].bool(), torch.zeros_like(known["mask"]).requires_grad_()
    loss, _ = remax(
        logprobs,
        torch.zeros_like(logprobs),
        mask,
        known["rewards"],
        known["baseline_rewards"],
        kl_beta=0.0,
        reward_clip=1e9,
    )
    (gradient,) = torch.autograd.grad(loss.mean(), logprobs)
    torch.testing.assert_close(-gradient * mask.sum(), known["output"], rtol=1e-12, atol=1e-12)


# ratios 1.5 and 0.5 with advantages of 1 and -1: cut where the step was right already
CORNERS = [(1.5, 1.0, False), (1.5, -1.0, True), (0.5, 1.0, True), (0.5, -1.0, False)]


@pytest.mark.parametrize("name", ["grpo", "dr_grpo", "ngrpo", "gigpo"])
@pytest.mark.parametrize(("ratio", "worth", "learns"), CORNERS)
def test_a_token_has_a_gradient_within_the_range_alone(
    name: str, ratio: float, worth: float, learns: bool
) -> None:
    low, high = {"ngrpo": (0.16, 0.24)}.get(name, (0.2, 0.2))
    objective = bound(name, {"kl_beta": 0.0, "advantage": lambda rewards, _: rewards})
    logprobs = torch.tensor([[ratio]], dtype=torch.float64).log().requires_grad_()
    one, zero = torch.ones(1, 1, dtype=torch.bool), torch.zeros(1, 1, dtype=torch.float64)
    tensors = {
        "token_logprobs": logprobs,
        "old_token_logprobs": zero,
        "ref_token_logprobs": zero,
        "mask": one,
        "rewards": torch.tensor([worth], dtype=torch.float64),
        "group": torch.zeros(1, dtype=torch.long),
        "anchors": torch.zeros(1, 1, dtype=torch.long),
        "starts": one,
        "step_rewards": zero,
    }
    loss, metrics = objective.of_tensors(**{n: tensors[n] for n in objective.fields})
    cut = max(min(ratio, 1 + high), 1 - low)
    assert loss.item() == pytest.approx(-worth * (ratio if learns else cut))
    loss.sum().backward()
    assert logprobs.grad.item() == pytest.approx(-worth * ratio if learns else 0.0)
    assert metrics["clip_fraction"] == 1


def of_two(name: str, rewards: list[float], ref: list[float], **setting: float) -> Tensor:
    """The gradient of two responses of one token, of log-probabilities -1 and -2, in one group."""
    logprobs = torch.tensor([[-1.0], [-2.0]], dtype=torch.float64, requires_grad=True)
    objective = bound(name, setting)
    tensors = {
        "token_logprobs": logprobs,
        "old_token_logprobs": logprobs.detach(),
        "ref_token_logprobs": torch.tensor(ref, dtype=torch.float64)[:, None],
        "mask": torch.ones(2, 1, dtype=torch.bool),
        "rewards": torch.tensor(rewards, dtype=torch.float64),
        "greedy_rewards": torch.zeros(2, dtype=torch.float64),
        "group": torch.zeros(2, dtype=torch.long),
    }
    loss, _ = objective.of_tensors(**{n: tensors[n] for n in objective.fields})
    (gradient,) = torch.autograd.grad(loss.sum(), logprobs)
    return gradient.squeeze(1)


def test_rloo_pays_less_for_what_is_far_from_the_reference() -> None:
    # drifts -1 + 1.5 and -2 + 1: worth 1 - 0.25 and 0 + 0.5, which lead one another by 0.25
    assert of_two("rloo", [1.0, 0.0], [-1.5, -1.0], kl_beta=0.5).tolist() == [-0.25, 0.25]


def test_remax_pays_less_for_what_is_far_from_the_reference() -> None:
    # the same, beside a greedy response that is worth nothing
    assert of_two("remax", [1.0, 0.0], [-1.5, -1.0], kl_beta=0.5).tolist() == [-0.75, -0.5]


@pytest.mark.parametrize(("reward", "slope"), [(1.0, -0.02), (0.0, 0.02)])
def test_nft_is_never_quite_sure_of_a_group(reward: float, slope: float) -> None:
    # all right: q = 0.98, (1 - q) / r; all wrong: q = 0.02, (1 - q) * q r / (1 - q r)
    found = of_two("nft", [reward, reward], [-1.0, -1.0])
    assert found.tolist() == pytest.approx([slope, slope])
