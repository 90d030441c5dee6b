"""What Hydra needs to find the launchers; their work is in runner/launch."""

from pathlib import Path

from runner.launch.executor import Executor
from runner.launch.launcher import ExecutorLauncher


class LocalLauncher(ExecutorLauncher):
    """A pool of processes on this machine: see conf/hydra/launcher/local.yaml."""

    def executor(self, device: str, folder: Path) -> Executor:
        from runner.launch.pool import local_pool

        return local_pool(device, **self.settings)


class SlurmLauncher(ExecutorLauncher):
    """SLURM's job arrays: see conf/hydra/launcher/slurm.yaml."""

    def executor(self, device: str, folder: Path) -> Executor:
        from runner.launch.slurm import Slurm

        return Slurm(folder=folder / "slurm", code=folder / "code", **self.settings)
