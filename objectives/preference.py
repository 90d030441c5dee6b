"""Objectives on pairs of a chosen and a rejected response."""

from typing import Annotated

from annotated_types import Ge, Gt, Lt
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from objectives.domains import AtMost, Scalar


def dpo(
    chosen_logprob: Float[Tensor, " batch"],
    rejected_logprob: Float[Tensor, " batch"],
    ref_chosen_logprob: Float[Tensor, " batch"],
    ref_rejected_logprob: Float[Tensor, " batch"],
    *,
    beta: Annotated[Scalar, Gt(0)] = 0.1,
) -> tuple[Float[Tensor, " batch"], dict[str, Tensor]]:
    """Direct preference optimisation.

    -log sigmoid(beta * ((pi_w - ref_w) - (pi_l - ref_l)))

    Args:
        chosen_logprob: Log-probability pi_w of the chosen response under the policy, summed over
            its tokens, in nats.
        rejected_logprob: The same pi_l of the rejected response.
        ref_chosen_logprob: ref_w, under the frozen reference model.
        ref_rejected_logprob: ref_l, under the frozen reference model.
        beta: Strength of the KL penalty to the reference, in reward per nat.

    Returns:
        Loss per pair, in nats; log 2 where the policy is the reference. Metrics: the implicit
        rewards beta * (pi - ref) of both responses, their margin, and the share of pairs in
        which the chosen response has the larger one.

    Source:
        Rafailov et al. 2023, arXiv:2305.18290.
    """
    h, metrics = margins(
        chosen_logprob, rejected_logprob, ref_chosen_logprob, ref_rejected_logprob, beta
    )
    return -F.logsigmoid(beta * h), metrics


def ipo(
    chosen_logprob: Float[Tensor, " batch"],
    rejected_logprob: Float[Tensor, " batch"],
    ref_chosen_logprob: Float[Tensor, " batch"],
    ref_rejected_logprob: Float[Tensor, " batch"],
    *,
    beta: Annotated[Scalar, Gt(0)] = 0.1,
) -> tuple[Float[Tensor, " batch"], dict[str, Tensor]]:
    """Identity preference optimisation: the log-ratios' difference is regressed on a margin.

    (h - 1 / (2 * beta))^2,  h = (pi_w - ref_w) - (pi_l - ref_l)

    Args:
        chosen_logprob: Log-probability pi_w of the chosen response under the policy, summed over
            its tokens, in nats.
        rejected_logprob: The same pi_l of the rejected response.
        ref_chosen_logprob: ref_w, under the frozen reference model.
        ref_rejected_logprob: ref_l, under the frozen reference model.
        beta: Strength of the KL penalty to the reference, in reward per nat; the paper's tau.

    Returns:
        Loss per pair, in squared nats; 1 / (2 * beta)^2 where the policy is the reference. The
        metrics are dpo's.

    Source:
        Azar et al. 2023, arXiv:2310.12036. The log-ratios are sums over tokens, as in DPO's code;
        trl takes each one's mean over its tokens.
    """
    h, metrics = margins(
        chosen_logprob, rejected_logprob, ref_chosen_logprob, ref_rejected_logprob, beta
    )
    return (h - 1 / (2 * beta)) ** 2, metrics


def rdpo(
    chosen_logprob: Float[Tensor, " batch"],
    rejected_logprob: Float[Tensor, " batch"],
    ref_chosen_logprob: Float[Tensor, " batch"],
    ref_rejected_logprob: Float[Tensor, " batch"],
    *,
    beta: Annotated[Scalar, Gt(0)] = 0.1,
    epsilon: Annotated[Scalar, Ge(0), Lt(0.5)] = 0.1,
) -> tuple[Float[Tensor, " batch"], dict[str, Tensor]]:
    """Robust DPO: unbiased where a share of the preferences has been flipped at random.

    ((1 - epsilon) * l(h) - epsilon * l(-h)) / (1 - 2 * epsilon),  l(h) = -log sigmoid(beta * h)

    Args:
        chosen_logprob: As in dpo.
        rejected_logprob: As in dpo.
        ref_chosen_logprob: As in dpo.
        ref_rejected_logprob: As in dpo.
        beta: Strength of the KL penalty to the reference, in reward per nat.
        epsilon: Share of the pairs that are thought to be flipped; 0 is dpo.

    Returns:
        Loss per pair, in nats, which may be negative: its mean over flips of the label is the
        loss of dpo on the true label. The metrics are dpo's.

    Source:
        Chowdhury, Kini & Natarajan 2024, arXiv:2403.00409.
    """
    h, metrics = margins(
        chosen_logprob, rejected_logprob, ref_chosen_logprob, ref_rejected_logprob, beta
    )
    right, wrong = -F.logsigmoid(beta * h), -F.logsigmoid(-beta * h)
    return ((1 - epsilon) * right - epsilon * wrong) / (1 - 2 * epsilon), metrics


