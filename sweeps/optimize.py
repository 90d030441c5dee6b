"""A search from its overrides to its answer."""

import hashlib
import json
import math
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import optuna
from hydra.core.config_loader import ConfigLoader
from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig, ListConfig, OmegaConf
from optuna.trial import FrozenTrial

from objectives.errors import InputError
from runner.console import console
from runner.job import PLACES, Job
from runner.launch.executor import Executor
from runner.launch.foreign import Foreign
from runner.launch.launch import run_all
from runner.launch.launcher import ExecutorLauncher
from runner.rundir import write_whole
from runner.sweepdir import ANSWER, SweepDir
from runner.track.follow import following
from sweeps.answer import leave
from sweeps.batches import in_batches
from sweeps.candidates import Candidates
from sweeps.search import Search
from sweeps.space import space
from sweeps.study import Goal, Study, imported, pruner_of, sampler_of, storage_of, values
from sweeps.sweep import SweepFailed, groups

CORNERS = 64
"""Most configs that are built to find bad input."""


@dataclass(frozen=True)
class Request:
    """What the sweeper's config asks for; see conf/hydra/sweeper/optuna.yaml."""

    sampler: DictConfig
    pruner: DictConfig | None
    direction: str | list[str] | None
    metric: str | list[str] | None
    constraints: Mapping[str, float]
    n_trials: int
    n_jobs: int | None
    replicates: int
    storage: Any
    study_name: str | None
    params: Mapping[str, Any]
    custom_search_space: str | None
    enqueue: list[dict[str, Any]]
    max_failure_rate: float
    dry_run: bool = False

    def __post_init__(self) -> None:
        for name in ("n_trials", "n_jobs", "replicates"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"hydra.sweeper.{name}={value}: there is at least 1.")

    @property
    def names(self) -> list[str]:
        return as_list(self.metric)

    @property
    def directions(self) -> list[str]:
        return as_list(self.direction)


def optimize(
    arguments: list[str],
    config: DictConfig,
    loader: ConfigLoader,
    launcher: Launcher,
    request: Request,
) -> dict[str, Any]:
    """Search, and leave the answer in the sweep's directory.

    Returns:
        What was found: `best`, `importances`, `trials`.

    Raises:
        InputError: Something in the request does not exist, fit or hold.
        SweepFailed: More trials failed than may.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    is_group = groups(loader)
    found = space(arguments, request.params, is_group)
    seeds = found.seeds or replicated(config, request.replicates)
    custom = request.custom_search_space and imported(request.custom_search_space)
    candidates = Candidates(found, config, loader, is_group, seeds, custom or None)
    corner_lines = candidates.corners()[:CORNERS]
    candidates.distributions()
    if not is_ours(config):
        return optimize_function(candidates, Path(config.hydra.sweep.dir), launcher, request)
    corners = [job for lines in corner_lines for job in candidates.jobs([lines])]
    if request.dry_run:
        return dry_run(candidates, request)
    corners[0].check_root()
    folder = directory(corners, candidates, request)
    with following(corners[0].config):
        study = stream(candidates, corners, folder, launcher, request, arguments)
        leave(study, folder, partial(command, candidates))
    return json.loads((folder.path / ANSWER).read_text()) if study.best() else {}


def executor_of(launcher: Launcher, job: Job, folder: SweepDir, at_once: int | None) -> Executor:
    """What carries the jobs on a launcher, ours or not.

    Raises:
        InputError: The launcher does not wait for them.
    """
    if not isinstance(launcher, ExecutorLauncher):
        return Foreign(launcher, at_once or 1)
    if not launcher.wait:
        raise InputError("a search needs its coordinator: hydra.launcher.wait=true.")
    return launcher.executor(job.config["device"], folder.path)


def stream(
    candidates: Candidates,
    corners: list[Job],
    folder: SweepDir,
    launcher: Launcher,
    request: Request,
    arguments: list[str],
) -> Study:
    """Search on an executor, a new trial as soon as there is room."""
    retries = launcher.retries if isinstance(launcher, ExecutorLauncher) else 0
    with executor_of(launcher, corners[0], folder, request.n_jobs) as executor:
        with console.status("checking"):
            monitors = executor.check([job.config for job in corners])
        goal = goal_of(request, monitors)
        judged = {"metrics": goal.metrics, "directions": goal.directions}
        folder.plan([], arguments, search=judged)
        with folder.held():
            (folder.path / ANSWER).unlink(missing_ok=True)
            study = open_study(folder.path, candidates, goal, request, folder.path.name)
            total = total_of(candidates, request)
            say_begin(study, total, folder)
            search = Search(
                study,
                candidates,
                folder,
                total,
                executor.capacity,
                request.n_jobs,
                request.max_failure_rate * total,
            )
            run_all(executor, [], retries, feed=search)
            if search.failed > search.max_failures:
                raise SweepFailed(
                    f"{search.failed} trials failed, more than "
                    f"max_failure_rate={request.max_failure_rate} allows; see runner status "
                    f"{folder.path.name}"
                )
    return study


def optimize_function(
    candidates: Candidates, folder: Path, launcher: Launcher, request: Request
) -> dict[str, Any]:
    """Search for the arguments of somebody's task function, which returns the values."""
    directions = request.directions or ["minimize"]
    names = request.names or (
        ["value"]
        if len(directions) == 1
        else [f"value_{number}" for number in range(len(directions))]
    )
    goal = Goal(tuple(names), tuple(directions), request.constraints)
    folder.mkdir(parents=True, exist_ok=True)
    identity = json.dumps([sorted(map(repr, candidates.distributions().items())), goal.metrics])
    study = open_study(folder, candidates, goal, request, identity)
    rate = request.max_failure_rate
    total = total_of(candidates, request)
    in_batches(study, candidates, launcher, total, request.n_jobs or 1, rate)
    best = study.best()
    result: dict[str, Any] = {"name": "optuna"}
    if len(names) > 1:
        result["solutions"] = [{"params": one.params, "values": one.values} for one in best]
    elif best:
        result |= {"best_params": best[0].params, "best_value": best[0].value}
    write_whole(folder / "optimization_results.yaml", OmegaConf.to_yaml(result))
    return result


