"""A paper's claim in miniature, as the `claim` of an experiment says it.

    claim:
      says: Adaptive LDR is more accurate than cross-entropy where labels are wrong.
      paper: Zhu, Ying & Yang 2023, arXiv:2112.14869
      notes: The temperature is not tuned.    # what the miniature does not do, if anything
      metric: test/accuracy
      seeds: 6                                # 0 to 5
      arms:
        aldr: objective=aldr tau=0.5
        cross_entropy: objective=cross_entropy
      holds:
        - aldr > cross_entropy
        - aldr > cross_entropy - 0.01         # not worse by as much as that

An arm is the experiment with its overrides, once for each seed. What must hold is that one arm's
metric is higher than another's (>), or lower (<), by more than a lead where one is given.
"""

import itertools
import re
import shlex
from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from objectives.errors import InputError
from runner.catalogue import Option, option, options
from runner.statistics import FEWEST

REQUIRED = {"says", "metric", "seeds", "arms", "holds"}
KEYS = {*REQUIRED, "paper", "notes"}
SPLITS = ("test/", "val/", "train/")
A_SWEEP = 3
"""Values of a hyperparameter from which arms are a sweep of it."""

RELATION = re.compile(r"\s*(\w+)\s*([<>])\s*(\w+)\s*(?:([+-])\s*(\d*\.?\d+(?:e-?\d+)?)\s*)?")


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
        notes: What the miniature does not do.
        metric: What is compared.
        seeds: The seeds of every arm.
        arms: The overrides of each arm.
        holds: The comparisons that must hold.
    """

    file: Path
    says: str
    paper: str
    notes: str
    metric: str
    seeds: tuple[int, ...]
    arms: Mapping[str, tuple[str, ...]]
    holds: tuple[Relation, ...]

    @property
    def name(self) -> str:
        return self.file.stem

    @property
    def swept(self) -> str:
        """The hyperparameter for which the arms have the most numbers; "" where those are few."""
        values: dict[str, set[float]] = defaultdict(set)
        for word in itertools.chain.from_iterable(self.arms.values()):
            key, _, value = word.partition("=")
            with suppress(ValueError):
                values[key].add(float(value))
        key = max(values, key=lambda name: len(values[name]), default="")
        return key if len(values[key]) >= A_SWEEP else ""


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
            _words(said["says"]),
            _words(said.get("paper", "")),
            _words(said.get("notes", "")),
            _metric(said["metric"]),
            _seeds(said["seeds"]),
            arms,
            holds,
        )
    except InputError as error:
        raise InputError(f"claim of {entry.file}: {error}") from None


def _check_keys(said: Any) -> None:
    if not isinstance(said, dict):
        raise InputError(f"expected {', '.join(sorted(KEYS))}.")
    for key in sorted(REQUIRED - set(said)):
        raise InputError(f"{key} is missing.")
    for key in sorted(set(said) - KEYS, key=str):
        raise InputError(f"{key} is none of {', '.join(sorted(KEYS))}.")


def _words(text: Any) -> str:
    return " ".join(str(text).split())


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
    try:
        return tuple(shlex.split(str(words or "")))
    except ValueError as error:
        raise InputError(f"the overrides of {name}: {error}.") from None


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
    if one == other:
        raise InputError(f"{text!r} compares {one} with itself.")
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
