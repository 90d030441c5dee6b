"""Accuracy on attacked images."""

from typing import Annotated, Any

import torch
from annotated_types import Ge, Gt
from torch import Tensor
from torch.nn import functional as F

from objectives.domains import Count
from objectives.errors import InputError
from objectives.records import field_names
from runner.attack import Pixels, slope_of
from runner.diagnostics.diagnostic import Diagnostic
from runner.learner import Learner


class Adversarial(Diagnostic):
    """Accuracy on images that were changed to raise the cross-entropy, whatever the objective.

    fgsm_accuracy: after one step of size epsilon from the image;
    pgd_accuracy: after steps from a random point of the ball;
    pgd_worst_class_accuracy: the same among the examples of the class where it is lowest.

    Args:
        learner: What learns, class scores of images.
        epsilon: Largest change of a pixel, in units of the range from black to white; 0 gives
            the accuracy on the images themselves.
        steps: Steps of PGD.
        step_size: Length of a step, in the same unit.

    Raises:
        InputError: The task is not the classification of images.

    Source:
        Goodfellow, Shlens & Szegedy 2015, arXiv:1412.6572; Madry et al. 2018, arXiv:1706.06083.
    """

    def __init__(
        self,
        learner: Learner,
        *,
        epsilon: Annotated[float, Ge(0)] = 8 / 255,
        steps: Count = 20,
        step_size: Annotated[float, Gt(0)] = 2 / 255,
    ):
        super().__init__(learner)
        self.pixels = Pixels.of(learner, "diagnostic adversarial")
        if "labels" not in field_names(learner.protocol.record):
            raise InputError(
                "diagnostic adversarial needs labels, which "
                f"{learner.protocol.record.__name__} does not have."
            )
        self.epsilon, self.steps, self.step_size = epsilon, steps, step_size

    def metrics(self, split: str) -> dict[str, float]:
        batches: list[Any] = list(self.learner.protocol.examples(split))
        labels = torch.cat([batch.labels for batch in batches])
        fgsm, pgd = map(torch.cat, zip(*map(self._correct, batches), strict=True))
        correct, examples = labels[pgd].bincount(minlength=int(labels.max()) + 1), labels.bincount()
        there = examples > 0
        return {
            "fgsm_accuracy": fgsm.double().mean().item(),
            "pgd_accuracy": pgd.double().mean().item(),
            "pgd_worst_class_accuracy": (correct[there] / examples[there]).min().item(),
        }

    def _correct(self, batch: Any) -> tuple[Tensor, Tensor]:
        """Whether each example is classified rightly after either attack."""

        def loss(inputs: Tensor) -> Tensor:
            return F.cross_entropy(self._scores(inputs), batch.labels, reduction="sum")

        slope, epsilon = slope_of(loss), self.epsilon
        by_fgsm = self.pixels.fgsm(slope, batch.inputs, epsilon=epsilon)
        by_pgd = self.pixels.pgd(
            slope, batch.inputs, epsilon=epsilon, steps=self.steps, step_size=self.step_size
        )
        fgsm, pgd = (self._scores(x).argmax(dim=-1) == batch.labels for x in (by_fgsm, by_pgd))
        return fgsm, pgd

    def _scores(self, inputs: Tensor) -> Tensor:
        return self.learner.model(inputs).float()
