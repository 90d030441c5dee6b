"""Objectives of rewarded responses."""

from functools import partial

import torch

from bench import trl_losses
from bench.counterparts.case import FORMULA, Case
from bench.counterparts.pairs import TOKENS, said
from objectives import episodes, verifiable
from objectives.parts.advantages import beside_the_best, centred
from objectives.parts.aggregates import per_budget, per_token
from objectives.records import BaselinedResponses, Episodes, Responses

RESPONSES, GROUP, TURN, STATES = 512, 8, 16, 4


def responses(size: int) -> Responses:
    lengths = torch.randint(1, TOKENS + 1, (size, 1))
    return Responses(
        said(size).requires_grad_(),
        said(size),
        said(size),
        torch.arange(TOKENS) < lengths,
        torch.rand(size),
        torch.arange(size) // GROUP,
        torch.arange(size),
    )


def baselined(size: int) -> BaselinedResponses:
    return BaselinedResponses(*vars(responses(size)).values(), torch.rand(size))


def in_turns(size: int) -> Episodes:
    """Turns of some tokens each, which answer one of a few states."""
    plain = responses(size)
    turns = torch.arange(TOKENS) // TURN
    starts = plain.mask & (torch.arange(TOKENS) % TURN == 0)
    anchors = torch.randint(STATES, (size, TOKENS // TURN))[:, turns]
    return Episodes(*vars(plain).values(), anchors, starts, torch.rand(size, TOKENS) * starts)


ours = partial(Case, record=responses, size=RESPONSES)
plain_grpo = partial(trl_losses.grpo, loss_type="grpo", beta=0.0, scaled=True)
beside_grpo = partial(ours, "trl GRPOTrainer", theirs=plain_grpo)

CASES = {
    "grpo": beside_grpo(
        partial(verifiable.grpo, kl_beta=0.04),
        theirs=partial(trl_losses.grpo, loss_type="grpo", beta=0.04, scaled=True),
    ),
    "dr_grpo": beside_grpo(
        partial(
            verifiable.grpo,
            advantage=partial(centred),
            aggregate=partial(per_budget),
            kl_beta=0.0,
        ),
        theirs=partial(trl_losses.grpo, loss_type="dr_grpo", beta=0.0, scaled=False),
    ),
    "ngrpo": beside_grpo(
        partial(
            verifiable.grpo,
            advantage=partial(beside_the_best),
            aggregate=partial(per_token),
            kl_beta=0.0,
        ),
        unlike="one response fewer in a group",
    ),
    "nft": beside_grpo(partial(verifiable.nft), unlike=FORMULA),
    "gigpo": beside_grpo(
        partial(episodes.gigpo, kl_beta=0.0),
        record=in_turns,
        unlike="no groups of steps",
    ),
    "rloo": ours(
        "trl RLOOTrainer",
        partial(verifiable.rloo, kl_beta=0.05),
        theirs=partial(trl_losses.rloo, beta=0.05),
        surrogate=True,
    ),
    "remax": ours(
        "trl RLOOTrainer",
        partial(verifiable.remax),
        record=baselined,
        theirs=partial(trl_losses.rloo, beta=0.05),
        unlike="another baseline",
    ),
}
