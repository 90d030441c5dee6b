"""What Hydra needs to find the launchers; their work is in runner/launch."""

from collections.abc import Sequence
from typing import Any

from hydra.core.utils import JobReturn, JobStatus, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class LocalLauncher(Launcher):
    """A pool of processes on this machine.

    Args:
        settings: See runner/launch/local.py.
    """

    def __init__(self, **settings: Any):
        self.settings = settings

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        self.config, self.loader = config, hydra_context.config_loader

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Hydra's own contract, for sweepers that are not ours."""
        from runner.job import Job

        setup_globals()
        composed = [self.loader.load_sweep_config(self.config, list(o)) for o in job_overrides]
        jobs = [Job.of(config) for config in composed]
        self.run_jobs(jobs)
        return [
            JobReturn(
                overrides=list(overrides),
                cfg=config,
                status=JobStatus.COMPLETED if job.is_done() else JobStatus.FAILED,
                _return_value=job.directory.status.get("metrics"),
            )
            for overrides, config, job in zip(job_overrides, composed, jobs, strict=True)
        ]

    def run_jobs(self, jobs: Sequence[Any]) -> None:
        """Run jobs to their ends."""
        from runner.launch.local import run_jobs

        run_jobs(list(jobs), **self.settings)
