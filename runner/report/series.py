"""What the plots of settings show, as plain numbers: one line an objective."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from runner.report.settings import MISSING, Setting, shown, spread
from runner.report.verdicts import Contest, choose, of_one_code, with_most_seeds
from runner.statistics import Interval

WIDE = 30
"""Ratio of values from which an axis is logarithmic where no space says anything."""


class Line(NamedTuple):
    """A metric against a hyperparameter: at each value the setting chosen on validation."""

    values: list[float]
    settings: list[Setting]


class Point(NamedTuple):
    """A setting by two metrics."""

    x: Interval
    y: Interval
    objective: str


def numeric_keys(found: Iterable[Contest]) -> list[str]:
    """Swept keys with several numbers for one objective somewhere."""
    keys: dict[str, None] = {}
    for contest in found:
        for settings in by_objective(contest).values():
            keys |= dict.fromkeys(k for k in settings[0].values if _numbers(settings, k) > 1)
    return list(keys)


def _numbers(settings: Iterable[Setting], key: str) -> int:
    return len({s.values[key] for s in settings if isinstance(s.values[key], float)})


def by_objective(contest: Contest) -> dict[str, list[Setting]]:
    """The settings that compete, by objective in alphabetical order."""
    groups: dict[str, list[Setting]] = defaultdict(list)
    for setting in contest.settings:
        groups[setting.objective].append(setting)
    return {objective: of_one_code(groups[objective]) for objective in sorted(groups)}


def line(settings: Sequence[Setting], key: str) -> Line | None:
    """An objective's line; None where it does not have several values of the key."""
    groups: dict[float, list[Setting]] = defaultdict(list)
    for setting in settings:
        if isinstance(setting.values[key], float):
            groups[setting.values[key]].append(setting)
    chosen = {value: choose(with_most_seeds(groups[value])) for value in sorted(groups)}
    kept = {value: setting for value, setting in chosen.items() if setting}
    return Line(list(kept), list(kept.values())) if len(kept) > 1 else None


def labelled(setting: Setting, contest: Contest) -> str:
    """An objective with what else tells a setting from others of its contest, and how old it is."""
    told = {key: shown(value) for key, value in setting.values.items() if value is not MISSING}
    varied = [k for k in told if len({shown(s.values[k]) for s in contest.settings} - {""}) > 1]
    words = [setting.objective, *(f"{key}={told[key]}" for key in varied)]
    return " ".join(words if setting.current else [*words, "(older code)"])


def is_log(key: str, settings: Iterable[Setting]) -> bool:
    """Whether a hyperparameter's space is logarithmic; without one, whether its values are."""
    settings = list(settings)
    spaces = [run.space[key] for s in settings for run in s.runs[:1] if key in run.space]
    values = [s.values[key] for s in settings if s.values[key] is not MISSING]
    numbers = [value for value in values if isinstance(value, float)]
    if not numbers or min(numbers) <= 0:
        return False
    if spaces:
        return any(isinstance(space, Mapping) and "log" in space for space in spaces)
    return max(numbers) / min(numbers) >= WIDE


class Axis(NamedTuple):
    """A metric to plot by.

    Attributes:
        metric: Its name, of test where no split is given; "" for seconds of training.
        sign: 1 where more is better, −1 where less is, 0 where nobody has said.
    """

    metric: str
    sign: int

    @property
    def label(self) -> str:
        return self.full or "training time, s"

    @property
    def full(self) -> str:
        return self.metric if "/" in self.metric or not self.metric else f"test/{self.metric}"


def axes(contest: Contest, metrics: Sequence[str]) -> list[Axis]:
    """The axes of a Pareto plot: time and what judges, unless metrics are given, as `nll:min`."""
    judge = Axis(contest.metric, 1 if contest.maximize else -1)
    if not metrics:
        return [Axis("", -1), judge]
    return [_axis(metric, judge) for metric in metrics]


def _axis(given: str, judge: Axis) -> Axis:
    name, _, aim = given.partition(":")
    known = judge.sign if name in {judge.metric, judge.full} else 0
    return Axis(name, {"min": -1, "max": 1}.get(aim, known))


def points(contest: Contest, by: Sequence[Axis]) -> list[Point]:
    """Settings by two metrics."""
    found = [
        Point(measured(setting, by[0]), measured(setting, by[1]), objective)
        for objective, settings in by_objective(contest).items()
        for setting in settings
    ]
    return [point for point in found if math.isfinite(point.x.mean + point.y.mean)]


def measured(setting: Setting, axis: Axis) -> Interval:
    """Mean of a metric over seeds."""
    if axis.metric:
        return setting.spread(axis.full)
    return spread([run.seconds for run in setting.finished])


def front(found: Sequence[Point], by: Sequence[Axis]) -> list[Point]:
    """Points that no other beats in both; none where it is not known what is better."""
    x_sign, y_sign = (axis.sign for axis in by)
    kept: list[Point] = []
    if not x_sign or not y_sign:
        return kept
    for point in sorted(found, key=lambda one: (-x_sign * one.x.mean, -y_sign * one.y.mean)):
        if not kept or y_sign * point.y.mean > y_sign * kept[-1].y.mean:
            kept.append(point)
    return kept
