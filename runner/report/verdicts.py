"""What can be said of settings: the best of each objective, pairs of them, ranks over tasks.

Settings are comparable that were judged by the same metric on the same data: a *contest*. What is
best is chosen on validation and reported on test. Nothing here reads a file.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

from runner.report.settings import MISSING, Setting, shown
from runner.statistics import Comparison, Interval, compare, interval


@dataclass(frozen=True, eq=False)
class Contest:
    """Settings that can be compared.

    Attributes:
        name: Task, and what else tells this contest from others.
        metric: What judges, without its split.
        maximize: Whether more of it is better.
        settings: All that have a finished run.
        best: Of each objective, the setting chosen on validation.
        left_out: How many settings did not compete, for fewer finished seeds than others.
        latest: Whether no later run had other data for the same.
    """

    name: str
    task: str
    metric: str
    maximize: bool
    settings: list[Setting]
    best: dict[str, Setting]
    left_out: int
    latest: bool


@dataclass(frozen=True)
class Pair:
    """One objective against another in a contest.

    Attributes:
        found: One minus other on test, at their best settings, over the seeds they share.
        word: "better", "worse", "undecided", "equal", "too few seeds" or "not finite".
    """

    contest: Contest
    one: str
    other: str
    found: Comparison
    word: str


@dataclass(frozen=True)
class Ranks:
    """Mean ranks of the objectives that meet in several contests; 1 is best."""

    contests: list[Contest]
    mean: dict[str, Interval]


def contests(settings: Iterable[Setting]) -> list[Contest]:
    """The contests among settings, those without a finished or judged run left out."""
    groups: dict[tuple, list[Setting]] = defaultdict(list)
    for setting in settings:
        if setting.metric:
            key = (setting.task, setting.problem, setting.metric, setting.data)
            groups[key].append(setting)
    latest: dict[tuple, tuple] = {}
    for key in sorted(groups, key=lambda key: max(s.started for s in groups[key])):
        latest[key[:3]] = key
    names = _names(groups)
    return [_contest(names[k], group, latest[k[:3]] == k) for k, group in groups.items()]


def _contest(name: str, group: list[Setting], latest: bool) -> Contest:
    by_objective: dict[str, list[Setting]] = defaultdict(list)
    for setting in group:
        by_objective[setting.objective].append(setting)
    best, left_out = {}, 0
    for objective, found in by_objective.items():
        valid = of_one_code(found)
        fair = with_most_seeds(valid)
        left_out += len(valid) - len(fair)
        if chosen := choose(fair):
            best[objective] = chosen
    one = group[0]
    return Contest(name, one.task, one.metric, one.maximize, group, best, left_out, latest)


def of_one_code(settings: Sequence[Setting]) -> list[Setting]:
    """Those of the current code; where there are none, those of the code that ran last."""
    current = [setting for setting in settings if setting.current]
    last = max(settings, key=lambda setting: setting.started)
    return current or [setting for setting in settings if setting.code == last.code]


def with_most_seeds(settings: Sequence[Setting]) -> list[Setting]:
    """Those with the most finished seeds: of few seeds one may look best by luck."""
    most = max(len(setting.finished) for setting in settings)
    return [setting for setting in settings if len(setting.finished) == most]


def choose(settings: Sequence[Setting]) -> Setting | None:
    """The best on validation; the only one needs none. None where there is nothing to go by."""
    if len(settings) == 1:
        return settings[0]
    chosen = max(settings, key=lambda setting: setting.score())
    return chosen if chosen.score() > -math.inf else None


def _names(groups: dict[tuple, list[Setting]]) -> dict[tuple, str]:
    """Names of contests: the task, and whatever tells contests of one task apart."""
    names = {}
    for key, group in groups.items():
        rivals = [other for other in groups if other[0] == key[0]]
        told = group[0].values
        known = [k for k in task_keys([groups[r] for r in rivals]) if told[k] is not MISSING]
        words = [key[0], *(f"{k}={shown(told[k])}" for k in known)]
        if any(other[:2] == key[:2] and other[2] != key[2] for other in rivals):
            words.append(f"by {key[2]}")
        if any(other[:3] == key[:3] and other[3] != key[3] for other in rivals):
            words.append(f"data {key[3][:8] or 'none'}")
        names[key] = " ".join(words)
    return names


def task_keys(groups: Sequence[Sequence[Setting]]) -> list[str]:
    """Swept keys that say which problem it is: of one value in each problem, and of several."""
    problems: dict[str, list[Setting]] = defaultdict(list)
    for group in groups:
        for setting in group:
            problems[setting.problem].append(setting)
    if len(problems) < 2:
        return []
    keys = groups[0][0].values
    found = []
    for key in keys:
        inside = [{shown(s.values[key]) for s in group} for group in problems.values()]
        if all(len(values) == 1 for values in inside) and len(set().union(*inside)) > 1:
            found.append(key)
    return found


def pairs(found: Iterable[Contest]) -> list[Pair]:
    """Every two objectives of every contest, at their best settings."""
    return [
        _pair(contest, one, other)
        for contest in found
        for one, other in combinations(sorted(contest.best), 2)
    ]


def _pair(contest: Contest, one: str, other: str) -> Pair:
    name = f"test/{contest.metric}"
    mine, theirs = (contest.best[objective].by_seed(name) for objective in (one, other))
    shared = mine.keys() & theirs.keys()
    if not all(math.isfinite(mine[seed] - theirs[seed]) for seed in shared):
        nothing = Comparison(Interval(math.nan, math.nan, len(shared)), math.nan, "undecided")
        return Pair(contest, one, other, nothing, "not finite")
    result = compare(mine, theirs)
    return Pair(contest, one, other, result, judged(result.word, contest.maximize))


def judged(word: str, maximize: bool) -> str:
    """ "higher" and "lower" as "better" and "worse"."""
    better = {"higher": maximize, "lower": not maximize}
    return word if word not in better else "better" if better[word] else "worse"


def ranks(found: Iterable[Contest]) -> Ranks | None:
    """Mean ranks over the contests that share the most; None where fewer than two share two."""
    several = [c for c in found if c.latest and len(ranked(c)) > 1]
    shared = [set(ranked(a)) & set(ranked(b)) for a, b in combinations(several, 2)]
    sets = sorted({tuple(sorted(names)) for names in shared if len(names) > 1})
    if not sets:
        return None
    taken = max(sets, key=lambda names: len(names) * len(_having(several, names)))
    held = _having(several, taken)
    places = [_places(contest, taken) for contest in held]
    return Ranks(held, {name: interval([place[name] for place in places]) for name in taken})


def ranked(contest: Contest) -> list[str]:
    """Objectives that have a test value to be ranked by."""
    name = f"test/{contest.metric}"
    return [o for o, setting in contest.best.items() if setting.by_seed(name)]


def _having(found: list[Contest], names: Sequence[str]) -> list[Contest]:
    return [contest for contest in found if set(names) <= set(ranked(contest))]


def _places(contest: Contest, names: Sequence[str]) -> dict[str, float]:
    """Rank of each objective; those that tie share the mean of their places, NaN comes last."""
    sign = -1 if contest.maximize else 1
    means = {n: sign * contest.best[n].spread(f"test/{contest.metric}").mean for n in names}
    means = {name: math.inf if math.isnan(mean) else mean for name, mean in means.items()}
    return {
        name: sum(m < mean for m in means.values())
        + (1 + sum(m == mean for m in means.values())) / 2
        for name, mean in means.items()
    }
