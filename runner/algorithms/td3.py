"""Actor-critic learning with a delayed actor and targets that follow slowly."""

from collections.abc import Callable
from typing import Annotated, Any

import torch
from annotated_types import Gt, Le
from torch import Tensor

from objectives.domains import Count
from objectives.errors import InputError
from runner.algorithms.descent import Descent
from runner.learner import Learner
from tasks.protocol import Batch


class TD3(Descent):
    """Step all but the actor on every batch; on every `delay`-th the actor too, then the targets.

    target <- polyak * source + (1 - polyak) * target

    The model names its `actor`, and by `targets()` what follows what. Actor and critics are stepped
    from one forward pass: the actor sees the critics as they were before their step.

    Args:
        learner: What learns.
        delay: Steps of the critics to one of the actor.
        polyak: Share of the way that a target goes, tau in the paper; 1 makes it a copy.

    Raises:
        InputError: The model has no actor or no targets.

    Source:
        Fujimoto et al. 2018, arXiv:1802.09477.
    """

    def __init__(
        self,
        learner: Learner,
        *,
        delay: Count = 2,
        polyak: Annotated[float, Gt(0), Le(1)] = 0.005,
    ):
        super().__init__(learner)
        self.delay, self.polyak, self.steps = delay, polyak, 0
        model: Any = learner.model
        if not (hasattr(model, "actor") and hasattr(model, "targets")):
            raise InputError(
                "algorithm=td3 needs a model with an actor and targets, as model=td3 is on "
                "task=offline; for other models choose algorithm=descent."
            )
        self.actor = [*model.actor.parameters()]
        self.targets: Callable[[], Any] = model.targets

    def update(self, batch: Batch) -> dict[str, Tensor]:
        metrics = self.learner.backward(batch)
        self.steps += 1
        acts = self.steps % self.delay == 0
        if not acts:
            for parameter in self.actor:
                parameter.grad = None
        self.learner.step()
        if acts:
            self._follow()
        return metrics

    def state_dict(self) -> dict[str, Any]:
        return {"steps": self.steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.steps = state["steps"]

    @torch.no_grad()
    def _follow(self) -> None:
        for target, source in self.targets():
            for slow, fast in zip(target.parameters(), source.parameters(), strict=True):
                slow.lerp_(fast, self.polyak)
