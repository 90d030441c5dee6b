"""What an objective has learned of each example."""

from typing import Any

from objectives.errors import InputError
from runner.diagnostics.diagnostic import Diagnostic
from runner.learner import Learner


class TemperatureGap(Diagnostic):
    """How far the temperatures of examples of frequent classes are above those of rare ones.

    temperature_gap: mean over the examples of the more frequent half of the training classes, less
    that over the others; the classes are those that occur, the one in the middle is rare.

    Raises:
        InputError: The objective has no temperature for each example, or these have no labels.
    """

    def __init__(self, learner: Learner):
        super().__init__(learner)
        data: Any = getattr(learner.protocol, "data", None)
        self.labels: Any = getattr(getattr(data, "train", None), "labels", None)
        temperatures = getattr(learner.objective.compute, "temperatures", None)
        if temperatures is None or self.labels is None:
            raise InputError(
                "diagnostic temperature_gap looks at the temperature of every labelled example, as "
                "objective=isogclr learns them; there are none here."
            )

    def metrics(self, split: str) -> dict[str, float]:
        objective: Any = self.learner.objective.compute
        counts = self.labels.bincount()
        classes = counts.argsort(descending=True)[: int((counts > 0).sum()) // 2]
        frequent = (self.labels[:, None] == classes).any(dim=1)
        temperatures = objective.temperatures.double()
        gap = temperatures[frequent].mean() - temperatures[~frequent].mean()
        return {"temperature_gap": gap.item()}
