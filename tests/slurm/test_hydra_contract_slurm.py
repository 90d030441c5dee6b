"""Hydra's own tests of a launcher, on a real cluster."""

import pytest
from hydra.test_utils.launcher_common_tests import IntegrationTestSuite, LauncherTestSuite

pytestmark = [pytest.mark.full, pytest.mark.slurm, pytest.mark.usefixtures("root")]


@pytest.mark.parametrize("launcher_name, overrides", [("slurm", [])])
class TestSlurmLauncher(LauncherTestSuite):
    """Functions, in this process's sweeps."""


@pytest.mark.parametrize("task_launcher_cfg, extra_flags", [({}, ["-m", "hydra/launcher=slurm"])])
class TestSlurmLauncherInApplications(IntegrationTestSuite):
    """Applications, in processes of their own."""
