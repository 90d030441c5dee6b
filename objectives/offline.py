"""Objectives of offline reinforcement learning: an actor and its critics, from data of others.

Each is the sum of what the critics and the actor descend. Their gradients meet in no parameter,
so that one step of the sum is a step of each.
"""

from typing import Annotated

import torch
from annotated_types import Ge
from jaxtyping import Float
from torch import Tensor

from objectives.domains import Scalar
from objectives.objective import declare

TINY = 1e-6
"""Where all values are 0, the policy's weight is finite still."""

SCALED = "the mean size of the batch's values weighs each of them"
CONSTANT = "the weight of the policy's values is held constant"


@declare(coupled=SCALED, surrogate=CONSTANT)
def td3_bc(
    values_1: Float[Tensor, " batch"],
    values_2: Float[Tensor, " batch"],
    targets: Float[Tensor, " batch"],
    actions: Float[Tensor, "batch dims"],
    policy_actions: Float[Tensor, "batch dims"],
    policy_values: Float[Tensor, " batch"],
    *,
    alpha: Annotated[Scalar, Ge(0)] = 2.5,
) -> tuple[Float[Tensor, " batch"], dict[str, Tensor]]:
    """TD3 with behaviour cloning: clipped double Q-learning, the actor held to the data's actions.

    (Q_1 - y)^2 + (Q_2 - y)^2 - lambda * Q_1(s, pi(s)) + mean_d (pi(s)_d - a_d)^2,
    lambda = alpha / mean |Q_1(s, pi(s))|, a constant

    Args:
        values_1: The first critic's value Q_1 of the action taken.
        values_2: The second critic's, Q_2.
        targets: Targets y = r + gamma * min of the target critics; constants.
        actions: Actions a of the data, in [-1, 1].
        policy_actions: The policy's actions pi(s) in the same states.
        policy_values: The first critic's value of these, with a gradient for the policy alone.
        alpha: Weight of the value against the behaviour cloning; 0 is behaviour cloning.

    Returns:
        Loss per transition; the mean squared error of the actions where the critics are right and
        alpha is 0. Metrics: the mean of the policy's values, and the squared distance to the data.

    Source:
        Fujimoto & Gu 2021, arXiv:2106.06860; the official code shows the actor critics one step
        later.
    """
    weight = _weight(policy_values, alpha)
    cloning = (policy_actions - actions).square().mean(dim=-1)
    loss = _temporal(values_1, values_2, targets) - weight * policy_values + cloning
    return loss, _shown(policy_values, cloning)


@declare(coupled=SCALED, surrogate=CONSTANT)
def a2pr(
    values_1: Float[Tensor, " batch"],
    values_2: Float[Tensor, " batch"],
    targets: Float[Tensor, " batch"],
    actions: Float[Tensor, "batch dims"],
    policy_actions: Float[Tensor, "batch dims"],
    policy_values: Float[Tensor, " batch"],
    generated_actions: Float[Tensor, "batch dims"],
    generated_values: Float[Tensor, " batch"],
    state_values: Float[Tensor, " batch"],
    state_targets: Float[Tensor, " batch"],
    reconstructions: Float[Tensor, "batch dims"],
    latent_means: Float[Tensor, "batch latent"],
    latent_stds: Float[Tensor, "batch latent"],
    *,
    alpha: Annotated[Scalar, Ge(0)] = 2.5,
    threshold: Scalar = 0.0,
    mask_weight: Annotated[Scalar, Ge(0)] = 1.0,
    vae_weight: Annotated[Scalar, Ge(0)] = 1.0,
    kl_weight: Annotated[Scalar, Ge(0)] = 0.5,
) -> tuple[Float[Tensor, " batch"], dict[str, Tensor]]:
    """TD3 held to the better of the data's action and one generated, where that is an advantage.

    (Q_1 - y)^2 + (Q_2 - y)^2 + (V - y_V)^2 + [vae] - lambda * Q_1(s, pi(s))
        + mask_weight * [max(Q(a), Q(a')) - V > threshold] * mean_d (pi(s)_d - better_d)^2
    [vae] = vae_weight * [Q(a) - V > threshold] * mean_d (a_d - reconstruction_d)^2
        + kl_weight * 1/2 * mean_z (mu^2 + sigma^2 - 1 - 2 log sigma)
    lambda = alpha / mean |Q_1(s, pi(s))|; better = a' if Q(a') >= Q(a), else a

    Args:
        values_1: The first critic's value Q_1 of the action taken, Q(a) in the comparisons.
        values_2: The second critic's, Q_2.
        targets: Targets y = r + gamma * min of the target critics; constants.
        actions: Actions a of the data, in [-1, 1].
        policy_actions: The policy's actions pi(s) in the same states.
        policy_values: The first critic's value of these, with a gradient for the policy alone.
        generated_actions: Actions a' that the generative model has for the policy's.
        generated_values: The first critic's value Q(a') of these.
        state_values: The state's value V.
        state_targets: Its target y_V; a constant.
        reconstructions: The generative model's reconstructions of a.
        latent_means: Means mu of its latent variables, given s and a.
        latent_stds: Deviations sigma of these.
        alpha: Weight of the value against the regularisation; 0 is cloning of the better action.
        threshold: What Q(a) - V of an action has to exceed to be an advantage; -inf's limit holds
            the policy to an action in every state.
        mask_weight: Weight of the regularisation where there is an advantage.
        vae_weight: Weight of reconstructions of actions with an advantage.
        kl_weight: Weight of the KL divergence of the latent variables from a standard normal.

    Returns:
        Loss per transition; td3_bc's with what the state's value and the generative model descend
        beside it, where the data's action is always the better one and beats V. Metrics: the mean
        of the policy's values, the squared distance to the better action, and the shares of
        states that are held to any action and to a generated one.

    Source:
        Liu et al. 2024, arXiv:2405.19909. As in the official code a generated action may carry a
        gradient, the comparison with the threshold, which is 0 there, is >= for it and > for the
        data's, and the KL divergence is a mean over the latent variables. That code steps the
        critics before the others.
    """
    weight = _weight(policy_values, alpha)
    generated = generated_values.detach() >= values_1.detach()
    better = torch.where(generated[:, None], generated_actions, actions)
    taken = (values_1 - state_values).detach() > threshold
    held = taken | ((generated_values - state_values).detach() >= threshold)
    distance = (policy_actions - better).square().mean(dim=-1)
    actor = mask_weight * held * distance - weight * policy_values
    critics = _temporal(values_1, values_2, targets) + (state_values - state_targets).square()
    error = (reconstructions - actions).square().mean(dim=-1)
    vae = vae_weight * taken * error + kl_weight * _divergence(latent_means, latent_stds)
    loss = critics + actor + vae
    shares = {"held": held.float().mean(), "generated": generated.float().mean()}
    return loss, _shown(policy_values, distance) | shares


def _temporal(values_1: Tensor, values_2: Tensor, targets: Tensor) -> Tensor:
    return (values_1 - targets).square() + (values_2 - targets).square()


def _weight(values: Tensor, alpha: Scalar) -> Tensor:
    return alpha / values.detach().abs().mean().clamp_min(TINY)


def _divergence(means: Tensor, stds: Tensor) -> Tensor:
    """KL divergence from a standard normal distribution, the mean over latent variables."""
    variances = stds.square()
    return 0.5 * (means.square() + variances - 1 - variances.log()).mean(dim=-1)


def _shown(values: Tensor, distance: Tensor) -> dict[str, Tensor]:
    return {"value": values.detach().mean(), "distance": distance.detach().mean()}
