"""What the runs of a claim's arms say to it.

A comparison is a paired permutation test over the shared seeds, two-sided at 95 % confidence. It
holds, or is refuted, where the test decides so; a tie on every seed decides nothing, since what
cannot be told apart here (both perfect, for instance) may differ elsewhere. A claim is reproduced
where all its comparisons hold, not reproduced where one is refuted, and else inconclusive. There is
no correction for their number: all must hold, and of k comparisons that are true one is refuted by
chance with a probability of at most k times 2.5 %.
"""

import math
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any, NamedTuple

from objectives.errors import InputError
from runner.claim import Relation
from runner.report import Result
from runner.rundir import State
from runner.statistics import Comparison, Interval, compare, interval

HOLDS, REFUTED = "holds", "refuted"


class Verdict(StrEnum):
    """What the runs say to a claim."""

    REPRODUCED = "reproduced"
    NOT_REPRODUCED = "not reproduced"
    INCONCLUSIVE = "inconclusive"


class Arm(NamedTuple):
    """What came out of an arm.

    Attributes:
        results: Its runs, as planned and as they stand.
        values: The metric of each seed that has one.
        mean: Their mean and interval.
        missing: Why which seed has none.
    """

    results: list[Result]
    values: dict[int, float]
    mean: Interval
    missing: list[str]


class Finding(NamedTuple):
    """What came out of a comparison.

    Attributes:
        relation: What must hold.
        difference: Mean of one minus other; the lead is not taken off.
        p: Of the test that it is as far from the lead as this.
        word: "holds", "refuted", or why neither.
    """

    relation: Relation
    difference: Interval
    p: float
    word: str


def arm(results: Iterable[Result], metric: str) -> Arm:
    """What the runs of an arm say."""
    ordered = sorted(results, key=lambda result: result[0]["seed"])
    values = {run["seed"]: _value(status, metric) for run, status in ordered}
    known = {seed: value for seed, value in values.items() if math.isfinite(value)}
    missing = [
        f"seed {run['seed']} {_why(status, metric)}"
        for run, status in ordered
        if run["seed"] not in known
    ]
    return Arm(ordered, known, interval(list(known.values())), missing)


def find(relation: Relation, values: Mapping[str, Mapping[int, float]]) -> Finding:
    """Test a comparison on the metric of each arm and seed."""
    tested = compare(values[relation.one], values[relation.other], relation.lead)
    beyond = tested.difference
    difference = beyond._replace(mean=beyond.mean + relation.lead)
    return Finding(relation, difference, tested.p, _word(relation, tested))


def verdict(words: Iterable[str]) -> Verdict:
    """What the words of all comparisons come to."""
    found = set(words)
    if REFUTED in found:
        return Verdict.NOT_REPRODUCED
    return Verdict.REPRODUCED if found == {HOLDS} else Verdict.INCONCLUSIVE


def check_measured(arms: Mapping[str, Arm], metric: str) -> None:
    """See that some finished run has the metric, if any finished.

    Raises:
        InputError: None has.
    """
    finished = [
        status["metrics"]
        for found in arms.values()
        for _, status in found.results
        if status["state"] == State.DONE
    ]
    if finished and not any(metric in metrics for metrics in finished):
        known = ", ".join(sorted(finished[0]))
        raise InputError(f"no run has the metric {metric}; there are: {known}.")


def _word(relation: Relation, tested: Comparison) -> str:
    if tested.word not in {"higher", "lower"}:
        return tested.word
    return HOLDS if tested.word == {">": "higher", "<": "lower"}[relation.sign] else REFUTED


def _value(status: Mapping[str, Any], metric: str) -> float:
    done = status["state"] == State.DONE
    return float(status["metrics"].get(metric, math.nan)) if done else math.nan


def _why(status: Mapping[str, Any], metric: str) -> str:
    if status["state"] == State.DONE:
        return f"has {metric} {status['metrics'].get(metric, 'not at all')}"
    return f"{status['state']}: {status.get('reason', '')}".rstrip(": ")
