"""Hydra's own tests of a launcher, on a real cluster."""

import pytest
from hydra.core.singleton import Singleton
from hydra.test_utils.launcher_common_tests import IntegrationTestSuite, LauncherTestSuite
from hydra.version import VersionBase

pytestmark = [pytest.mark.full, pytest.mark.slurm, pytest.mark.usefixtures("root")]


@pytest.fixture(autouse=True)
def no_version_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hydra's tests choose no version of its behaviour; ours, run before them, do."""
    monkeypatch.delitem(Singleton._instances, VersionBase, raising=False)


@pytest.mark.parametrize("launcher_name, overrides", [("slurm", [])])
class TestSlurmLauncher(LauncherTestSuite):
    """Functions, in this process's sweeps."""


@pytest.mark.parametrize("task_launcher_cfg, extra_flags", [({}, ["-m", "hydra/launcher=slurm"])])
class TestSlurmLauncherInApplications(IntegrationTestSuite):
    """Applications, in processes of their own."""
