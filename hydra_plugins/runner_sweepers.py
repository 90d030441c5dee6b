"""What Hydra needs to find the sweepers; their work is in sweeps/."""

from typing import Any

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.plugins import Plugins
from hydra.plugins.search_path_plugin import SearchPathPlugin
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class GridSweeper(Sweeper):
    """Every combination of the swept values, each once.

    Args:
        params: Sweeps that a config brings, as key and comma-separated values; the command line
            leads.
    """

    def __init__(self, params: dict[str, str]):
        self.params = params

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        self.config, self.hydra_context = config, hydra_context
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        from sweeps.sweep import sweep

        given = {argument.partition("=")[0] for argument in arguments}
        brought = [f"{key}={value}" for key, value in self.params.items() if key not in given]
        return sweep(
            [*arguments, *brought], self.config, self.hydra_context.config_loader, self.launcher
        )


class UserConfigs(SearchPathPlugin):
    """The working directory's conf/ stands behind our own."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        from runner.catalogue import search_path as folders

        for folder in folders()[1:]:
            search_path.append("user", f"file://{folder}")
