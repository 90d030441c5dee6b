"""Runs grouped into settings: what was compared, each repeated over seeds."""

import json
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from runner.report.index import Run
from runner.rundir import State
from runner.statistics import Interval, interval

NOT_SWEPT = {"seed", "root", "data", "tracking", "device", "task", "objective", "model"}
"""Keys that are no hyperparameter, or stand in columns of their own."""


class Missing:
    """What a setting has of a key that its config does not know."""

    def __repr__(self) -> str:
        return ""


MISSING = Missing()


@dataclass(frozen=True, eq=False)
class Setting:
    """One setting under one code and data, and the runs that repeat it.

    Attributes:
        values: What it has of each swept key; MISSING where it does not know the key.
        current: Whether its code is what would run now.
        runs: Its runs, one a seed.
    """

    task: str
    objective: str
    model: str
    values: Mapping[str, Any]
    code: str
    data: str
    problem: str
    current: bool
    runs: list[Run] = field(repr=False)
    _spreads: dict[str, Interval] = field(default_factory=dict, repr=False)

    @cached_property
    def finished(self) -> list[Run]:
        return [run for run in self.runs if run.state == State.DONE]

    @cached_property
    def metric(self) -> str:
        """What judges it, without its split; "" where no run says so."""
        return next((run.metric for run in self.finished if run.metric), "")

    @property
    def maximize(self) -> bool:
        return next((run.maximize for run in self.finished if run.metric), True)

    @property
    def started(self) -> float:
        """When the latest of its runs began."""
        return max(run.started for run in self.runs)

    def by_seed(self, metric: str) -> dict[int, float]:
        """A metric's value of every finished seed that has it."""
        return {r.seed: r.metrics[metric] for r in self.finished if metric in r.metrics}

    def spread(self, metric: str) -> Interval:
        """Mean of a metric over seeds; NaN as soon as one is not finite."""
        if metric not in self._spreads:
            self._spreads[metric] = spread(list(self.by_seed(metric).values()))
        return self._spreads[metric]

    def score(self) -> float:
        """What it is chosen by, on validation: more is better; −inf where nothing can be said."""
        mean = self.spread(f"val/{self.metric}").mean
        return -math.inf if math.isnan(mean) else mean if self.maximize else -mean


def spread(values: list[float]) -> Interval:
    """Mean and interval; NaN as soon as one value is not finite."""
    if all(map(math.isfinite, values)):
        return interval(values)
    return Interval(math.nan, math.nan, len(values))


def shown(value: Any) -> str:
    """A value as it would be typed."""
    if isinstance(value, float):
        return f"{value:g}"
    if value is MISSING:
        return ""
    return value if isinstance(value, str) else json.dumps(value)


def settings(runs: Iterable[Run], is_current: Callable[[Run], bool]) -> list[Setting]:
    """The settings among runs, in order of task, objective and values.

    Args:
        runs: The runs.
        is_current: Whether a run is of the code that would run now.
    """
    runs = list(runs)
    keys = swept_keys(runs)
    keys += hidden_keys(runs, keys)
    groups: dict[tuple, list[Run]] = defaultdict(list)
    for run in runs:
        groups[_label(run, keys), run.code, run.data, run.identity].append(run)
    made = [_setting(group, keys, is_current(group[0])) for group in groups.values()]
    return sorted(made, key=_order)


def swept_keys(runs: Iterable[Run]) -> list[str]:
    """Keys of overrides that have more than one value among runs."""
    runs = list(runs)
    given = dict.fromkeys(key for run in runs for key in run.keys)
    kept = [key for key in given if key not in NOT_SWEPT and not key.startswith("hydra")]
    return [key for key in kept if _varies(runs, key)]


def hidden_keys(runs: Iterable[Run], keys: list[str]) -> list[str]:
    """Further keys that tell settings apart which would else look the same, as a preset's do."""
    alike: dict[tuple, dict[str, Run]] = defaultdict(dict)
    for run in runs:
        alike[_label(run, keys), run.code, run.data].setdefault(run.identity, run)
    found: dict[str, None] = {}
    for different in alike.values():
        if len(different) > 1:
            found |= dict.fromkeys(_differing(list(different.values())))
    return list(found)


def _differing(runs: list[Run]) -> list[str]:
    keys = dict.fromkeys(key for run in runs for key in run.values if "/" not in key)
    found = [
        key for key in keys if key not in NOT_SWEPT and len({_text(run, key) for run in runs}) > 1
    ]
    return [key for key in found if "." not in key] or found[:1]


def _varies(runs: list[Run], key: str) -> bool:
    return len({_text(run, key) for run in runs if key in run.values}) > 1


def _text(run: Run, key: str) -> str:
    return json.dumps(run.values.get(key, "<missing>"))


def _label(run: Run, keys: list[str]) -> tuple:
    return (run.task, run.objective, run.model, *(_text(run, key) for key in keys))


def _setting(runs: list[Run], keys: list[str], current: bool) -> Setting:
    one = runs[0]
    latest = {r.seed: r for r in sorted(runs, key=lambda r: (r.state == State.DONE, r.started))}
    return Setting(
        one.task,
        one.objective,
        one.model,
        {key: one.values.get(key, MISSING) for key in keys},
        one.code,
        one.data,
        one.problem,
        current,
        [latest[seed] for seed in sorted(latest)],
    )


def _order(setting: Setting) -> tuple:
    values = [
        (not isinstance(v, float), v if isinstance(v, float) else 0.0, shown(v))
        for v in setting.values.values()
    ]
    return (
        setting.task,
        setting.objective,
        setting.model,
        values,
        not setting.current,
        -setting.started,
        setting.data,
        setting.code,
    )
