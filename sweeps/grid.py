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
from sweeps.zipped import TAG, check_lengths

Compose = Callable[[list[str]], DictConfig]
Composer = Callable[[dict[str, Any]], Composed]
Composers = dict[tuple[tuple[str, ...], tuple[str, ...]], Composer]


@dataclass(frozen=True)
class Axis:
    """The overrides of one key, or of keys that go hand in hand: one, or as many as are swept.

    Attributes:
        keys: The config keys or groups.
        points: For each value, the override of every key.
        adds: Whether the overrides add or delete keys, so that these need not be there before.
    """

    keys: tuple[str, ...]
    points: tuple[tuple[str, ...], ...]
    adds: bool = False

    @cached_property
    def values(self) -> list[tuple[Any, ...]]:
        """What the overrides of each point set the keys to."""
        parser = OverridesParser.create()
        return [
            tuple(override.value() for override in parser.parse_overrides(list(point)))
            for point in self.points
        ]

    def split(self) -> list[list["Axis"]]:
        """For each point, an axis of a single value for every key."""
        return [
            [
                Axis((key,), ((line,),), self.adds)
                for key, line in zip(self.keys, point, strict=True)
            ]
            for point in self.points
        ]

    def only(self, applies: Callable[[str], bool]) -> "Axis":
        """The axis of those of its keys that apply, each point once."""
        kept = [place for place, key in enumerate(self.keys) if applies(key)]
        points = dict.fromkeys(tuple(point[place] for place in kept) for point in self.points)
        return Axis(tuple(self.keys[place] for place in kept), tuple(points), self.adds)


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
        return ([*self.options, *values] for values in _products(self.axes))

    def jobs(self, compose: Compose, known: Composers | None = None) -> Iterator[Job]:
        """Every job, composed here where that gives what Hydra gives, and else by Hydra.

        Args:
            compose: Composes a config from overrides.
            known: What composes the jobs of blocks like this one, kept from one to the next.
        """
        awkward = [axis for axis in self.axes if not self.can_overlay(axis)]
        if awkward and all(len(axis.points) == 1 for axis in awkward):
            yield from self.choosing(awkward, compose).jobs(compose, known)
            return
        if awkward:
            yield from (Job.of(compose(overrides)) for overrides in self.overrides())
            return
        keys = [key for axis in self.axes for key in axis.keys]
        known = {} if known is None else known
        kind = (tuple(self.options), tuple(keys))
        if kind not in known:
            known[kind] = self.composer(keys)
        choices = plain(self.config.hydra.runtime.choices)
        combinations = itertools.product(*(axis.values for axis in self.axes))
        for overrides, values in zip(self.overrides(), combinations, strict=True):
            named = dict(zip(keys, itertools.chain(*values), strict=True))
            yield Job.made(partial(known[kind], named), choices, overrides)

    def choosing(self, fixed: list[Axis], compose: Compose) -> "Block":
        """The same jobs, with what some axes do to all of them composed as the options are."""
        options = [*self.options, *(line for axis in fixed for line in axis.points[0])]
        return Block(compose(options), options, [axis for axis in self.axes if axis not in fixed])

    def composer(self, keys: list[str]) -> Composer:
        """What makes a config of values for the axes' keys."""
        given = [*self.options, *keys]
        config = Overlay(own_part(self.config, given), keys)
        neutral = Overlay(own_part(self.config, given), [*PLACEHOLDERS, *keys])

        def composed(values: dict[str, Any]) -> Composed:
            return Composed(config.config(values), neutral.config(values | PLACEHOLDERS))

        return composed

    def can_overlay(self, axis: Axis) -> bool:
        """Whether all that an axis does is to set plain values; another class is another matter."""
        return (
            not axis.adds
            and not any(key.endswith("_target_") for key in axis.keys)
            and all(is_leaf(self.config, key) for key in axis.keys)
            and all(can_overlay(value) for point in axis.values for value in point)
        )


def axes(arguments: list[str]) -> list[Axis]:
    """The axes of command-line overrides in Hydra's grammar; those of one zip are one.

    Raises:
        InputError: The keys of a zip have unequally many values.
    """
    found: dict[Any, list[Axis]] = {}
    for number, override in enumerate(OverridesParser.create().parse_overrides(arguments)):
        found.setdefault(_zip(override) or number, []).append(_axis(override))
    return [_together(parts) for parts in found.values()]


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

    def chooses(key: str) -> bool:
        return "@" in key or is_group(key)

    all_axes = axes(arguments)
    choosing = [axis for axis in all_axes if any(map(chooses, axis.keys))]
    setting = [axis for axis in all_axes if axis not in choosing]
    blocks = []
    for points in itertools.product(*(axis.split() for axis in choosing)):
        lines = [axis for point in points for axis in point]
        options = [axis.points[0][0] for axis in lines if chooses(axis.keys[0])]
        fixed = [axis for axis in lines if not chooses(axis.keys[0])]
        blocks.append(_block(compose(options), options, [*fixed, *setting]))
    applied = {key for block in blocks for axis in block.axes for key in axis.keys}
    for key in (key for axis in all_axes for key in axis.keys):
        if not chooses(key) and key not in applied:
            raise UnknownKey(key, blocks[0].config)
    return blocks


def _block(config: DictConfig, options: list[str], axes: list[Axis]) -> Block:
    applicable = [axis if axis.adds else axis.only(partial(_has, config)) for axis in axes]
    return Block(config, options, [axis for axis in applicable if axis.keys])


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
    if override.is_sweep_override():
        lines = [f"{key}={value}" for value in override.sweep_string_iterator()]
    else:
        lines = [str(override.input_line)]
    points = [(line,) for line in lines]
    return Axis(
        (key.lstrip("+~"),), tuple(points if _zip(override) else dict.fromkeys(points)), adds
    )


def _zip(override: Override) -> str:
    """The tag by which an override is zipped with others, or ""."""
    tags = getattr(override.value(), "tags", ()) if override.is_sweep_override() else ()
    return next((tag for tag in tags if tag.startswith(TAG)), "")


def _together(parts: list[Axis]) -> Axis:
    """Axes as one: their first values, their second values, ..."""
    check_lengths({part.keys[0]: len(part.points) for part in parts})
    points = zip(*(part.points for part in parts), strict=True)
    return Axis(
        tuple(part.keys[0] for part in parts),
        tuple(tuple(itertools.chain(*point)) for point in points),
        any(part.adds for part in parts),
    )


def _has(config: DictConfig, key: str) -> bool:
    missing = object()
    try:
        return OmegaConf.select(config, key, default=missing) is not missing
    except Exception:
        return True


def _products(axes: Iterable[Axis]) -> Iterator[tuple[str, ...]]:
    """The overrides of every combination of points."""
    combinations = itertools.product(*(axis.points for axis in axes))
    return (tuple(itertools.chain(*points)) for points in combinations)
