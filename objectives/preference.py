"""Objectives on pairs of a chosen and a rejected response."""

from typing import Annotated

from annotated_types import Gt
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from objectives.domains import Scalar


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
    chosen_reward = beta * (chosen_logprob - ref_chosen_logprob)
    rejected_reward = beta * (rejected_logprob - ref_rejected_logprob)
    margin = chosen_reward - rejected_reward
    return -F.logsigmoid(margin), {
        "chosen_reward": chosen_reward.detach().mean(),
        "rejected_reward": rejected_reward.detach().mean(),
        "reward_margin": margin.detach().mean(),
        "reward_accuracy": (margin > 0).float().mean(),
    }
