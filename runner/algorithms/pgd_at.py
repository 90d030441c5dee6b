"""Adversarial training, around any objective."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Annotated, Any

import torch
from annotated_types import Ge, Gt
from torch import Tensor

from objectives.domains import Count
from objectives.objective import check
from runner.algorithms.descent import Descent
from runner.attack import Pixels, only_looking, slope_of
from runner.learner import Learner
from tasks.protocol import Batch


class PGDTraining(Descent):
    """Descend on inputs that were changed to raise the loss.

    min_w mean_i max_{|d_i| <= epsilon} loss(w, x_i + d_i),  the maximum by projected ascent

    The ascent is on the learner's own loss, whatever the objective, with the model in evaluation
    mode; it changes nothing that model or objective remember.

    Args:
        learner: What learns; its protocol tells the range of its `inputs`.
        attack_epsilon: Largest change of a pixel, in units of the range from black to white;
            0 is plain descent.
        attack_steps: Steps of the ascent.
        attack_step_size: Length of a step, in the same unit.
        outer: The algorithm that takes the changed batch.

    Source:
        Madry et al. 2018, arXiv:1706.06083.
    """

    def __init__(
        self,
        learner: Learner,
        *,
        attack_epsilon: Annotated[float, Ge(0)] = 8 / 255,
        attack_steps: Count = 10,
        attack_step_size: Annotated[float, Gt(0)] = 2 / 255,
        outer: Callable[..., Descent] = Descent,
    ):
        super().__init__(learner)
        self.attack = partial(
            Pixels.of(learner, "pgd_at").pgd,
            epsilon=attack_epsilon,
            steps=attack_steps,
            step_size=attack_step_size,
        )
        self.outer: Descent = check(outer)(learner)

    def update(self, batch: Batch) -> dict[str, Tensor]:
        with only_looking(self.learner):
            parts = [self._attacked(part) for part in batch.parts(self.learner.accumulate)]
        return self.outer.update(replace(batch, inputs=torch.cat(parts)))  # type: ignore[call-arg]

    def state_dict(self) -> dict[str, Any]:
        return self.outer.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.outer.load_state_dict(state)

    def _attacked(self, batch: Any) -> Tensor:
        def loss(inputs: Tensor) -> Tensor:
            return self.learner.loss(replace(batch, inputs=inputs))[0]

        return self.attack(slope_of(loss), batch.inputs)