def open_study(
    folder: Path,
    candidates: Candidates,
    goal: Goal,
    request: Request,
    identity: str,
) -> Study:
    """The study, with its first guesses."""
    opened = storage_of(request.storage, folder)
    name = request.study_name or folder.name
    known = candidates.distributions()
    summaries = {s.study_name: s.n_trials for s in optuna.get_all_study_summaries(opened)}
    sampler = sampler_of(request.sampler, goal, known, summaries.get(name, 0))
    study = Study(name, opened, goal, sampler, pruner_of(request.pruner), identity)
    if study.prunes and len(goal.metrics) > 1:
        raise InputError("a pruner needs one metric; give one, or no pruner.")
    for guess in request.enqueue:
        study.optuna.enqueue_trial(candidates.first_guess(dict(guess)), skip_if_exists=True)
    return study


def total_of(candidates: Candidates, request: Request) -> int:
    """How many trials there are to be: as asked, but no more than a grid has points."""
    if not request.sampler.get("_partial_"):
        return request.n_trials
    known = candidates.distributions().items()
    return min(request.n_trials, math.prod(len(values(name, found)) for name, found in known))


def goal_of(request: Request, monitors: list[tuple[str, bool]]) -> Goal:
    """What is to be made large or small: as asked, else what the task itself goes by.

    Raises:
        InputError: That cannot be told.
    """
    judged = dict.fromkeys((f"val/{name}", large) for name, large in monitors)
    known = {name: "maximize" if large else "minimize" for name, large in judged}
    names = request.names or list(known)[:1]
    if not request.names and len(known) != 1:
        raise InputError(
            f"what is to be compared? Name it: hydra.sweeper.metric=val/...  ({', '.join(known)})"
        )
    directions = request.directions or [known.get(name, "") for name in names]
    if len(directions) != len(names) or not set(directions) <= {"minimize", "maximize"}:
        raise InputError(
            "hydra.sweeper.direction=minimize or maximize, as many as metrics, is needed for "
            f"{', '.join(names)}; the task itself goes by {', '.join(known)}."
        )
    return Goal(tuple(names), tuple(directions), request.constraints)


def directory(corners: list[Job], candidates: Candidates, request: Request) -> SweepDir:
    """The directory of a search: the same search of the same code and data has the same one."""
    root = corners[0].runs.parent
    if request.study_name:
        return SweepDir(root / "sweeps" / request.study_name)
    meaning = [
        sorted(job.signature for job in corners),
        sorted(map(repr, candidates.distributions().items())),
        candidates.seeds,
        [request.names, request.directions, sorted(request.constraints.items())],
        [str(request.sampler), str(request.pruner), str(request.enqueue)],
        [str(request.storage), request.custom_search_space],
    ]
    name = hashlib.sha256(json.dumps(meaning).encode()).hexdigest()[:12]
    return SweepDir(root / "sweeps" / name)


def replicated(config: DictConfig, replicates: int) -> tuple[int, ...]:
    """The seeds of a trial's runs, from the config's own on; none where there is one."""
    first = config.get("seed", 0)
    return tuple(range(first, first + replicates)) if replicates > 1 else ()


def command(candidates: Candidates, trial: FrozenTrial) -> str:
    """The command line that repeats a trial."""
    known = optuna.trial.FixedTrial(trial.params)
    lines = candidates.overrides(known)  # type: ignore[arg-type]
    shared = [word for word in lines[0] if not word.startswith("seed=") or len(lines) == 1]
    seeds = [f"seed={','.join(map(str, candidates.seeds))}", "-m"] if candidates.seeds else []
    words = [word for word in shared if word.split("=")[0] not in PLACES]
    return shlex.join(["runner", *words, *seeds])


def dry_run(candidates: Candidates, request: Request) -> dict[str, Any]:
    """Say what would be searched."""
    for name, found in candidates.distributions().items():
        console.print(f"{name}: {found}")
    seeds = f" of {len(candidates.seeds)} seeds" if candidates.seeds else ""
    console.print(f"{request.n_trials} trials{seeds}")
    return {}


def say_begin(study: Study, total: int, folder: SweepDir) -> None:
    before = len(study.trials())
    known = f", {before} begun before" if before else ""
    aims = ", ".join(map(" ".join, zip(study.goal.directions, study.goal.metrics, strict=True)))
    console.print(f"{total} trials{known}: {aims}; sweep {folder.path}")


def is_ours(config: DictConfig) -> bool:
    """Whether the application is the runner itself, and not somebody's function."""
    return "objective" in config and "task" in config and "root" in config


def as_list(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple | ListConfig) else [value]
