"""Hydra's launchers, set up in this process as the command line sets them up."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import hydra
from hydra._internal.callbacks import Callbacks
from hydra.core.config_loader import ConfigLoader
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig

from runner.catalogue import CONF
from runner.job import Job
from sweeps.sweep import plan

SLOTS = 2
"""Jobs at once, in all that is compared."""

QUIET = ("hydra/job_logging=none", "hydra/hydra_logging=none")


class Application(NamedTuple):
    """A Hydra application that is about to sweep.

    Attributes:
        config: What is composed before any job.
        loader: Composes the config of a job.
        launcher: The launcher, set up.
    """

    config: DictConfig
    loader: ConfigLoader
    launcher: Launcher


@contextmanager
def runner_on(
    launcher: str, task: Callable[[DictConfig], Any] = lambda _: None
) -> Iterator[Application]:
    """The runner, with one of Hydra's launchers."""
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        yield _application("config", [f"hydra/launcher={launcher}"], task)


def planned_in(root: Path, *words: str) -> list[Job]:
    """The jobs of a sweep on the CPU, without tracking, under a root; nothing is written."""
    with runner_on("local") as application:
        return plan([*words, *place(root)], application.config, application.loader)


def place(root: Path) -> list[str]:
    """Overrides of where a job is."""
    return [f"root={root}", "device=cpu", "tracking=off"]


@contextmanager
def smallest_on(
    launcher: str, folder: Path, task: Callable[[DictConfig], Any], settings: Mapping[str, Any]
) -> Iterator[Application]:
    """An application whose config is a single number."""
    ConfigStore.instance().store("smallest", {"number": 0})
    words = [f"hydra/launcher={launcher}", f"hydra.sweep.dir={folder}", *QUIET]
    words += [f"hydra.launcher.{name}={value}" for name, value in settings.items()]
    with hydra.initialize(version_base="1.3", config_path=None):
        yield _application("smallest", words, task)


def _application(name: str, overrides: list[str], task: Callable[[DictConfig], Any]) -> Application:
    loader = GlobalHydra.instance().config_loader()
    config = loader.load_configuration(name, overrides, run_mode=RunMode.MULTIRUN)
    launcher = Plugins.instance().instantiate_launcher(
        hydra_context=HydraContext(loader, Callbacks()), task_function=task, config=config
    )
    return Application(config, loader, launcher)
