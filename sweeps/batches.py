"""A search by Hydra's contract: any task function on any launcher, a batch of trials at a time."""

from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from optuna.trial import FrozenTrial, TrialState

from objectives.errors import InputError
from sweeps.candidates import Candidates
from sweeps.search import say
from sweeps.study import FINISHED, Study


def in_batches(
    study: Study,
    candidates: Candidates,
    launcher: Launcher,
    total: int,
    at_once: int,
    max_failure_rate: float,
) -> None:
    """Search by launching so many trials at once, and waiting for all of them.

    Raises:
        RuntimeError: More of a batch failed than may.
    """
    cut_off, number = study.begun(), 0
    while cut_off or (len(study.trials()) < total and not study.is_exhausted):
        room = min(at_once, total - len(study.trials()) + len(cut_off))
        trials = [cut_off.pop(0) if cut_off else study.optuna.ask() for _ in range(room)]
        overrides = [candidates.overrides(trial) for trial in trials]
        lines = [line for one in overrides for line in one]
        returned = list(launcher.launch(lines, initial_job_idx=number))
        number += len(lines)
        told = []
        for trial, one in zip(trials, overrides, strict=True):
            runs = [metrics_of(returned.pop(0), study.goal.metrics) for _ in one]
            told.append(study.finish(trial, runs))
            say(told[-1], len(study.trials(*FINISHED)), total)
        check_failures(told, max_failure_rate)


def metrics_of(returned: JobReturn, names: Sequence[str]) -> dict[str, float] | None:
    """What a task function returned, by name: metrics, a number, or several; None if it failed.

    Raises:
        InputError: It returned something else.
    """
    if returned.status is not JobStatus.COMPLETED:
        return None
    value: Any = returned.return_value
    if isinstance(value, Mapping):
        return dict(value)
    values = [value] if isinstance(value, Real) else value
    if not isinstance(values, Sequence) or len(values) != len(names):
        raise InputError(f"the function returned {value!r}, not {len(names)} number(s).")
    return {name: float(number) for name, number in zip(names, values, strict=True)}


def check_failures(batch: Sequence[FrozenTrial], rate: float) -> None:
    """Raise where more of a batch failed than may."""
    failed = sum(trial.state is TrialState.FAIL for trial in batch)
    if failed > rate * len(batch):
        raise RuntimeError(
            f"{failed} of {len(batch)} trials failed, more than max_failure_rate={rate} allows"
        )
