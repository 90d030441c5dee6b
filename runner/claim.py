"""A paper's claim in miniature: what an experiment's `claim` says, and what its runs say to it.

    claim:
      says: Adaptive LDR is more accurate than cross-entropy where labels are wrong.
      paper: Zhu, Ying & Yang 2023, arXiv:2112.14869
      metric: test/accuracy
      seeds: 6                        # 0 to 5
      arms:                           # overrides of the experiment, seeds aside
        aldr: objective=aldr
        cross_entropy: objective=cross_entropy
      holds:                          # one > other, one > other + lead, one < other ...
        - aldr > cross_entropy
        - aldr > cross_entropy - 0.01   # not worse by as much as that

A comparison is a paired permutation test over the shared seeds, two-sided at 95 % confidence. It
holds, or is refuted, where the test decides so; a tie on every seed decides nothing, since what
cannot be told apart here (both perfect, for instance) may differ elsewhere. A claim is reproduced
where all its comparisons hold, not reproduced where one is refuted, and else inconclusive. There is
no correction for their number: all must hold, and of k comparisons that are true one is refuted by
chance with a probability of at most k times 2.5 %.
"""

import math
import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

from objectives.errors import InputError
from runner.catalogue import Option, option, options
from runner.report import Result
from runner.rundir import State
from runner.statistics import FEWEST, Comparison, Interval, compare, interval

REQUIRED = {"says", "metric", "seeds", "arms", "holds"}
KEYS = {*REQUIRED, "paper"}
SPLITS = ("test/", "val/", "train/")
RELATION = re.compile(r"\s*(\w+)\s*([<>])\s*(\w+)\s*(?:([+-])\s*(\d*\.?\d+(?:e-?\d+)?)\s*)?")

HOLDS, REFUTED = "holds", "refuted"


class Verdict(StrEnum):
    """What the runs say to a claim."""

    REPRODUCED = "reproduced"
    NOT_REPRODUCED = "not reproduced"
    INCONCLUSIVE = "inconclusive"


class Relation(NamedTuple):
    """A comparison that must hold: `one > other + lead`, or with `<`.

    Attributes:
        one: An arm.
        sign: ">" or "<".
        other: Another arm.
        lead: What is added to the other's value.
    """

    one: str
    sign: str
    other: str
    lead: float

    def __str__(self) -> str:
        lead = f" {'-' if self.lead < 0 else '+'} {abs(self.lead):g}" if self.lead else ""
        return f"{self.one} {self.sign} {self.other}{lead}"


@dataclass(frozen=True)
class Claim:
    """An experiment's claim.

    Attributes:
        file: The experiment's file; its name is the claim's.
        says: The claim in a sentence.
        paper: Where it is from.
        metric: What is compared.
        seeds: The seeds of every arm.
        arms: The overrides of each arm.
        holds: The comparisons that must hold.
    """

    file: Path
    says: str
    paper: str
    metric: str
    seeds: tuple[int, ...]
    arms: Mapping[str, tuple[str, ...]]
    holds: tuple[Relation, ...]

    @property
    def name(self) -> str:
        return self.file.stem


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


def named(name: str) -> Claim:
    """The claim of an experiment.

    Raises:
        InputError: There is no such experiment, it has no claim, or something is wrong with it.
    """
    found = option("experiment", name)
    if "claim" not in found.config:
        raise InputError(
            f"experiment={name} has no claim; those with one: {', '.join(all_names()) or 'none'}."
        )
    return parsed(found)


def all_names() -> list[str]:
    """The experiments that have a claim."""
    return [name for name, entry in options("experiment").items() if "claim" in entry.config]


def parsed(entry: Option) -> Claim:
    """The claim in an experiment's file.

    Raises:
        InputError: Something is wrong with it.
    """
    said = entry.config["claim"]
    try:
        _check_keys(said)
        arms = {str(name): _arm(name, words) for name, words in _mapping("arms", said).items()}
        holds = tuple(_relation(text, arms) for text in _list("holds", said))
        return Claim(
            entry.file,
            str(said["says"]),
            str(said.get("paper", "")),
            _metric(said["metric"]),
            _seeds(said["seeds"]),
            arms,
            holds,
        )
    except InputError as error:
        raise InputError(f"claim of {entry.file}: {error}") from None


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


def _check_keys(said: Any) -> None:
    if not isinstance(said, dict):
        raise InputError(f"expected {', '.join(sorted(KEYS))}.")
    for key in sorted(REQUIRED - set(said)):
        raise InputError(f"{key} is missing.")
    for key in sorted(set(said) - KEYS, key=str):
        raise InputError(f"{key} is none of {', '.join(sorted(KEYS))}.")


def _mapping(key: str, said: dict[str, Any]) -> dict[Any, Any]:
    if not isinstance(said[key], dict) or len(said[key]) < 2:
        raise InputError(f"{key} must be two or more names with the overrides of each.")
    return said[key]


def _list(key: str, said: dict[str, Any]) -> list[Any]:
    if not isinstance(said[key], list) or not said[key]:
        raise InputError(f"{key} must be a list of comparisons, such as one > other.")
    return said[key]


def _arm(name: Any, words: Any) -> tuple[str, ...]:
    if not re.fullmatch(r"\w+", str(name)):
        raise InputError(f"an arm's name is one word of letters, digits and _, not {name!r}.")
    return tuple(shlex.split(str(words or "")))


def _relation(text: Any, arms: Mapping[str, Any]) -> Relation:
    match = RELATION.fullmatch(str(text))
    if not match:
        raise InputError(f"{text!r} is not of the form one > other, one < other or one > other + 1")
    one, sign, other, ahead, lead = match.groups()
    for name in (one, other):
        if name not in arms:
            raise InputError(
                f"{text!r} names {name}, which is no arm (there are: {', '.join(arms)})"
            )
    return Relation(one, sign, other, float(f"{ahead}{lead}") if lead else 0.0)


def _metric(given: Any) -> str:
    if not str(given).startswith(SPLITS):
        raise InputError(f"metric={given} begins with none of {', '.join(SPLITS)}.")
    return str(given)


def _seeds(given: Any) -> tuple[int, ...]:
    if not isinstance(given, int) or given < FEWEST:
        raise InputError(
            f"seeds={given}: at least {FEWEST} are needed, with fewer no test reaches 95 %."
        )
    return tuple(range(given))