def simpo(
    chosen_mean_logprob: Float[Tensor, " batch"],
    rejected_mean_logprob: Float[Tensor, " batch"],
    *,
    beta: Annotated[Scalar, Gt(0)] = 2.0,
    gamma: Annotated[Scalar, Ge(0)] = 1.0,
) -> tuple[Float[Tensor, " batch"], dict[str, Tensor]]:
    """Simple preference optimisation: no reference, log-probabilities per token, a margin.

    -log sigmoid(beta * (m_w - m_l) - gamma)

    Args:
        chosen_mean_logprob: Log-probability m_w of the chosen response under the policy, mean
            over its tokens, in nats.
        rejected_mean_logprob: The same m_l of the rejected response.
        beta: Reward per nat.
        gamma: Margin by which the chosen response should lead, in reward.

    Returns:
        Loss per pair, in nats; log(1 + exp(gamma)) where both are equally likely per token.
        Metrics: the lead in reward, and the share of pairs in which the chosen response leads.

    Source:
        Meng, Xia & Chen 2024, arXiv:2405.14734.
    """
    lead = beta * (chosen_mean_logprob - rejected_mean_logprob)
    return -F.logsigmoid(lead - gamma), {
        "reward_margin": lead.detach().mean(),
        "reward_accuracy": (lead > 0).float().mean(),
    }


def bradley_terry(
    chosen_reward: Float[Tensor, " batch"], rejected_reward: Float[Tensor, " batch"]
) -> tuple[Float[Tensor, " batch"], dict[str, Tensor]]:
    """Bradley-Terry model of preferences: the loss of a reward model.

    -log sigmoid(r_w - r_l)

    Args:
        chosen_reward: Reward r_w of the chosen response.
        rejected_reward: Reward r_l of the rejected response.

    Returns:
        Loss per pair, in nats; log 2 where both rewards are equal. Metrics: the mean difference,
        and the share of pairs in which the chosen response has the larger reward.

    Source:
        Bradley & Terry 1952, Biometrika 39; Ouyang et al. 2022, arXiv:2203.02155.
    """
    margin = chosen_reward - rejected_reward
    return -F.logsigmoid(margin), {
        "reward_margin": margin.detach().mean(),
        "reward_accuracy": (margin > 0).float().mean(),
    }


def madpo(
    chosen_logprob: Float[Tensor, " batch"],
    rejected_logprob: Float[Tensor, " batch"],
    ref_chosen_logprob: Float[Tensor, " batch"],
    ref_rejected_logprob: Float[Tensor, " batch"],
    chosen_reward: Float[Tensor, " batch"],
    rejected_reward: Float[Tensor, " batch"],
    *,
    beta: Annotated[Scalar, Gt(0)] = 0.1,
    tau: Annotated[Scalar, Gt(0)] = 2.0,
    c_min: Annotated[Scalar, Ge(0), Lt(1)] = 0.5,
    c_max: Annotated[Scalar, Gt(1)] = 2.0,
    lam: Annotated[Scalar, Gt(0)] = 1.0,
) -> tuple[Float[Tensor, " batch"], dict[str, Tensor]]:
    """Margin-adaptive DPO: a reward model's margin decides how much a pair weighs.

    -w * log sigmoid(beta * h),  w = sigmoid(c * m) / sigmoid(m) where m > -tau, else 1,
    c = c_min + (c_max - c_min) / (1 + (c_max - 1) / (1 - c_min) * exp(lam * (|m| - tau))),
    h = (pi_w - ref_w) - (pi_l - ref_l),  m = r_w - r_l

    Args:
        chosen_logprob: As in dpo.
        rejected_logprob: As in dpo.
        ref_chosen_logprob: As in dpo.
        ref_rejected_logprob: As in dpo.
        chosen_reward: Reward r_w of the chosen response under a frozen reward model.
        rejected_reward: The same r_l of the rejected response.
        beta: Strength of the KL penalty to the reference, in reward per nat.
        tau: Margin at which a pair weighs as in dpo, in the reward model's reward; pairs of a
            smaller margin are amplified, of a larger one damped.
        c_min: Least coefficient of the margin, that of large ones.
        c_max: Greatest coefficient, that of small ones.
        lam: How fast one turns into the other, in 1 / reward.

    Returns:
        Loss per pair, in nats; dpo's where |m| = tau. Metrics: dpo's, and the mean weight.

    Source:
        Rho 2025, arXiv:2510.05342, and its code.
    """
    h, metrics = margins(
        chosen_logprob, rejected_logprob, ref_chosen_logprob, ref_rejected_logprob, beta
    )
    margin = chosen_reward - rejected_reward
    growth = (lam * (margin.abs() - tau)).exp()
    c = c_min + (c_max - c_min) / (1 + (c_max - 1) / (1 - c_min) * growth)
    weight = (F.logsigmoid(c * margin) - F.logsigmoid(margin)).exp()
    weight = weight.where(margin > -tau, 1.0)
    return -weight * F.logsigmoid(beta * h), metrics | {"weight": weight.detach().mean()}


