"""Objectives of demonstrations and preferences."""

from functools import partial

import torch
from torch import Tensor

from bench import trl_losses
from bench.counterparts.case import Case, direct, leaf, normal
from objectives import preference
from objectives.records import Demonstration, JudgedPreference, Preference, Rewards, SelfPlay

PAIRS, TOKENS, NUMBERS = 256, 512, 200_000
SAID = TOKENS // 2
"""Tokens of a response of a pair; trl's ipo divides by them."""


def said(size: int) -> Tensor:
    """Log-probabilities of tokens, near to one another."""
    return -1 - 0.02 * torch.rand(size, TOKENS)


def mask(size: int) -> Tensor:
    """The second half."""
    return (torch.arange(TOKENS) >= TOKENS - SAID).repeat(size, 1)


def demonstrated(size: int) -> Demonstration:
    return Demonstration(said(size).requires_grad_(), mask(size), torch.arange(size))


def preferred(size: int) -> Preference:
    chosen, rejected = (said(size).requires_grad_() for _ in range(2))
    both = mask(size)
    return Preference(chosen, rejected, said(size), said(size), both, both, torch.arange(size))


def judged(size: int) -> JudgedPreference:
    return JudgedPreference(*vars(preferred(size)).values(), normal(size), normal(size))


def self_play(size: int) -> SelfPlay:
    return SelfPlay(*vars(preferred(size)).values(), said(size), said(size))


def rewarded(size: int) -> Rewards:
    return Rewards(leaf(size), leaf(size), torch.arange(size))


def masked_mean(record: Demonstration) -> Tensor:
    return -torch.masked.mean(record.chosen_logprobs, mask=record.chosen_mask)


pairs = partial(Case, record=preferred, size=PAIRS)
dpo = partial(trl_losses.dpo, beta=0.1)
beside_ipo = partial(
    pairs, "trl DPOTrainer", theirs=partial(dpo, loss_type="ipo"), scale=1 / SAID**2
)
beside_dpo = partial(pairs, "trl DPOTrainer", theirs=partial(dpo, loss_type="sigmoid"))

CASES = {
    "sft": pairs(
        "torch masked.mean",
        partial(preference.sft),
        record=demonstrated,
        theirs=direct(masked_mean),
        unlike="no value a token",
    ),
    "dpo": beside_dpo(partial(preference.dpo, beta=0.1)),
    "ipo": beside_ipo(partial(preference.ipo, beta=0.1 / SAID)),
    "inpo at tau = eta": beside_ipo(
        partial(preference.inpo, eta=0.1 / SAID, tau=0.1 / SAID), record=self_play
    ),
    "rdpo": pairs(
        "trl DPOTrainer",
        partial(preference.rdpo, beta=0.1, epsilon=0.1),
        theirs=partial(dpo, loss_type="robust", label_smoothing=0.1),
    ),
    "madpo": beside_dpo(
        partial(preference.madpo, beta=0.1), record=judged, unlike="all pairs weigh alike"
    ),
    "simpo": pairs(
        "trl CPOTrainer",
        partial(preference.simpo, beta=2.0, gamma=1.0),
        theirs=partial(trl_losses.simpo, beta=2.0, gamma=1.0),
    ),
    "bradley_terry": Case(
        "trl RewardTrainer",
        partial(preference.bradley_terry),
        rewarded,
        NUMBERS,
        trl_losses.bradley_terry,
    ),
}
