"""The tables of a report as plain text, and what its numbers come from."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from runner.report.settings import MISSING, Setting, shown
from runner.report.sweep import SHORT
from runner.report.verdicts import Contest, Pair, Ranks, contests, pairs, ranks
from runner.rundir import State

BEST, OLDER = "best", "older code"


@dataclass(frozen=True)
class Sheet:
    """A table of text.

    Attributes:
        telling: How many columns, the first ones, tell the rows apart.
        strong: Numbers of the rows to stand out.
        notes: What has to be known to read it.
    """

    title: str
    columns: list[str]
    rows: list[list[str]]
    telling: int
    strong: set[int] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class Report:
    """All that is said of some runs.

    Attributes:
        name: What the runs are.
        settings: Their settings.
        contests: The settings that can be compared.
        pairs: Objectives compared two by two.
        ranks: Mean ranks over tasks, where there are any.
    """

    name: str
    settings: list[Setting]
    contests: list[Contest]
    pairs: list[Pair]
    ranks: Ranks | None

    @classmethod
    def of(cls, name: str, settings: list[Setting]) -> "Report":
        found = contests(settings)
        return cls(name, settings, found, pairs(found), ranks(found))

    @cached_property
    def best(self) -> set[Setting]:
        return {setting for contest in self.contests for setting in contest.best.values()}

    @cached_property
    def sheets(self) -> list[Sheet]:
        """Its tables: settings by task, then pairs, then ranks."""
        tasks = dict.fromkeys(setting.task for setting in self.settings)
        made = [self._of_task(task) for task in tasks]
        if self.pairs:
            made.append(pair_sheet(self.pairs))
        if self.ranks:
            made.append(rank_sheet(self.ranks))
        return made

    def _of_task(self, task: str) -> Sheet:
        found = [setting for setting in self.settings if setting.task == task]
        notes = [*_notes([c for c in self.contests if c.task == task], found), origin(found)]
        return setting_sheet(task, found, self.best, notes)


def setting_sheet(
    task: str, found: Sequence[Setting], best: Iterable[Setting], notes: list[str]
) -> Sheet:
    """The settings of a task: what they are, how many seeds have finished, their test metrics."""
    best = set(best)
    keys = [k for k in found[0].values if any(s.values[k] is not MISSING for s in found)]
    keys = [k for k in keys if len({shown(s.values[k]) for s in found}) > 1]
    several = len({setting.model for setting in found}) > 1
    metrics = metric_names(found)
    rows = [
        [
            setting.objective,
            *([setting.model] if several else []),
            *(shown(setting.values[key]) for key in keys),
            _remark(setting, best),
            f"{len(setting.finished)} of {len(setting.runs)}",
            *(str(setting.spread(metric)) for metric in metrics),
        ]
        for setting in found
    ]
    columns = ["objective", *(["model"] if several else []), *keys, "", "seeds", *metrics]
    strong = {number for number, setting in enumerate(found) if setting in best}
    title = f"{task}: mean ± 95 % confidence interval over seeds"
    return Sheet(title, columns, rows, len(columns) - len(metrics), strong, notes)


def metric_names(found: Iterable[Setting]) -> list[str]:
    """Metrics to show: what judges on test, the other test metrics, what chose on validation."""
    found = list(found)
    judges = list(dict.fromkeys(s.metric for s in found if s.metric))
    names = dict.fromkeys(name for s in found for r in s.finished for name in r.metrics)
    first = [f"test/{judge}" for judge in judges]
    others = [name for name in names if name.startswith("test/")]
    last = [f"val/{judge}" for judge in judges]
    return [name for name in dict.fromkeys(first + others + last) if name in names]


def _remark(setting: Setting, best: set[Setting]) -> str:
    words = [BEST] * (setting in best) + [OLDER] * (not setting.current)
    return ", ".join(words)


def _notes(found: Iterable[Contest], settings: Iterable[Setting]) -> list[str]:
    notes = []
    for contest in found:
        word = "highest" if contest.maximize else "lowest"
        few = f"; {contest.left_out} with fewer seeds did not compete" * bool(contest.left_out)
        notes.append(f"{contest.name}: best has the {word} mean val/{contest.metric}{few}")
    states = Counter(run.state for setting in settings for run in setting.runs)
    states.pop(State.DONE, None)
    if states:
        notes.append("not finished: " + ", ".join(f"{n} {state}" for state, n in states.items()))
    if any(not s.metric for s in settings for _ in s.finished[:1]):
        notes.append("runs that do not say what judges them take no part in comparisons")
    return notes


def origin(found: Iterable[Setting]) -> str:
    """Which code and which data numbers are of, by the beginnings of their digests."""
    commits: dict[str, set[str]] = defaultdict(set)
    data: dict[str, None] = {}
    for setting in (one for one in found if one.finished):
        commits[setting.code[:SHORT] or "unknown"] |= {run.commit for run in setting.finished} - {
            ""
        }
        data[{"": "none", "?": "unknown"}.get(setting.data, setting.data[:SHORT])] = None
    alike: dict[str, list[str]] = defaultdict(list)
    for code, names in commits.items():
        alike[f" (git {', '.join(sorted(names))})" if names else ""].append(code)
    named = "; ".join(f"{', '.join(codes)}{commit}" for commit, codes in alike.items())
    return f"code {named}; data {', '.join(data)}" if named else "nothing has finished"


def pair_sheet(found: Sequence[Pair]) -> Sheet:
    """Objectives two by two: difference, its interval, p and a word."""
    rows = [
        [
            pair.contest.name,
            f"test/{pair.contest.metric}",
            f"{_marked(pair, pair.one)} − {_marked(pair, pair.other)}",
            str(pair.found.difference.size),
            signed(str(pair.found.difference), pair.found.difference.mean),
            "-" if math.isnan(pair.found.p) else f"{pair.found.p:.2g}",
            pair.word,
        ]
        for pair in found
    ]
    notes = [
        "the first objective's best setting less the second's, by the seeds that both finished; "
        "p of a two-sided paired permutation test, not corrected for the number of comparisons",
        origin({s: None for p in found for s in (_of(p, p.one), _of(p, p.other))}),
    ]
    columns = ["task", "metric", "objectives", "seeds", "difference", "p", "verdict"]
    strong = {number for number, pair in enumerate(found) if pair.word in {"better", "worse"}}
    return Sheet("objectives compared over the seeds they share", columns, rows, 3, strong, notes)


def signed(text: str, value: float) -> str:
    """A difference with its sign."""
    return f"+{text}" if value > 0 else text.replace("-", "−", 1) if value < 0 else text


def _of(pair: Pair, objective: str) -> Setting:
    return pair.contest.best[objective]


def _marked(pair: Pair, objective: str) -> str:
    return objective if _of(pair, objective).current else f"{objective} ({OLDER})"


def rank_sheet(found: Ranks) -> Sheet:
    """Mean ranks over tasks."""
    held = found.contests
    names = sorted(found.mean, key=lambda name: found.mean[name].mean)
    rows = [
        [name, *(str(c.best[name].spread(f"test/{c.metric}")) for c in held), str(found.mean[name])]
        for name in names
    ]
    columns = ["objective", *(f"{c.name} test/{c.metric}" for c in held), "mean rank"]
    notes = [
        f"over {len(held)} tasks, 1 is best, ± 95 % confidence interval over tasks",
        origin({contest.best[name]: None for contest in held for name in names}),
    ]
    return Sheet("mean ranks", columns, rows, 1, {0}, notes)
