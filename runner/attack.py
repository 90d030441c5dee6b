"""Attacks: inputs changed within a ball so that a loss rises."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from objectives.errors import InputError
from runner.learner import Learner


@dataclass(frozen=True)
class Pixels:
    """What inputs may be: from a black to a white pixel, [1, channels, 1, 1], normalised or not.

    Lengths are in units of the range, so that 8 / 255 is the same change of an image whatever
    its normalisation.
    """

    low: Tensor
    high: Tensor

    @classmethod
    def of(cls, learner: Learner, asker: str) -> "Pixels":
        """The range that the learner's protocol tells of its batches' `inputs`.

        Raises:
            InputError: It tells none.
        """
        protocol = learner.protocol
        if "input_range" not in protocol.facts:
            raise InputError(
                f"{asker} changes pixels, but {type(protocol).__name__} yields no `inputs` with a "
                "range (the fact input_range); it is for the classification of images."
            )
        return cls(*protocol.facts["input_range"])

    def fgsm(self, slope: Callable[[Tensor], Tensor], inputs: Tensor, *, epsilon: float) -> Tensor:
        """One step of size epsilon along the sign of the slope.

        Source:
            Goodfellow, Shlens & Szegedy 2015, arXiv:1412.6572.
        """
        moved = inputs + epsilon * (self.high - self.low) * slope(inputs).sign()
        return self._within(moved, inputs, epsilon)

    def pgd(
        self,
        slope: Callable[[Tensor], Tensor],
        inputs: Tensor,
        *,
        epsilon: float,
        steps: int,
        step_size: float,
    ) -> Tensor:
        """Steps along the sign of the slope from a random point of the ball, kept inside it.

        x <- project(x + step_size * sign(slope(x))),  x_0 = inputs + uniform(-epsilon, epsilon)

        Args:
            slope: The gradient of the loss at some inputs.
            inputs: The middle of the ball.
            epsilon: Radius in the largest norm, in units of the range; 0 gives the inputs.
            steps: Number of steps.
            step_size: Length of one, in units of the range.

        Source:
            Madry et al. 2018, arXiv:1706.06083.
        """
        unit = self.high - self.low
        noise = 2 * torch.rand_like(inputs) - 1
        attacked = self._within(inputs + epsilon * unit * noise, inputs, epsilon)
        for _ in range(steps):
            moved = attacked + step_size * unit * slope(attacked).sign()
            attacked = self._within(moved, inputs, epsilon)
        return attacked

    def _within(self, moved: Tensor, inputs: Tensor, epsilon: float) -> Tensor:
        radius = epsilon * (self.high - self.low)
        near = torch.minimum(torch.maximum(moved, inputs - radius), inputs + radius)
        return torch.minimum(torch.maximum(near, self.low), self.high)


def slope_of(loss: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """The gradient of a loss, one value an example or a scalar, as a function of the inputs."""

    def slope(inputs: Tensor) -> Tensor:
        with torch.enable_grad():
            leaf = inputs.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(loss(leaf).sum(), leaf)
        return gradient

    return slope


@contextmanager
def only_looking(learner: Learner) -> Iterator[None]:
    """Passes that leave no trace: what model and objective remember is not updated."""
    model_trained, objective_trained = learner.model.training, learner.objective.training
    learner.model.eval()
    learner.objective.eval()
    try:
        yield
    finally:
        learner.model.train(model_trained)
        learner.objective.train(objective_trained)
