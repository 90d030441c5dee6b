"""The training loop."""

import logging
import math
import time
from collections.abc import Callable
from typing import Any

import torch

from runner import checkpoint
from runner.build import Experiment
from runner.display import Display, summary
from runner.journal import CHECKPOINT, Journal
from runner.progress import Progress
from runner.rundir import Events, Interrupted, RunDir
from runner.stop import StopSignal

logger = logging.getLogger("runner")

HEARTBEAT = 1.0
"""Seconds between two signs of life."""


def train(
    experiment: Experiment, run: RunDir, events: Events, display: Display, stop: StopSignal
) -> dict[str, float]:
    """Train from the last checkpoint, or from the start, to the end of the budget.

    Returns:
        The latest value of every metric: `train/...`, `val/...` and `test/...`.

    Raises:
        NotFinite: The loss is not finite; the last good checkpoint is kept.
        Interrupted: Someone asked the run to stop; a checkpoint was left.
    """
    restored = checkpoint.load(run.path / CHECKPOINT, experiment)
    progress = Progress(**(restored or {"steps_per_epoch": experiment.steps_per_epoch}))
    journal = Journal(experiment, progress, run, events, display)
    journal.begin()
    run_steps(experiment, progress, journal, stop)
    journal.save()
    if progress.window:
        journal.log(flushed(progress))
    if progress.step % experiment.evaluation_interval:
        validate(experiment, progress, journal.log)
    if progress.best_model is not None:
        experiment.learner.model.load_state_dict(progress.best_model)
        journal.log(evaluate(experiment, "val"))  # of the model that is tested
    journal.log(evaluate(experiment, "test"))
    return progress.metrics


def run_steps(
    experiment: Experiment, progress: Progress, journal: Journal, stop: StopSignal
) -> None:
    """Update until the budget is used, patience is lost, or someone asks to stop."""
    settings, schedule = experiment.settings, experiment.schedule
    saved, beaten = time.monotonic(), -math.inf
    for batch in batches(experiment, progress):
        progress.window.append(experiment.algorithm.update(batch))
        progress.step, progress.batch = progress.step + 1, progress.batch + 1
        if schedule is not None:
            schedule.step()
        if progress.step % settings.log_every == 0:
            journal.log(flushed(progress))
        if progress.step % experiment.evaluation_interval == 0:
            validate(experiment, progress, journal.log)
        now = time.monotonic()
        if now - beaten >= HEARTBEAT:
            journal.beat()
            beaten = now
        if stop.requested or now - saved >= settings.checkpoint_every:
            journal.save()
            saved = time.monotonic()
        if stop.requested:
            raise Interrupted(f"stopped by {stop.requested} at step {progress.step}")


def batches(experiment: Experiment, progress: Progress) -> Any:
    """Batch after batch, epoch after epoch, from where the run is to where it ends."""
    learner, patience = experiment.learner, experiment.settings.patience
    learner.model.train()
    while True:
        for batch in learner.protocol.batches(learner.model, progress.epoch, progress.batch):
            if progress.step >= experiment.total_steps or progress.stale >= (patience or torch.inf):
                return
            yield batch
        progress.epoch, progress.batch = progress.epoch + 1, 0


def flushed(progress: Progress) -> dict[str, float]:
    """The means of the window as training metrics; a new window begins."""
    means = {f"train/{name}": value for name, value in progress.window_means().items()}
    progress.window.clear()
    return means


def validate(
    experiment: Experiment, progress: Progress, log: Callable[[dict[str, float]], None]
) -> None:
    """Evaluate on the validation split and compare with the best so far."""
    if not progress.is_finite():  # such a model is not worth it
        progress.window_means()  # raises
    metrics = evaluate(experiment, "val")
    model, monitor = experiment.learner.model, experiment.learner.protocol.monitor
    kept = model.state_dict() if experiment.settings.patience else None
    progress.compare(metrics[f"val/{monitor.metric}"], monitor.maximize, kept)
    log(metrics)
    logger.info("step %d  %s", progress.step, summary(progress.metrics))


@torch.no_grad()
def evaluate(experiment: Experiment, split: str) -> dict[str, float]:
    """The protocol's metrics on a split, and those of the diagnostics."""
    model = experiment.learner.model.eval()
    metrics = experiment.learner.protocol.evaluate(model, split)
    with checkpoint.same_random_state():
        for diagnostic in experiment.diagnostics:
            metrics |= diagnostic.metrics(split)
    model.train()
    return {f"{split}/{name}": value for name, value in metrics.items()}
