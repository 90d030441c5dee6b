"""Search spaces: what is fixed, what is searched, and what seeds a trial is repeated with.

On the command line they are Hydra's own sweeps: `tau=interval(0.05,5)`, `tau=tag(log,interval(
0.05,5))`, `int(interval(1,9))`, `range(1,9,2)` (its end included), `lr=0.1,0.01` or `choice(...)`.
Options of a config group may be searched as well; a key that the chosen options do not have is not
asked for in that trial. Where no value is searched, an objective's own `space:` is.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep, Transformer
from omegaconf import DictConfig
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import Trial

from objectives.errors import InputError
from sweeps.grid import is_leaf
from sweeps.zipped import TAG

KINDS: dict[str, Callable[..., BaseDistribution]] = {
    "linear": FloatDistribution,
    "log": lambda low, high: FloatDistribution(low, high, log=True),
    "int": IntDistribution,
    "choice": lambda *choices: CategoricalDistribution(choices),
}
"""The kinds of an objective's own space, from the values that they are given."""

SEED = "seed"

PLAIN = (str, int, float, bool, type(None))
"""What a choice may be; anything else is searched by how it is written."""


class Param(NamedTuple):
    """A hyperparameter that is searched.

    Attributes:
        name: Its name in the study.
        key: The config key or group.
        distribution: Where its values come from.
    """

    name: str
    key: str
    distribution: BaseDistribution

    def suggested(self, trial: Trial) -> str:
        """The override of a trial."""
        value = suggest(trial, self.name, self.distribution)
        return f"{self.key}={'null' if value is None else value}"

    def ends(self) -> list[str]:
        """The overrides at the ends of its range, or of all its choices."""
        found = self.distribution
        values = (
            found.choices if isinstance(found, CategoricalDistribution) else (found.low, found.high)  # type: ignore[attr-defined]
        )
        return [f"{self.key}={'null' if value is None else value}" for value in values]


@dataclass(frozen=True)
class Space:
    """A search as the command line and the config give it.

    Attributes:
        fixed: Overrides of every trial.
        options: Options that are searched.
        values: Values that are searched.
        seeds: The seeds that every trial is repeated with; none for the config's own.
    """

    fixed: tuple[str, ...]
    options: tuple[Param, ...]
    values: tuple[Param, ...]
    seeds: tuple[int, ...]

    @property
    def is_empty(self) -> bool:
        return not self.options and not self.values

    def of(self, config: DictConfig, name: str) -> list[Param]:
        """What is searched under the chosen options.

        Args:
            config: The options, composed.
            name: The objective, by which values of its own space are called where it is searched.
        """
        if self.values:
            return [p for p in self.values if is_leaf(config, p.key) or p.key.startswith("+")]
        taken = {line.lstrip("+").split("=")[0] for line in self.fixed}
        prefix = f"{name}." if any(p.key == "objective" for p in self.options) else ""
        kinds = (config.get("space") or {}).items()
        own = {key: kind for key, kind in kinds if kind is not None and key not in taken}
        return [Param(f"{prefix}{key}", key, own_distribution(key, own[key])) for key in own]


def space(
    arguments: Sequence[str], params: Mapping[str, Any], is_group: Callable[[str], bool]
) -> Space:
    """The search that overrides and the sweeper's `params` ask for; the command line leads.

    Raises:
        InputError: A sweep is none that can be searched.
    """
    given = {argument.partition("=")[0] for argument in arguments}
    brought = [f"{key}={value}" for key, value in params.items() if key not in given]
    fixed: list[str] = []
    options: list[Param] = []
    values: list[Param] = []
    seeds: tuple[int, ...] = ()
    for override in OverridesParser.create().parse_overrides([*arguments, *brought]):
        key = override.get_key_element()
        if not override.is_sweep_override():
            fixed.append(str(override.input_line))
        elif key == SEED:
            seeds = tuple(int(text) for text in override.sweep_string_iterator())
        else:
            chooses = "@" in key or is_group(key)
            param = Param(key.lstrip("+"), key, distribution(override))
            (options if chooses else values).append(param)
    return Space(tuple(fixed), tuple(options), tuple(values), seeds)


def distribution(override: Override) -> BaseDistribution:
    """The distribution that a sweep of Hydra's grammar means.

    Raises:
        InputError: It means none.
    """
    sweep: Any = override.value()
    if any(tag.startswith(TAG) for tag in sweep.tags):
        raise InputError(f"{override.input_line}: zipped keys are for grids; nothing to search.")
    try:
        if isinstance(sweep, IntervalSweep):
            return _numbers(sweep.start, sweep.end, None, "log" in sweep.tags)
        if isinstance(sweep, RangeSweep) and not sweep.shuffle:
            return _numbers(sweep.start, sweep.stop, sweep.step, "log" in sweep.tags)
        return CategoricalDistribution(list(_choices(override)))
    except ValueError as error:
        raise InputError(f"{override.input_line}: {error}") from error


def own_distribution(key: str, given: Any) -> BaseDistribution:
    """The distribution that an entry of `space:` means, such as {log: [0.05, 5]}.

    Raises:
        InputError: It means none.
    """
    try:
        ((kind, values),) = given.items()
        return KINDS[kind](*values)
    except (AttributeError, KeyError, TypeError, ValueError):
        known = ", ".join(f"{{{kind}: [...]}}" for kind in KINDS)
        raise InputError(f"space.{key} is {given}; it should be one of {known}.") from None


def suggest(trial: Trial, name: str, found: BaseDistribution) -> Any:
    """A trial's value; the same again for a trial that has it."""
    if isinstance(found, FloatDistribution):
        return trial.suggest_float(name, found.low, found.high, step=found.step, log=found.log)
    if isinstance(found, IntDistribution):
        return trial.suggest_int(name, found.low, found.high, step=found.step, log=found.log)
    assert isinstance(found, CategoricalDistribution)
    return trial.suggest_categorical(name, found.choices)


def _numbers(low: Any, high: Any, step: Any, log: bool) -> BaseDistribution:
    if any(isinstance(number, float) for number in (low, high, step)):
        return FloatDistribution(low, high, step=step, log=log)
    return IntDistribution(low, high, step=1 if step is None else step, log=log)


def _choices(override: Override) -> Iterator[Any]:
    """The values of a choice, those that are not plain as they are written."""
    values = override.sweep_iterator(transformer=Transformer.identity)
    for value, text in zip(values, override.sweep_string_iterator(), strict=True):
        yield value if isinstance(value, PLAIN) and not isinstance(value, str) else str(text)
