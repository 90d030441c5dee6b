"""Policy gradients on groups of episodes of several actions."""

import json
from functools import partial

import pytest
import torch
from cases import GOLDEN, Case
from torch import Tensor

from objectives.episodes import discounted, first_tokens, gigpo, numbered
from objectives.parts.advantages import centred
from objectives.parts.aggregates import per_response, per_token
from objectives.parts.divergences import k2
from objectives.records import Episodes
from objectives.verifiable import grpo

PARTS = "it is put together from functions"


def episodes() -> Episodes:
    """Two groups of three episodes of up to three actions, of one and of two tokens."""
    generator = torch.Generator().manual_seed(0)
    logprobs, old, ref = -2 * torch.rand(3, 6, 5, generator=generator, dtype=torch.float64)
    starts = torch.tensor([[1, 0, 1, 0, 1], [1, 0, 1, 0, 0], [1, 0, 0, 0, 0]] * 2).bool()
    mask = torch.tensor([[1, 1, 1, 0, 1], [1, 1, 1, 0, 0], [1, 0, 0, 0, 0]] * 2).bool()
    rewards = torch.tensor([1.0, 0.0, 0.0, 1.0, 1.0, 0.0], dtype=torch.float64)
    last = torch.tensor([4, 2, 0] * 2)
    step_rewards = torch.zeros(6, 5, dtype=torch.float64)
    step_rewards[torch.arange(6), last] = rewards
    anchors = torch.tensor([[3, 3, 4, 9, 3], [3, 3, 4, 9, 9], [3, 9, 9, 9, 9]] * 2)
    group = torch.tensor([7, 7, 7, 2, 2, 2])
    return Episodes(
        *(logprobs, old, ref, mask, rewards, group, torch.arange(6)),
        *(anchors, starts, step_rewards),
    )


CASES = {
    "gigpo": Case(
        episodes,
        ("token_logprobs",),
        settings=({}, {"kl": partial(k2), "advantage": partial(centred), "gamma": 0.5}),
        lacks={
            "defaults": PARTS,
            "golden": "its golden case is of the advantages: see below",
            "fall": "the surrogate is of a policy's change",
        },
    )
}


def advantages(record: Episodes, **settings: object) -> Tensor:
    """What each token is worth: the gradient of the loss where nothing has changed."""
    tensors = vars(record) | {"old_token_logprobs": record.token_logprobs}
    del tensors["index"]
    tensors["token_logprobs"] = record.token_logprobs.clone().requires_grad_()
    loss, _ = gigpo(
        **tensors,
        **{
            "kl_beta": 0.0,
            "advantage": centred,
            "aggregate": lambda losses, mask: (losses * mask).sum(1),
        }
        | settings,
    )
    loss.sum().backward()
    return -tensors["token_logprobs"].grad


def test_returns_by_hand() -> None:
    starts = torch.tensor([[True, False, True, True]])
    rewards = torch.tensor([[1.0, 0.0, 0.0, 4.0]])
    # 1 + 0.5 * 0 + 0.25 * 4, 0 + 0.5 * 4, 4; the second token begins no action
    assert discounted(rewards, starts, 0.5)[starts].tolist() == [2, 2, 4]
    assert discounted(rewards, starts, 0.0)[starts].tolist() == [1, 0, 4]
    assert discounted(rewards, starts, 1.0)[starts].tolist() == [5, 4, 4]


def test_states_are_a_groups_own_and_what_begins_no_action_is_alone() -> None:
    anchors, group = torch.tensor([[1, 2, 1], [1, 2, 2], [1, 2, 2]]), torch.tensor([4, 4, 5])
    starts = torch.tensor([[True, True, True], [True, True, False], [True, False, True]])
    found = numbered(group, anchors, starts)
    same = found.flatten()[:, None] == found.flatten()
    partners = {(i, j) for i, j in same.nonzero().tolist() if i < j}
    assert partners == {(0, 2), (0, 3), (2, 3), (1, 4)}


def test_a_token_belongs_to_the_action_that_began_last() -> None:
    starts = torch.tensor([[False, True, False, True, False]])
    assert first_tokens(starts).tolist() == [[0, 1, 1, 3, 3]]


def test_advantages_by_hand() -> None:
    # two episodes from one start, of rewards 1 and 0, by two actions each, all in one state:
    # returns 0.5, 1 and 0, 0 have the mean 0.375; episodes are worth 0.5 and -0.5
    whole = torch.ones(2, 2, dtype=torch.bool)
    record = Episodes(
        *torch.full((3, 2, 2), -1.0),
        whole,
        torch.tensor([1.0, 0.0]),
        torch.tensor([0, 0]),
        torch.arange(2),
        torch.zeros(2, 2, dtype=torch.long),
        whole,
        torch.tensor([[0.0, 1.0], [0.0, 0.0]]),
    )
    found = advantages(record, omega=2.0, gamma=0.5)
    expected = [[0.5 + 0.25, 0.5 + 1.25], [-0.5 - 0.75, -0.5 - 0.75]]
    torch.testing.assert_close(found, torch.tensor(expected))


def test_without_the_actions_it_is_grpo() -> None:
    record = episodes()
    tensors = {name: column for name, column in vars(record).items() if name != "index"}
    loss, metrics = gigpo(**tensors, omega=0.0, kl_beta=0.3, aggregate=per_response)
    theirs = {n: tensors[n] for n in list(tensors)[:6]}
    expected, others = grpo(**theirs, kl_beta=0.3)
    torch.testing.assert_close(loss, expected)
    assert metrics["kl"] == others["kl"]
    assert metrics["shared"] == 1.0  # of a group's six actions four answer state 3 and two state 4
    alone = gigpo(**tensors | {"anchors": torch.arange(30).view(6, 5)}, kl_beta=0.3)
    assert alone[1]["shared"] == 0
    torch.testing.assert_close(alone[0], grpo(**theirs, kl_beta=0.3, aggregate=per_token)[0])


def test_advantages_are_those_of_the_official_code() -> None:
    golden = json.loads((GOLDEN / "gigpo.json").read_text())
    rows = golden["inputs"]
    prompts, states = (
        torch.tensor([sorted(set(rows[name])).index(value) for value in rows[name]])
        for name in ("prompts", "observations")
    )
    mask = torch.tensor(rows["mask"]).bool().view(4, 12)  # three actions of up to four tokens each
    starts = torch.zeros(4, 3, 4, dtype=torch.bool)
    starts[:, :, 0] = True
    step_rewards = torch.zeros(4, 3, 4, dtype=torch.float64)
    step_rewards[:, :, 0] = torch.tensor(rows["step_rewards"], dtype=torch.float64).view(4, 3)
    record = Episodes(
        *torch.full((3, 4, 12), -1.0, dtype=torch.float64),
        mask,
        torch.tensor(rows["rewards"], dtype=torch.float64)[::3],
        prompts[::3],
        torch.arange(4),
        states.repeat_interleave(4).view(4, 12),
        starts.view(4, 12),
        step_rewards.view(4, 12),
    )
    found = advantages(record, gamma=0.0, **golden["hyper"])  # returns are given
    expected = torch.tensor(golden["output"], dtype=torch.float64).view(4, 12)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("omega", [0.0, 1.0])
def test_equal_rewards_teach_nothing(omega: float) -> None:
    record = episodes()
    changed = vars(record) | {
        "rewards": torch.zeros(6, dtype=torch.float64),
        "step_rewards": torch.zeros(6, 5, dtype=torch.float64),
    }
    assert advantages(Episodes(**changed), omega=omega).abs().max() == 0
