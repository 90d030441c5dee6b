"""A sweep from its overrides to its table."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache, partial
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.object_type import ObjectType
from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig

from runner import report
from runner.console import console
from runner.job import Job
from runner.launch.launch import run_all
from runner.launch.launcher import ExecutorLauncher
from runner.settings import Settings
from runner.sweepdir import SweepDir
from runner.track.follow import following
from sweeps.forecast import print_forecast
from sweeps.grid import grid

Begun = Callable[[], AbstractContextManager[None]]
Show = Callable[[Iterable[report.Result]], None]


class SweepFailed(Exception):
    """Some jobs of the sweep failed; the message lists them."""


def sweep(
    arguments: list[str],
    config: DictConfig,
    loader: ConfigLoader,
    launcher: Launcher,
    dry_run: bool = False,
) -> list[dict[str, Any]]:
    """Plan, check, run and report; finished runs are not repeated.

    Args:
        arguments: The overrides as given.
        config: What Hydra composed of those that are not swept.
        loader: Composes the jobs' configs.
        launcher: What runs them.
        dry_run: Say what would be run, and write and run nothing.

    Returns:
        The status of every member.

    Raises:
        SweepFailed: A job failed; the others ran all the same.
    """
    return carry_out(plan(arguments, config, loader), arguments, launcher, dry_run)


def carry_out(
    jobs: list[Job],
    arguments: list[str],
    launcher: Launcher,
    dry_run: bool = False,
    show: Show = report.print_sweep,
) -> list[dict[str, Any]]:
    """Check, run and report planned jobs; finished runs are not repeated.

    Args:
        jobs: The jobs, each once.
        arguments: The overrides that the sweep is listed with.
        launcher: What runs them.
        dry_run: Say what would be run, and write and run nothing.
        show: Says what came out; told of all members, failed ones too, if they were waited for.

    Raises:
        SweepFailed: A job failed; the others ran all the same.
    """
    waiting = [job for job in jobs if not job.is_done()]
    say_plan(jobs, waiting)
    folder = SweepDir.of(jobs[0].runs.parent, [job.signature for job in jobs])
    if dry_run:
        print_forecast(jobs, capacity(launcher, jobs, folder))
        return []
    waited = True
    if waiting:
        jobs[0].check_root()
        before = prerequisites(waiting)
        begun = partial(planned, folder, jobs, before, arguments)
        with following(jobs[0].config):
            waited = run(launcher, before, waiting, folder, begun)
    statuses = [job.directory.status for job in jobs]
    if not waited:
        say_detached(folder)
        return statuses
    show([(job.directory.run, s) for job, s in zip(jobs, statuses, strict=True)])
    console.print(f"sweep {folder.path}")
    fail_if_any([job for job in waiting if not job.is_done()])
    return statuses


def capacity(launcher: Launcher, jobs: list[Job], folder: SweepDir) -> int | None:
    """How many jobs a launcher runs at once, where that is known."""
    if not isinstance(launcher, ExecutorLauncher):
        return None
    return launcher.executor(jobs[0].config["device"], folder.path).capacity


def plan(arguments: list[str], config: DictConfig, loader: ConfigLoader) -> list[Job]:
    """The jobs of a sweep, each once; nothing is written.

    Raises:
        InputError: An axis applies to no job.
    """

    def compose(overrides: list[str]) -> DictConfig:
        return loader.load_sweep_config(config, overrides)

    blocks = grid(arguments, compose, groups(loader))
    return distinct([job for block in blocks for job in block.jobs(compose)])


def groups(loader: ConfigLoader) -> Callable[[str], bool]:
    """Tells of a key whether it is a config group."""

    @cache
    def is_group(key: str) -> bool:
        return bool(
            loader.get_group_options(key, ObjectType.CONFIG)
            or loader.get_group_options(key, ObjectType.GROUP)
        )

    return is_group


def run(
    launcher: Launcher, before: list[Job], jobs: list[Job], folder: SweepDir, begun: Begun
) -> bool:
    """Check, plan and run jobs; a launcher that is not ours composes them again.

    Args:
        launcher: What runs them.
        before: The runs that they build on.
        jobs: The jobs.
        folder: The sweep's.
        begun: The context in which they run: they are planned, and are this process's to run.

    Returns:
        Whether they were waited for.

    Raises:
        InputError: A job cannot run.
    """
    configs = [job.config for job in covering([*jobs, *before])]  # a job's own faults first
    every = [*before, *jobs]
    if not isinstance(launcher, ExecutorLauncher):
        from runner.build import check_all

        check_all(configs)
        with begun():
            launcher.launch([list(job.overrides) for job in every], initial_job_idx=0)
        return True
    with launcher.executor(jobs[0].config["device"], folder.path) as executor:
        with console.status("checking"):
            executor.check(configs)
        with begun():
            if not launcher.wait:
                executor.submit(every)
                return False
            run_all(executor, every, launcher.retries, launcher.stop_on_failure)
            return True


@contextmanager
def planned(
    folder: SweepDir, jobs: list[Job], before: list[Job], arguments: list[str]
) -> Iterator[None]:
    """Write down what is to be run, and be the one who runs it."""
    for job in (*before, *jobs):
        job.plan()
    folder.plan([job.signature for job in jobs], arguments)
    with folder.held():
        yield


def covering(jobs: list[Job]) -> list[Job]:
    """Jobs among which every value of every axis is once, seeds aside, for each choice of options.

    Raises:
        InputError: A setting that is no matter of options is outside its domain.
    """
    seen: dict[tuple[str, ...], set[str]] = {}
    chosen = []
    for job in jobs:
        Settings.of(job.config)
        values = {override for override in job.overrides if not override.startswith("seed=")}
        known = seen.setdefault(tuple(job.choices.values()), set())
        if not known or not values <= known:
            chosen.append(job)
            known |= values | {""}
    return chosen


def prerequisites(jobs: list[Job]) -> list[Job]:
    """The runs that jobs build on and that are not done, each once, the first to run first."""
    direct = distinct([one for job in jobs for one in job.prerequisites().values()])
    found = distinct([*(prerequisites(direct) if direct else []), *direct])
    return [job for job in found if not job.is_done()]


def distinct(jobs: list[Job]) -> list[Job]:
    """One job a signature: what means the same is run once."""
    return list({job.signature: job for job in reversed(jobs)}.values())[::-1]


def say_plan(jobs: list[Job], waiting: list[Job]) -> None:
    done = len(jobs) - len(waiting)
    elsewhere = sum(job.directory.is_locked() for job in waiting)
    facts = [f"{len(jobs)} job{'s' * (len(jobs) != 1)}"]
    facts += [f"{done} finished before"] * bool(done)
    facts += [f"{elsewhere} under way elsewhere, to be waited for"] * bool(elsewhere)
    console.print(", ".join(facts))


def say_detached(folder: SweepDir) -> None:
    name = folder.path.name
    console.print(
        f"submitted: runner status {name} tells how it stands, runner collect {name} its results"
    )


def fail_if_any(failed: list[Job]) -> None:
    if failed:
        lines = (
            f"  {job.name}: {status.get('reason', status['state'])}\n"
            f"    {job.directory.path / 'log.txt'}"
            for job in failed
            for status in [job.directory.status]
        )
        raise SweepFailed(
            "\n".join([f"{len(failed)} job{'s' * (len(failed) != 1)} failed:", *lines])
        )
