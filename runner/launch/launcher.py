"""What our launchers have in common: an executor behind Hydra's contract."""

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from runner.launch.calls import launch_calls
from runner.launch.executor import Executor


class ExecutorLauncher(Launcher):  # type: ignore[misc]
    """A launcher whose jobs an executor carries.

    Args:
        retries: Further attempts of a job that fails, from its checkpoint.
        stop_on_failure: Whether the first job that fails for good ends the sweep.
        wait: Whether to stay until the jobs have ended; others must go on without us.
        settings: The executor's.
    """

    def __init__(self, retries: int, stop_on_failure: bool, wait: bool = True, **settings: Any):
        self.retries, self.stop_on_failure, self.wait = retries, stop_on_failure, wait
        self.settings = settings

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        self.hydra_context, self.task_function, self.config = hydra_context, task_function, config

    @abstractmethod
    def executor(self, device: str, folder: Path) -> Executor:
        """The executor, not yet opened.

        Args:
            device: Where jobs compute, as `device` says.
            folder: Where it may keep what belongs to the sweep.
        """

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Hydra's own contract, for sweepers and functions that are not ours."""
        return launch_calls(self, job_overrides, initial_job_idx)
