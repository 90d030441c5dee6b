"""Grids: every combination of the swept values that means something, each once."""

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from objectives.errors import InputError


@dataclass(frozen=True)
class Axis:
    """The overrides of one key: one, or as many as are swept.

    Attributes:
        key: The config key or group.
        overrides: One override a value.
        adds: Whether the override adds or deletes the key, so that it need not be there before.
    """

    key: str
    overrides: tuple[str, ...]
    adds: bool


def axes(arguments: list[str]) -> list[Axis]:
    """The axes of command-line overrides in Hydra's grammar."""
    return [_axis(override) for override in OverridesParser.create().parse_overrides(arguments)]


def grid(
    arguments: list[str],
    compose: Callable[[list[str]], DictConfig],
    is_group: Callable[[str], bool],
) -> list[list[str]]:
    """The overrides of every job.

    An axis that does not apply to one of the combinations of groups (a `tau` where one of the
    swept objectives has none) is left out there, and yields no duplicate.

    Args:
        arguments: The overrides as given, with sweeps among them.
        compose: Composes a config from overrides without sweeps.
        is_group: Whether a key is a config group.

    Raises:
        InputError: An axis applies to none of the combinations.
    """
    groups: list[Axis] = []
    values: list[Axis] = []
    for axis in axes(arguments):
        (groups if "@" in axis.key or is_group(axis.key) else values).append(axis)
    jobs, applied = [], set()
    for chosen in _product(groups):
        config = compose(chosen)
        applicable = [axis for axis in values if axis.adds or _has(config, axis.key)]
        applied |= {axis.key for axis in applicable}
        jobs += [chosen + combination for combination in _product(applicable)]
    for axis in values:
        if axis.key not in applied:
            raise UnknownKey(axis.key, compose(next(_product(groups))))
    return [list(job) for job in dict.fromkeys(map(tuple, jobs))]


class UnknownKey(InputError):
    """An override of a key that the config does not have."""

    def __init__(self, key: str, config: DictConfig):
        super().__init__(key)
        self.key, self.config = key, config


def _axis(override: Override) -> Axis:
    key = override.get_key_element()
    adds = override.is_add() or override.is_force_add() or override.is_delete()
    bare = key.lstrip("+~")
    if override.is_sweep_override():
        lines = tuple(f"{key}={value}" for value in override.sweep_string_iterator())
    else:
        lines = (str(override.input_line),)
    return Axis(bare, lines, adds)


def _has(config: DictConfig, key: str) -> bool:
    missing = object()
    try:
        return OmegaConf.select(config, key, default=missing) is not missing
    except Exception:
        return True


def _product(axes: Iterable[Axis]) -> Iterator[list[str]]:
    return (list(combination) for combination in itertools.product(*(a.overrides for a in axes)))
