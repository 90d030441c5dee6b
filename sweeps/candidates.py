"""From a trial to the overrides of its jobs."""

import itertools
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from hydra.core.config_loader import ConfigLoader
from omegaconf import DictConfig, OmegaConf
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import Trial

from objectives.errors import InputError
from runner.job import Job
from sweeps.grid import Composers, UnknownKey, grid
from sweeps.space import Param, Space

CustomSpace = Callable[[DictConfig, Trial], Any]


class Candidates:
    """What a search tries.

    Args:
        space: What is fixed and what is searched.
        config: What Hydra composed of all that is not swept.
        loader: Composes configs.
        is_group: Whether a key is a config group.
        seeds: What every trial is repeated with; none for the config's own.
        custom: Suggests further values, given the config and the trial.
    """

    def __init__(
        self,
        space: Space,
        config: DictConfig,
        loader: ConfigLoader,
        is_group: Callable[[str], bool],
        seeds: tuple[int, ...] = (),
        custom: CustomSpace | None = None,
    ):
        self.space, self.config, self.loader, self.is_group = space, config, loader, is_group
        self.seeds, self.custom = seeds, custom
        self.composers: Composers = {}
        self.compose = cache(lambda overrides: loader.load_sweep_config(config, list(overrides)))

    def overrides(self, trial: Trial) -> list[list[str]]:
        """The overrides of a trial, for each of its seeds; what it has no values for it is given.

        A trial that has its values gets the same again.
        """
        lines = [param.suggested(trial) for param in self.space.options]
        lines += [param.suggested(trial) for param in self.searched(tuple(lines))]
        if self.custom is not None:
            known = set(trial.params)
            self.custom(self.compose(self.space.fixed), trial)
            lines += [f"{key}={trial.params[key]}" for key in trial.params if key not in known]
        return self.repeated([*self.space.fixed, *lines])

    def repeated(self, overrides: list[str]) -> list[list[str]]:
        """The same once for every seed."""
        return [[*overrides, f"seed={seed}"] for seed in self.seeds] or [overrides]

    def jobs(self, overrides: list[list[str]]) -> list[Job]:
        """The jobs of a trial."""

        def compose(lines: list[str]) -> DictConfig:
            return self.compose(tuple(lines))

        blocks = [block for one in overrides for block in grid(one, compose, self.is_group)]
        return [job for block in blocks for job in block.jobs(compose, self.composers)]

    def searched(self, options: tuple[str, ...]) -> list[Param]:
        """The values that are searched under the chosen options."""
        config = self.compose((*self._fixed_options(), *options))
        chosen = OmegaConf.select(config, "hydra.runtime.choices.objective", default="")
        return self.space.of(config, chosen)

    def combinations(self) -> Iterator[tuple[str, ...]]:
        """Every choice of options."""
        for choice in itertools.product(*(param.ends() for param in self.space.options)):
            yield tuple(choice)

    def corners(self) -> list[list[str]]:
        """Overrides that hold, for each choice of options, both ends of every range.

        Raises:
            UnknownKey: A value that is searched is nowhere.
        """
        found, seen = [], set()
        for options in self.combinations():
            params = self.searched(options)
            seen |= {param.key for param in params}
            ends = itertools.zip_longest(*(param.ends() for param in params))
            columns = [param.ends()[0] for param in params]
            for lines in ends if params else [()]:
                filled = [line or columns[place] for place, line in enumerate(lines)]
                found.append([*self.space.fixed, *options, *filled])
        for param in self.space.values:
            if param.key not in seen:
                raise UnknownKey(param.key, self.compose(tuple(self._fixed_options())))
        return found

    def distributions(self) -> dict[str, BaseDistribution]:
        """What is searched, by name.

        Raises:
            InputError: Nothing is.
        """
        found = {param.name: param.distribution for param in self.space.options}
        for options in self.combinations():
            found |= {param.name: param.distribution for param in self.searched(options)}
        if not found and self.custom is None:
            raise InputError(
                "there is nothing to search: give a key a range, as in 'tau=interval(0.1,1)', or "
                "choose an objective that has a search space (runner show objective=...)."
            )
        return found

    def first_guess(self, given: dict[str, Any]) -> dict[str, Any]:
        """The parameters of a guess as the config gives it.

        Raises:
            InputError: It names what is not searched.
        """
        known = self.distributions()
        for name, value in given.items():
            if name not in known:
                raise InputError(f"enqueue: {name} is not searched; {', '.join(known)} are.")
            found = known[name]
            if isinstance(found, CategoricalDistribution) and value not in found.choices:
                raise InputError(f"enqueue: {name}={value} is not among {list(found.choices)}.")
        return given

    def _fixed_options(self) -> list[str]:
        return [line for line in self.space.fixed if self.is_group(line.partition("=")[0])]
