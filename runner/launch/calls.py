"""Hydra's own contract on our executors: any task function, as third-party sweepers launch it.

A call is a run directory too, in a temporary folder that holds the pickled function: it is composed
where it is made, and leaves what it returned instead of metrics.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import cloudpickle
from hydra.core.singleton import Singleton
from hydra.core.utils import (
    JobReturn,
    JobStatus,
    configure_log,
    filter_overrides,
    run_job,
    setup_globals,
)
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict

from runner.rundir import RunDir, State, write_whole

if TYPE_CHECKING:
    from runner.launch.launcher import ExecutorLauncher

FUNCTION, RETURNED = "function.pkl", "returned.pkl"


@dataclass(frozen=True, eq=False)
class Call:
    """One call of a task function; to an executor it is a job.

    Attributes:
        directory: Where it is planned and answered.
        overrides: What it is called with.
        targets: Nothing that a server should import.
    """

    directory: RunDir
    overrides: tuple[str, ...]
    targets: tuple[str, ...] = ()

    @property
    def signature(self) -> str:
        return self.directory.path.name

    @property
    def name(self) -> str:
        return str(self.directory.run["name"])

    def is_done(self) -> bool:
        """Whether it has returned."""
        return self.directory.state is State.DONE

    def returned(self) -> JobReturn:
        """What it returned, or the reason why it did not."""
        file = self.directory.path / RETURNED
        if file.exists():
            answer: JobReturn = cloudpickle.loads(file.read_bytes())
            return answer
        died = RuntimeError(self.directory.status.get("reason", "it was stopped"))
        return JobReturn(list(self.overrides), status=JobStatus.FAILED, _return_value=died)


def launch_calls(
    launcher: "ExecutorLauncher", job_overrides: Sequence[Sequence[str]], first: int
) -> list[JobReturn]:
    """Call a launcher's task function with each job's config.

    Args:
        launcher: A launcher that is set up.
        job_overrides: The overrides of each job.
        first: The first job's number.

    Returns:
        What each returned, in the order of the jobs.
    """
    from runner.launch.launch import run_all

    setup_globals()
    hydra = launcher.config.hydra
    configure_log(hydra.hydra_logging, hydra.verbose)
    sweep = Path(str(hydra.sweep.dir))
    sweep.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".calls-", dir=sweep) as name:
        folder = Path(name).absolute()
        called = launcher.hydra_context, launcher.task_function, launcher.config
        content = *called, Singleton.get_state()
        write_whole(folder / FUNCTION, lambda file: cloudpickle.dump(content, file))
        calls = [planned(folder, *job) for job in enumerate(job_overrides, first)]
        with launcher.executor("auto", folder) as executor:
            run_all(executor, calls, launcher.retries, launcher.stop_on_failure)
        return [call.returned() for call in calls]


def planned(folder: Path, number: int, overrides: Sequence[str]) -> Call:
    """A call in a directory of its own."""
    name = " ".join([f"#{number}", *filter_overrides(overrides)])
    facts = {"signature": str(number), "name": name, "overrides": list(overrides)}
    return Call(RunDir.plan(folder, facts, ""), tuple(overrides))


def is_call(run: RunDir) -> bool:
    """Whether a directory is that of a call."""
    return (run.path.parent / FUNCTION).exists()


def composed(run: RunDir) -> tuple[HydraContext, TaskFunction, DictConfig]:
    """What a call needs, as it was pickled: Hydra's context, the function, and its config."""
    called = cloudpickle.loads((run.path.parent / FUNCTION).read_bytes())
    context, function, config, state = called
    setup_globals()
    Singleton.set_state(state)
    config = context.config_loader.load_sweep_config(config, run.run["overrides"])
    with open_dict(config):
        config.hydra.job.id = run.path.name
        config.hydra.job.num = int(run.path.name)
    return context, function, config


def answer(run: RunDir) -> None:
    """Call the function of a directory, and leave what it returned."""
    with run.attempt():
        try:
            context, function, config = composed(run)
            returned: Any = run_job(
                hydra_context=context,
                task_function=function,
                config=config,
                job_dir_key="hydra.sweep.dir",
                job_subdir_key="hydra.sweep.subdir",
            )
        except Exception as error:  # of composing: what the function raises, run_job keeps
            overrides = run.run["overrides"]
            returned = JobReturn(overrides, status=JobStatus.FAILED, _return_value=error)
        write_whole(run.path / RETURNED, lambda file: cloudpickle.dump(returned, file))
        run.finish({})
