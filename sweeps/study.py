"""An Optuna study: who owns it, what it asks for, what it is told.

The coordinator alone writes it: into a journal in the sweep's directory, or any storage that
Optuna has by URL. A trial's values are means over its seeds. A study that was cut off goes on:
what is finished stays, and a trial that was under way is taken up again with the same parameters,
so that its runs, which have the same signatures, go on from their checkpoints.
"""

import importlib
import math
import statistics
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import hydra.utils
import optuna
from omegaconf import DictConfig
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import BasePruner, NopPruner
from optuna.samplers import BaseSampler
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, Trial, TrialState

from objectives.errors import InputError

JOURNAL = "study.log"
IDENTITY, METRICS, BOUNDS, RUNS, REASON = "identity", "metrics", "bounds", "runs", "reason"
"""Attributes of a study and of its trials."""

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)


@dataclass(frozen=True)
class Goal:
    """What is to be made large or small, and within which bounds.

    Attributes:
        metrics: The metrics.
        directions: "maximize" or "minimize" for each.
        constraints: The greatest value allowed of further metrics.
    """

    metrics: tuple[str, ...]
    directions: tuple[str, ...]
    constraints: Mapping[str, float]

    def values(self, metrics: Mapping[str, float]) -> list[float]:
        """The values of a run or trial.

        Raises:
            InputError: It has no such metric.
        """
        if missing := [name for name in self.metrics if name not in metrics]:
            known = ", ".join(metrics)
            raise InputError(f"metric={missing[0]} is none of a run's metrics: {known}.")
        return [metrics[name] for name in self.metrics]


class Study:
    """A study that this process owns.

    Attributes:
        prunes: Whether trials may be given up.
        is_exhausted: Whether the sampler has nothing more to try.

    Args:
        name: Its name.
        storage: Where it is.
        goal: What it is after.
        sampler: A sampler, or what makes one of the space to be searched.
        pruner: The pruner.
        identity: What it is a study of; another one of that name is refused.

    Raises:
        InputError: There is such a study, of something else.
    """

    def __init__(
        self,
        name: str,
        storage: BaseStorage,
        goal: Goal,
        sampler: BaseSampler,
        pruner: BasePruner | None,
        identity: str,
    ):
        self.goal = goal
        self.optuna = optuna.create_study(
            study_name=name,
            storage=storage,
            sampler=sampler,
            pruner=pruner or NopPruner(),
            directions=[StudyDirection[d.upper()] for d in goal.directions],
            load_if_exists=True,
        )
        known = self.optuna.user_attrs.get(IDENTITY, identity)
        directions = [StudyDirection[d.upper()] for d in goal.directions]
        if known != identity or self.optuna.directions != directions:
            raise InputError(
                f"the study {name} is of other code, data, settings or space than these; "
                "give this one another hydra.sweeper.study_name."
            )
        self.optuna.set_user_attr(IDENTITY, identity)
        if self.optuna.metric_names is None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ExperimentalWarning)
                self.optuna.set_metric_names(list(goal.metrics))
        self.is_exhausted = False
        self.prunes = not isinstance(self.optuna.pruner, NopPruner)

    def trials(self, *states: TrialState) -> list[FrozenTrial]:
        """The trials in given states; all where none is given."""
        return self.optuna.get_trials(deepcopy=False, states=states or None)

    def begun(self) -> list[Trial]:
        """The trials that a process which is gone has left unfinished."""
        return [Trial(self.optuna, t._trial_id) for t in self.trials(TrialState.RUNNING)]

    def reported(self, trial: Trial) -> set[int]:
        """The steps of which the study knows a trial's value."""
        return set(self.optuna._storage.get_trial(trial._trial_id).intermediate_values)

    def finish(self, trial: Trial, runs: Sequence[Mapping[str, float] | None]) -> FrozenTrial:
        """Tell how a trial ended.

        Args:
            trial: The trial.
            runs: The final metrics of every seed, None for one that failed.
        """
        finished = [metrics for metrics in runs if metrics is not None]
        if len(finished) < len(runs):
            return self.fail(trial, "a run failed")
        means = mean_metrics(finished)
        values = self.goal.values(means)
        trial.set_user_attr(METRICS, {k: v for k, v in means.items() if math.isfinite(v)})
        bounds = [means[name] - most for name, most in self.goal.constraints.items()]
        trial.set_user_attr(BOUNDS, [b if math.isfinite(b) else 1e300 for b in bounds])
        if not all(map(math.isfinite, values)):
            return self.fail(trial, "its value is not finite")
        return self._tell(trial, values)

    def fail(self, trial: Trial, reason: str) -> FrozenTrial:
        """Tell that a trial has no value."""
        trial.set_user_attr(REASON, reason)
        return self._tell(trial, state=TrialState.FAIL)

    def prune(self, trial: Trial) -> FrozenTrial:
        """Tell that a trial was given up."""
        return self._tell(trial, state=TrialState.PRUNED)

    def _tell(
        self, trial: Trial, values: list[float] | None = None, state: TrialState | None = None
    ) -> FrozenTrial:
        try:
            return self.optuna.tell(trial, values, state)
        except RuntimeError:  # of a sampler that has gone through all there is, and stops the study
            found = self.trials()[trial.number]
            if not found.state.is_finished():
                raise
            self.is_exhausted = True
            return found

    def best(self) -> list[FrozenTrial]:
        """The best trial, or those that no other one beats in every direction; feasible ones."""
        done = [t for t in self.trials(TrialState.COMPLETE) if is_feasible(t)]
        signs = [-1 if d == "maximize" else 1 for d in self.goal.directions]
        costs = [[s * v for s, v in zip(signs, t.values, strict=True)] for t in done]
        front = [
            trial
            for trial, cost in zip(done, costs, strict=True)
            if not any(dominates(other, cost) for other in costs)
        ]
        return front if len(signs) > 1 else front[:1]


