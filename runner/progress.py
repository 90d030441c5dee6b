"""Where a run is: all that the loop itself has to remember."""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor


class NotFinite(Exception):
    """The loss became infinite or not a number."""


@dataclass
class Progress:
    """Where a run is; all of it goes into the checkpoint.

    Attributes:
        steps_per_epoch: Batches in one epoch.
        step: Updates made.
        epoch: Epoch under way.
        batch: Batches of it that are done.
        events: Length of events.jsonl in bytes.
        window: Metrics of the updates since the last event, still on the device.
        metrics: The latest value of every metric.
        best: Best value of the monitored metric so far.
        stale: Evaluations since then.
        best_model: The model's state at the best value, kept where patience asks for it.
    """

    steps_per_epoch: int
    step: int = 0
    epoch: int = 0
    batch: int = 0
    events: int = 0
    window: list[dict[str, Tensor]] = field(default_factory=list)
    metrics: dict[str, float] = field(default_factory=dict)
    best: float | None = None
    stale: int = 0
    best_model: dict[str, Tensor] | None = None

    def window_means(self) -> dict[str, float]:
        """Mean of each metric over the window, in one transfer from the device.

        Raises:
            NotFinite: A loss in the window is not finite.
        """
        names = list(dict.fromkeys(name for metrics in self.window for name in metrics))
        columns = [torch.stack([m[name] for m in self.window if name in m]) for name in names]
        if not columns:
            return {}
        values = torch.cat([column.float() for column in columns]).tolist()
        means, start = {}, 0
        for name, column in zip(names, columns, strict=True):
            of_name = values[start : start + len(column)]
            start += len(column)
            if name == "loss":
                self._check_finite(of_name)
            means[name] = math.fsum(of_name) / len(of_name)
        return means

    def is_finite(self) -> bool:
        """Whether the latest loss is: what the weights have lost, every later loss has lost."""
        return not self.window or bool(self.window[-1]["loss"].isfinite())

    def compare(self, value: float, maximize: bool, model: dict[str, Tensor] | None) -> None:
        """Remember a new best value of the monitored metric, and the model that had it."""
        if self.best is None or (value > self.best if maximize else value < self.best):
            self.best, self.stale = value, 0
            self.best_model = model and {k: v.detach().clone() for k, v in model.items()}
        else:
            self.stale += 1

    def _check_finite(self, losses: list[float]) -> None:
        for step, loss in enumerate(losses, start=self.step - len(losses) + 1):
            if not math.isfinite(loss):
                epoch, batch = divmod(step - 1, self.steps_per_epoch)
                raise NotFinite(
                    f"the loss is {loss} at step {step} (epoch {epoch + 1}, batch {batch + 1})"
                )
