"""The losses of trl's trainers, by the trainers' own methods, from a record's log-probabilities.

A trainer's method is called on a stand-in that has what it asks for; the stand-in's model gives
the log-probabilities of a record, as the trainers' models do, 0 outside of a response. What the
methods note down for the log, they note down here too. Advantages of GRPO and RLOO, which the
trainers make elsewhere, are made as they make them.
"""

from collections import defaultdict
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from bench.counterparts.case import Side
from objectives.parts.advantages import SMALL
from objectives.records import Preference, Responses, Rewards


class Untrained(nn.Module):
    """A model that is only asked what it is."""

    is_gradient_checkpointing = False


def trainer(**own: Any) -> Any:
    """What the trainers' methods ask for."""
    from accelerate import Accelerator

    common = {
        "accelerator": Accelerator(cpu=True),
        "args": SimpleNamespace(
            gradient_checkpointing_kwargs=None,
            use_bias_correction_kl=False,
            delta=None,
            center_rewards_coefficient=None,
        ),
        "model": Untrained(),
        "aux_loss_enabled": False,
        "_metrics": {"train": defaultdict(list)},
        "_total_train_tokens": 0,
        "_tp_size": 1,
    }
    return SimpleNamespace(**common, **own)


def dpo(record: Preference, loss_type: str, beta: float, label_smoothing: float = 0.0) -> Side:
    """DPOTrainer._compute_loss."""
    from trl import DPOTrainer

    mask = torch.cat([record.chosen_mask, record.rejected_mask])
    leaf = torch.cat([record.chosen_logprobs, record.rejected_logprobs]).detach()
    reference = torch.cat([record.ref_chosen_logprobs, record.ref_rejected_logprobs])
    leaf.requires_grad_()
    seen = torch.cat([torch.zeros_like(mask[:, :1]), mask], dim=1).long()
    inputs = {
        "input_ids": torch.ones_like(seen),
        "attention_mask": torch.ones_like(seen),
        "completion_mask": seen,
    }
    self = trainer(
        beta=beta, loss_types=[loss_type], loss_weights=[1.0], label_smoothing=label_smoothing,
        f_divergence_type="reverse_kl", ld_alpha=None, use_weighting=False,
        precompute_ref_logps=False, ref_model=saying(reference, mask),
    )  # fmt: skip
    model = saying(leaf, mask)
    return Side(lambda: DPOTrainer._compute_loss(self, model, inputs, False), [leaf])


def saying(logprobs: Tensor, mask: Tensor) -> Callable[..., Any]:
    """A model that gives these log-probabilities, and what the trainers log beside them."""
    beside, top = torch.zeros_like(logprobs), torch.zeros_like(mask)

    def model(**_: Any) -> SimpleNamespace:
        said = torch.where(mask, logprobs, 0.0)
        return SimpleNamespace(log_probs=said, entropy=beside, mean_logits=beside, is_top1=top)

    return model


def simpo(record: Preference, beta: float, gamma: float) -> Side:
    """CPOTrainer.cpo_loss, of the mean log-probabilities that its get_batch_logps makes."""
    from trl.experimental.cpo import CPOTrainer

    mask = torch.cat([record.chosen_mask, record.rejected_mask])
    leaf = torch.cat([record.chosen_logprobs, record.rejected_logprobs]).detach()
    leaf.requires_grad_()
    self = trainer(alpha=0.0, loss_type="simpo", simpo_gamma=gamma, beta=beta, label_smoothing=0.0)

    def loss() -> Tensor:
        chosen, rejected = ((leaf * mask).sum(-1) / mask.sum(-1)).chunk(2)
        losses, of_chosen, of_rejected = CPOTrainer.cpo_loss(self, chosen, rejected)
        right = (of_chosen > of_rejected).float().mean()
        self.seen = right, (of_chosen - of_rejected).mean()
        return losses.mean()

    return Side(loss, [leaf])


def bradley_terry(record: Rewards) -> Side:
    """RewardTrainer.compute_loss."""
    from trl import RewardTrainer

    leaf = torch.cat([record.chosen_reward, record.rejected_reward]).detach()[:, None]
    leaf.requires_grad_()
    self, inputs = trainer(), {"attention_mask": torch.ones(len(leaf), 1)}
    said = SimpleNamespace(logits=leaf)
    return Side(lambda: RewardTrainer.compute_loss(self, lambda **_: said, dict(inputs)), [leaf])


def grpo(record: Responses, loss_type: str, beta: float, scaled: bool) -> Side:
    """GRPOTrainer._compute_loss."""
    from trl import GRPOTrainer

    leaf, group = record.token_logprobs.detach().requires_grad_(), group_size(record)
    self = trainer(
        beta=beta, loss_type=loss_type, epsilon_low=0.2, epsilon_high=0.2, use_vllm=False,
        importance_sampling_level="token", top_entropy_quantile=1.0, max_completion_length=0,
        off_policy_mask_threshold=None, current_gradient_accumulation_steps=1,
        _entropy_bonus_enabled=False,
    )  # fmt: skip
    self.max_completion_length = leaf.shape[1]
    self._get_per_token_logps_and_entropies = with_entropies(leaf)
    inputs = inputs_of(record, "old_per_token_logps", record.old_token_logprobs)

    def loss() -> Tensor:
        rewards = record.rewards.view(-1, group)
        advantages = rewards - rewards.nanmean(dim=1, keepdim=True)
        if scaled:
            advantages = advantages / (rewards.std(dim=1, keepdim=True) + SMALL)
        return GRPOTrainer._compute_loss(self, None, inputs | {"advantages": advantages.flatten()})

    return Side(loss, [leaf])


def rloo(record: Responses, beta: float) -> Side:
    """RLOOTrainer._compute_loss, whose value is that of a ratio of 1."""
    from trl import RLOOTrainer

    leaf, group = record.token_logprobs.detach().requires_grad_(), group_size(record)
    self = trainer(epsilon_low=0.2, epsilon_high=0.2)
    self._get_per_token_logps_and_entropies = with_entropies(leaf)
    mask = record.mask.long()
    logps = (leaf.detach() * mask).sum(1)
    inputs = inputs_of(record, "old_logps", logps)

    def loss() -> Tensor:
        drift = ((leaf.detach() - record.ref_token_logprobs) * mask).sum(1)
        rewards = (record.rewards - beta * drift).view(-1, group)
        others = (rewards.sum(dim=1, keepdim=True) - rewards) / (group - 1)
        advantages = (rewards - others).flatten()
        return RLOOTrainer._compute_loss(self, None, inputs | {"advantages": advantages})

    return Side(loss, [leaf])


def group_size(record: Responses) -> int:
    return int(record.group.bincount()[0])


def with_entropies(logprobs: Tensor) -> Callable[..., tuple[Tensor, Tensor, None]]:
    entropies = torch.zeros_like(logprobs)
    return lambda *_, **__: (logprobs, entropies, None)


def inputs_of(record: Responses, name: str, old: Tensor) -> dict[str, Tensor]:
    mask = record.mask.long()
    return {
        "prompt_ids": mask[:, :0],
        "prompt_mask": mask[:, :0],
        "completion_ids": mask,
        "completion_mask": mask,
        "ref_per_token_logps": record.ref_token_logprobs,
        name: old,
    }
