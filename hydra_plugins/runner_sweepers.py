"""What Hydra needs to find the sweepers; their work is in sweeps/."""

from typing import Any

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.plugins.search_path_plugin import SearchPathPlugin
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf


class OwnSweeper(Sweeper):
    """What our sweepers are given: the config, what composes configs, and the launcher."""

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        self.config, self.hydra_context = config, hydra_context
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )


class GridSweeper(OwnSweeper):
    """Every combination of the swept values, each once.

    Args:
        params: Sweeps that a config brings, as key and comma-separated values; the command line
            leads.
        dry_run: Whether to say what would be run, and run nothing.
    """

    def __init__(self, params: dict[str, str], dry_run: bool = False):
        self.params, self.dry_run = params, dry_run

    def sweep(self, arguments: list[str]) -> Any:
        from sweeps.sweep import sweep

        given = {argument.partition("=")[0] for argument in arguments}
        brought = [f"{key}={value}" for key, value in self.params.items() if key not in given]
        loader = self.hydra_context.config_loader
        return sweep([*arguments, *brought], self.config, loader, self.launcher, self.dry_run)


class OptunaSweeper(OwnSweeper):
    """A search by Optuna.

    Args:
        settings: See conf/hydra/sweeper/optuna.yaml.
    """

    def __init__(self, **settings: Any):
        self.settings = settings

    def sweep(self, arguments: list[str]) -> Any:
        from sweeps.optimize import Request, optimize

        loader = self.hydra_context.config_loader
        request = Request(**self.settings)
        return optimize(arguments, self.config, loader, self.launcher, request)


class ClaimSweeper(GridSweeper):
    """The arms of the chosen experiment's claim over its seeds; its own sweeps are not for this."""

    def sweep(self, arguments: list[str]) -> Any:
        from sweeps.claim import sweep_claim

        loader = self.hydra_context.config_loader
        return sweep_claim(arguments, self.config, loader, self.launcher, self.dry_run)


class Configs(SearchPathPlugin):
    """Our command line finds the working directory's conf/ too, and others find our launchers."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        from runner.catalogue import CONF
        from runner.catalogue import search_path as folders

        if any(
            element.path.removeprefix("file://") == str(CONF) for element in search_path.get_path()
        ):
            for folder in folders()[1:]:
                search_path.append("user", f"file://{folder}")
            return
        for file in (CONF / "hydra").rglob("*.yaml"):
            group = str(file.parent.relative_to(CONF))
            ConfigStore.instance().store(file.stem, OmegaConf.load(file), group, provider="runner")
