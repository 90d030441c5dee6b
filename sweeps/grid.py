"""Grids: every combination of the swept values that means something, each once."""

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from objectives.errors import InputError
from runner.job import PLACEHOLDERS, Composed, Job, own_part, plain
from sweeps.overlay import Overlay, can_overlay

Compose = Callable[[list[str]], DictConfig]


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

    @cached_property
    def values(self) -> list[Any]:
        """What the overrides set the key to."""
        parsed = OverridesParser.create().parse_overrides(list(self.overrides))
        return [override.value() for override in parsed]


@dataclass(frozen=True)
class Block:
    """The jobs of a grid that choose the same options.

    Attributes:
        config: The options composed, without the axes' values.
        options: The overrides that choose them.
        axes: What is set or swept beside them.
    """

    config: DictConfig
    options: list[str]
    axes: list[Axis]

    def overrides(self) -> Iterator[list[str]]:
        """The overrides of every job."""
        return (self.options + values for values in _product(self.axes))

    def jobs(self, compose: Compose) -> Iterator[Job]:
        """Every job, composed here where that gives what Hydra gives, and else by Hydra."""
        if not self.can_overlay():
            yield from (Job.of(compose(overrides)) for overrides in self.overrides())
            return
        keys = [axis.key for axis in self.axes]
        config = Overlay(own_part(self.config), keys)
        neutral = Overlay(own_part(self.config), [*PLACEHOLDERS, *keys])
        choices = plain(self.config.hydra.runtime.choices)

        def composed(values: dict[str, Any]) -> Composed:
            return Composed(config.config(values), neutral.config(values | PLACEHOLDERS))

        combinations = itertools.product(*(axis.values for axis in self.axes))
        for overrides, values in zip(self.overrides(), combinations, strict=True):
            named = dict(zip(keys, values, strict=True))
            yield Job.made(partial(composed, named), choices, overrides)

    def can_overlay(self) -> bool:
        """Whether all that the axes do is to set plain values; another class is another matter."""
        return all(
            not axis.adds
            and not axis.key.endswith("_target_")
            and is_leaf(self.config, axis.key)
            and all(map(can_overlay, axis.values))
            for axis in self.axes
        )


def axes(arguments: list[str]) -> list[Axis]:
    """The axes of command-line overrides in Hydra's grammar."""
    return [_axis(override) for override in OverridesParser.create().parse_overrides(arguments)]


def grid(arguments: list[str], compose: Compose, is_group: Callable[[str], bool]) -> list[Block]:
    """The jobs of a sweep, by the options that they choose.

    An axis that does not apply to one of the combinations of options (a `tau` where one of the
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
    blocks = []
    for chosen in dict.fromkeys(map(tuple, _product(groups))):
        config = compose(list(chosen))
        applicable = [axis for axis in values if axis.adds or _has(config, axis.key)]
        blocks.append(Block(config, list(chosen), applicable))
    applied = {axis.key for block in blocks for axis in block.axes}
    for axis in values:
        if axis.key not in applied:
            raise UnknownKey(axis.key, blocks[0].config)
    return blocks


class UnknownKey(InputError):
    """An override of a key that the config does not have."""

    def __init__(self, key: str, config: DictConfig):
        super().__init__(key)
        self.key, self.config = key, config


def is_leaf(config: DictConfig, key: str) -> bool:
    """Whether a key is a value of its own, a list among them, in mappings of their own."""
    node: Any = config
    for step in key.split("."):
        if not isinstance(node, DictConfig) or node._is_interpolation() or step not in node:
            return False
        node = node._get_node(step)
    return not isinstance(node, DictConfig)


def _axis(override: Override) -> Axis:
    key = override.get_key_element()
    adds = override.is_add() or override.is_force_add() or override.is_delete()
    bare = key.lstrip("+~")
    if override.is_sweep_override():
        lines = tuple(dict.fromkeys(f"{key}={v}" for v in override.sweep_string_iterator()))
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
