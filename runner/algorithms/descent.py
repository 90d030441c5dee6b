"""Gradient descent on an objective, and the base of all algorithms."""

from typing import Any, ClassVar

from torch import Tensor

from objectives.errors import InputError
from runner.learner import Learner
from tasks.protocol import Batch


class Descent:
    """One forward and backward pass, one step of the optimizer.

    Attributes:
        follows: Whether targets follow the model that has some.

    Raises:
        InputError: The model has targets, and nothing would move them.
    """

    follows: ClassVar[bool] = False

    def __init__(self, learner: Learner):
        if hasattr(learner.model, "targets") and not self.follows:
            raise InputError(
                "this model learns from targets that follow it slowly, which algorithm=td3 alone "
                "moves; choose that one."
            )
        self.learner = learner

    def update(self, batch: Batch) -> dict[str, Tensor]:
        """Change the model by one batch; the metrics stay on the device."""
        metrics = self.learner.backward(batch)
        self.learner.step()
        return metrics

    def state_dict(self) -> dict[str, Any]:
        """What the algorithm remembers beside model, objective and optimizer."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up the state again."""
