"""Gradient descent on an objective, and the base of all algorithms."""

from typing import Any

from torch import Tensor

from runner.learner import Learner
from tasks.protocol import Batch


class Descent:
    """One forward and backward pass, one step of the optimizer."""

    def __init__(self, learner: Learner):
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
