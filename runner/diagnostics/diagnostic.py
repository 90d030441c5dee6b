"""What every diagnostic is."""

from abc import ABC, abstractmethod

from runner.learner import Learner


class Diagnostic(ABC):
    """Watches a run and adds metrics, nothing else.

    It is made before the first step, and says then whether the task has what it looks at. At
    every evaluation it is asked once, with the model in evaluation mode and no gradient recorded;
    the loop sets the global random state back afterwards.
    """

    def __init__(self, learner: Learner):
        self.learner = learner

    @abstractmethod
    def metrics(self, split: str) -> dict[str, float]:
        """Metrics on "val" or "test"."""
