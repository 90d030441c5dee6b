"""The training loop."""

import logging
import time
from collections.abc import Callable
from typing import Any

import torch

from runner import checkpoint
from runner.build import Experiment
from runner.display import Display, summary
from runner.progress import NotFinite, Progress
from runner.rundir import Events, Interrupted, RunDir
from runner.stop import StopSignal

logger = logging.getLogger("runner")


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
    file = run.path / "checkpoint.pt"
    restored = checkpoint.load(file, experiment)
    progress = Progress(**(restored or {"steps_per_epoch": experiment.steps_per_epoch}))
    events.rewind(progress.events)
    logger.info("from step %d of %d", progress.step, experiment.total_steps)
    display.start(experiment.total_steps, experiment.steps_per_epoch, progress.step)

    def save() -> None:
        progress.window_means()  # raises before a bad state is written, as does the next line
        check_finite(experiment, progress)
        progress.events = events.commit()
        checkpoint.save(file, experiment, vars(progress))

    def log(metrics: dict[str, float]) -> None:
        progress.metrics |= metrics
        events.append(progress.step, metrics)
        display.show(progress)
        run.beat()

    run_steps(experiment, progress, log, save, stop)
    save()
    if progress.window:
        log(flushed(progress))
    if progress.step % experiment.evaluation_interval:
        validate(experiment, progress, log)
    if progress.best_model is not None:
        experiment.learner.model.load_state_dict(progress.best_model)
    log(evaluate(experiment, "test"))
    return progress.metrics


def run_steps(
    experiment: Experiment,
    progress: Progress,
    log: Callable[[dict[str, float]], None],
    save: Callable[[], None],
    stop: StopSignal,
) -> None:
    """Update until the budget is used, patience is lost, or someone asks to stop."""
    settings, update, schedule = (
        experiment.settings,
        experiment.algorithm.update,
        experiment.schedule,
    )
    saved = time.monotonic()
    for batch in batches(experiment, progress):
        progress.window.append(update(batch))
        progress.step, progress.batch = progress.step + 1, progress.batch + 1
        if schedule is not None:
            schedule.step()
        if progress.step % settings.log_every == 0:
            log(flushed(progress))
        if progress.step % experiment.evaluation_interval == 0:
            validate(experiment, progress, log)
        if stop.requested or time.monotonic() - saved >= settings.checkpoint_every:
            save()
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


def check_finite(experiment: Experiment, progress: Progress) -> None:
    """Raise where an update has left weights that are not finite, whatever the loss was."""
    for name, parameter in experiment.learner.model.named_parameters():
        if not torch.isfinite(parameter).all():
            raise NotFinite(f"{name} is not finite after step {progress.step}")


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
    """The protocol's metrics on a split."""
    model = experiment.learner.model.eval()
    metrics = experiment.learner.protocol.evaluate(model, split)
    model.train()
    return {f"{split}/{name}": value for name, value in metrics.items()}