def inpo(
    chosen_logprob: Float[Tensor, " batch"],
    rejected_logprob: Float[Tensor, " batch"],
    ref_chosen_logprob: Float[Tensor, " batch"],
    ref_rejected_logprob: Float[Tensor, " batch"],
    old_chosen_logprob: Float[Tensor, " batch"],
    old_rejected_logprob: Float[Tensor, " batch"],
    *,
    eta: Annotated[Scalar, Gt(0)] = 0.1,
    tau: Annotated[Scalar, Ge(0), AtMost("eta")] = 0.03,
) -> tuple[Float[Tensor, " batch"], dict[str, Tensor]]:
    """Iterative Nash policy optimisation: a step of mirror descent against the own last policy.

    (h - tau / eta * h_ref - (1 - tau / eta) * h_old - 1 / (2 * eta))^2,  h_x = x_w - x_l

    Args:
        chosen_logprob: Log-probability of the response that the oracle prefers, under the policy,
            summed over its tokens, in nats.
        rejected_logprob: The same of the other response.
        ref_chosen_logprob: As in dpo.
        ref_rejected_logprob: As in dpo.
        old_chosen_logprob: Under the policy that both were sampled from.
        old_rejected_logprob: The same of the other response.
        eta: Inverse step of mirror descent, in win rate per nat.
        tau: Strength of the KL penalty to the reference, in win rate per nat, not above eta, where
            it is ipo with beta = eta; at 0 there is no reference.

    Returns:
        Loss per pair, in squared nats; 1 / (2 * eta)^2 where the policy is both others. The
        metrics are dpo's, of beta = tau.

    Source:
        Zhang et al. 2024, arXiv:2407.00617. Checked against DPO's official code of ipo.
    """
    h, metrics = margins(
        chosen_logprob, rejected_logprob, ref_chosen_logprob, ref_rejected_logprob, tau
    )
    since_reference = old_chosen_logprob - old_rejected_logprob
    since_reference = since_reference - (ref_chosen_logprob - ref_rejected_logprob)
    return (h - (1 - tau / eta) * since_reference - 1 / (2 * eta)) ** 2, metrics


def sft(
    chosen_logprobs: Float[Tensor, "batch time"], chosen_mask: Bool[Tensor, "batch time"]
) -> Float[Tensor, " tokens"]:
    """Supervised fine-tuning on the chosen responses: their negative log-likelihood.

    -log pi(token)

    Args:
        chosen_logprobs: Log-probability of each token, in nats.
        chosen_mask: True on the response's tokens.

    Returns:
        Loss per response token, in nats, so that the mean is over all tokens of a batch;
        log(vocabulary) under a uniform policy.

    Source:
        Ouyang et al. 2022, arXiv:2203.02155.
    """
    return -chosen_logprobs.masked_select(chosen_mask)


def margins(
    chosen_logprob: Tensor,
    rejected_logprob: Tensor,
    ref_chosen_logprob: Tensor,
    ref_rejected_logprob: Tensor,
    beta: Scalar,
) -> tuple[Tensor, dict[str, Tensor]]:
    """The difference h of the two log-ratios to the reference, in nats, and what is shown of it."""
    chosen, rejected = chosen_logprob - ref_chosen_logprob, rejected_logprob - ref_rejected_logprob
    h = chosen - rejected
    return h, {
        "chosen_reward": (beta * chosen).detach().mean(),
        "rejected_reward": (beta * rejected).detach().mean(),
        "reward_margin": (beta * h).detach().mean(),
        "reward_accuracy": (h > 0).float().mean(),
    }