def dominates(one: Sequence[float], other: Sequence[float]) -> bool:
    """Whether costs are nowhere greater than others, and not the same."""
    return all(a <= b for a, b in zip(one, other, strict=True)) and list(one) != list(other)


def is_feasible(trial: FrozenTrial) -> bool:
    """Whether a trial keeps the bounds."""
    return all(bound <= 0 for bound in bounds(trial))


def bounds(trial: FrozenTrial) -> list[float]:
    """By how much a trial exceeds each bound; not above 0 where it keeps it."""
    return list(trial.user_attrs.get(BOUNDS, []))


def mean_metrics(runs: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean of every metric that all runs have."""
    names = [name for name in runs[0] if all(name in run for run in runs)] if runs else []
    return {name: statistics.fmean(run[name] for run in runs) for name in names}


def storage_of(given: Any, folder: Path) -> BaseStorage:
    """The storage of a URL, of a node that makes one, or a journal in a folder.

    The journal is this process's alone; a lock on it is that of a coordinator which was killed.

    Raises:
        InputError: It cannot be opened.
    """
    if given is None:
        (folder / f"{JOURNAL}.lock").unlink(missing_ok=True)
        return JournalStorage(JournalFileBackend(str(folder / JOURNAL)))
    try:
        return RDBStorage(given) if isinstance(given, str) else hydra.utils.instantiate(given)
    except Exception as error:
        raise InputError(f"storage={given} cannot be opened: {error}") from error


def sampler_of(
    node: DictConfig, goal: Goal, space: Mapping[str, BaseDistribution], trials: int
) -> BaseSampler:
    """The sampler of a config node; with constraints where it takes them.

    Args:
        node: The node.
        goal: What is searched for.
        space: What is searched, for a sampler that has to know it before (`_partial_: true`).
        trials: How many there are already: a study that goes on draws no number twice.

    Raises:
        InputError: It cannot be made.
    """
    settings: dict[str, Any] = {}
    if goal.constraints:
        settings["constraints_func"] = bounds
    if node.get("seed") is not None:
        settings["seed"] = node.seed + trials
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that a setting is experimental was its user's choice
            made = hydra.utils.instantiate(node, **settings)
            if isinstance(made, partial):
                made = made(search_space={name: values(name, d) for name, d in space.items()})
    except Exception as error:
        reason = str(error.__cause__ or error).splitlines()[0]
        raise InputError(f"the sampler {node._target_} cannot be made: {reason}") from error
    return made


def pruner_of(node: DictConfig | None) -> BasePruner | None:
    """The pruner of a config node.

    Raises:
        InputError: It cannot be made.
    """
    try:
        return hydra.utils.instantiate(node)
    except Exception as error:
        reason = str(error.__cause__ or error).splitlines()[0]
        raise InputError(f"the pruner cannot be made: {reason}") from error


def values(name: str, found: BaseDistribution) -> list[Any]:
    """All values of a distribution that has finitely many.

    Raises:
        InputError: It has not.
    """
    if isinstance(found, CategoricalDistribution):
        return list(found.choices)
    low, high, step = found.low, found.high, found.step  # type: ignore[attr-defined]
    if step is None or (isinstance(found, FloatDistribution) and found.log):
        raise InputError(f"{name} has no finite number of values: give choices, or a step.")
    return [low + step * number for number in range(int((high - low) / step + 1e-9) + 1)]


def imported(path: str) -> Any:
    """What a dotted path names.

    Raises:
        InputError: Nothing.
    """
    module, _, name = path.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(f"{path} cannot be imported: {error}.") from error
