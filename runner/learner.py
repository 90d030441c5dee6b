"""One model learning by one objective: what every algorithm is made from."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from objectives.errors import InputError
from objectives.objective import Objective
from tasks.protocol import Batch, Protocol


@dataclass
class Learner:
    """record = protocol(model, batch); loss = objective(record); backward; step.

    Attributes:
        accumulate: Parts that a batch is split into, to fit a large one into memory. The
            gradient is that of the whole batch; an objective that couples the examples of a
            batch has none, and is refused.
        clip: Largest norm of the gradient; None leaves it as it is.
        precision: "float32", or "bfloat16" for autocast of forward pass and objective.
    """

    model: nn.Module
    protocol: Protocol
    objective: Objective
    optimizer: torch.optim.Optimizer
    device: torch.device
    accumulate: int = 1
    clip: float | None = None
    precision: str = "float32"

    def __post_init__(self) -> None:
        if self.accumulate > 1 and self.objective.traits.coupled:
            raise self._indivisible(self.objective.traits.coupled)
        self.parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        self.autocast: AbstractContextManager[object] = nullcontext()
        if self.precision == "bfloat16":
            self.autocast = torch.autocast(self.device.type, torch.bfloat16)

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The objective's values, one an example or a scalar, and its metrics."""
        with self.autocast:
            values, metrics = self.objective(self.protocol(self.model, batch))
        return values, metrics

    def backward(self, batch: Batch) -> dict[str, Tensor]:
        """Set the gradient to that of the mean loss; the metrics stay on the device."""
        self.optimizer.zero_grad(set_to_none=True)
        if self.accumulate > 1:
            return self._backward_in_parts(batch)
        values, metrics = self.loss(batch)
        loss = values.mean()
        loss.backward()
        return {"loss": loss.detach(), **metrics}

    def step(self) -> None:
        """Step the optimizer along the (clipped) gradient."""
        if self.clip is not None:
            nn.utils.clip_grad_norm_(self.parameters, self.clip)
        self.optimizer.step()

    def _backward_in_parts(self, batch: Batch) -> dict[str, Tensor]:
        """Sums are propagated and divided at the end: the count may depend on the parts' masks."""
        total, count = torch.zeros((), device=self.device), 0
        metrics: dict[str, Tensor] = {}
        for part in batch.parts(self.accumulate):
            values, shown = self.loss(part)
            if values.ndim == 0:
                raise self._indivisible("it has one value for the whole batch")
            values.sum().backward()
            total, count = total + values.detach().sum(), count + values.numel()
            share = len(part) / len(batch)
            metrics = {name: metrics.get(name, 0) + share * shown[name] for name in shown}
        for parameter in self.parameters:
            if parameter.grad is not None:
                parameter.grad /= count
        return {"loss": total / count, **metrics}

    def _indivisible(self, reason: str) -> InputError:
        return InputError(
            f"accumulate={self.accumulate} would change this objective, since {reason}. "
            "Use accumulate=1 and a batch_size that fits."
        )
