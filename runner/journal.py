"""What a run leaves while it goes on."""

import logging
import time
from dataclasses import dataclass

import torch

from runner import checkpoint
from runner.build import Experiment
from runner.display import Display
from runner.progress import NotFinite, Progress
from runner.rundir import Events, RunDir

logger = logging.getLogger("runner")

CHECKPOINT = "checkpoint.pt"


@dataclass
class Journal:
    """Metrics, checkpoints and signs of life."""

    experiment: Experiment
    progress: Progress
    run: RunDir
    events: Events
    display: Display

    def begin(self) -> None:
        """Say where the attempt begins; what an earlier one wrote beyond that is forgotten."""
        step, total = self.progress.step, self.experiment.total_steps
        self.events.rewind(self.progress.events)
        logger.info("from step %d of %d", step, total)
        self.display.start(total, self.experiment.steps_per_epoch, step)
        self.beginning = {"total": total, "first": step, "since": time.time()}

    def log(self, metrics: dict[str, float]) -> None:
        """Note new values of metrics."""
        self.progress.metrics |= metrics
        self.events.append(self.progress.step, metrics)
        self.display.show(self.progress)

    def save(self) -> None:
        """Write a checkpoint, unless something in it is not finite."""
        self.progress.window_means()  # raises, as does the next line
        check_finite(self.experiment, self.progress)
        self.progress.events = self.events.commit()
        checkpoint.save(self.run.path / CHECKPOINT, self.experiment, vars(self.progress))

    def beat(self) -> None:
        """Give a sign of life."""
        loss = self.progress.metrics.get("train/loss")
        self.run.beat({"step": self.progress.step, **self.beginning, "loss": loss})


def check_finite(experiment: Experiment, progress: Progress) -> None:
    """Raise where an update has left weights that are not finite, whatever the loss was."""
    for name, parameter in experiment.learner.model.named_parameters():
        if not torch.isfinite(parameter).all():
            raise NotFinite(f"{name} is not finite after step {progress.step}")
