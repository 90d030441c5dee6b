"""Hydra's own tests of a launcher, on ours: other people's functions and configs run on it."""

import pytest
from hydra.core.plugins import Plugins
from hydra.core.singleton import Singleton
from hydra.plugins.launcher import Launcher
from hydra.test_utils.launcher_common_tests import IntegrationTestSuite, LauncherTestSuite
from hydra.version import VersionBase

pytestmark = [
    pytest.mark.full,
    # Hydra's own test application says nothing of the version that it wants
    pytest.mark.filterwarnings("default:\\nThe version_base parameter is not specified"),
    pytest.mark.filterwarnings("default:\\nFuture Hydra versions will no longer change"),
]


@pytest.fixture(autouse=True)
def no_version_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hydra's tests choose no version of its behaviour; ours, run before them, do."""
    monkeypatch.delitem(Singleton._instances, VersionBase, raising=False)


def test_it_is_found():
    found = {launcher.__name__ for launcher in Plugins.instance().discover(Launcher)}
    assert "LocalLauncher" in found


@pytest.mark.parametrize("launcher_name, overrides", [("local", [])])
class TestLocalLauncher(LauncherTestSuite):
    """Functions, in this process's sweeps."""


@pytest.mark.parametrize("task_launcher_cfg, extra_flags", [({}, ["-m", "hydra/launcher=local"])])
class TestLocalLauncherInApplications(IntegrationTestSuite):
    """Applications, in processes of their own."""
