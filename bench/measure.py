"""Measuring side by side: noise that comes and goes meets every variant alike."""

import ctypes
import math
import random
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

LIMIT_BYTES = 14 << 30
"""Memory of a process that measures one pass."""


class Spread(NamedTuple):
    """A median between its quartiles."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: list[float]) -> "Spread":
        if len(values) == 1:
            return cls(*values * 3)
        if len(values) == 2:
            return cls(statistics.mean(values), *sorted(values))
        low, median, high = statistics.quantiles(values, n=4)
        return cls(median, low, high)


class Row(NamedTuple):
    """One line of the report.

    Attributes:
        what: What was measured.
        value: As measured.
        limit: Largest median that meets the target; None where there is none.
        at_least: Least median that meets the target; None where there is none.
    """

    what: str
    value: Spread
    unit: str = "×"
    limit: float | None = None
    at_least: float | None = None

    @property
    def target(self) -> str:
        bounds = (("≤", self.limit), ("≥", self.at_least))
        return ", ".join(f"{sign} {b:g} {self.unit}".strip() for sign, b in bounds if b is not None)

    @property
    def verdict(self) -> str:
        if not self.target:
            return ""
        low = -math.inf if self.at_least is None else self.at_least
        high = math.inf if self.limit is None else self.limit
        return "met" if low <= self.value.median <= high else "missed"


def interleaved(
    variants: Mapping[str, Callable[[], Callable[[], object]]],
    rounds: int,
    warmups: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Seconds that each variant takes, round by round, in a new order every round.

    Args:
        variants: By name, what prepares a variant, untimed, and returns what is timed.
        rounds: Times that each is measured.
        warmups: Rounds before that, which do not count.
        clock: Seconds on the wall, or of the processor where one thread works alone, which others
            on the machine disturb less.
    """
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    order = random.Random(0)
    for number in range(-warmups, rounds):
        for name in order.sample(list(variants), len(variants)):
            timed = variants[name]()
            start = clock()
            timed()
            if number >= 0:
                seconds[name].append(clock() - start)
    return seconds


def ratios(values: list[float], baseline: list[float]) -> Spread:
    """One variant to another, round by round."""
    return Spread.of([one / other for one, other in zip(values, baseline, strict=True)])


def memory(key: str) -> int:
    """Bytes resident now ("VmRSS"), or at the most since `forget_peak` ("VmHWM")."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{key}:")) * 1024


def forget_peak() -> None:
    """Count the peak from now on; `getrusage` cannot, and inherits that of its parent."""
    Path("/proc/self/clear_refs").write_text("5")


class Cost(NamedTuple):
    """What one call takes; seconds are the processor's."""

    seconds: float
    megabytes: float


def cost_of(run: Callable[[], object]) -> Cost:
    """What a call takes in this process, whose memory is limited from then on."""
    resource.setrlimit(resource.RLIMIT_AS, (LIMIT_BYTES, LIMIT_BYTES))
    ctypes.CDLL(None).malloc_trim(0)  # what was freed before is to count when it is used again
    before = memory("VmRSS")
    forget_peak()
    start = time.process_time()
    run()
    return Cost(time.process_time() - start, (memory("VmHWM") - before) / 2**20)


def told(module: str, *arguments: object) -> list[list[str]]:
    """What a module prints, run in a process of its own: the words of each line."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return [line.split() for line in done.stdout.splitlines()]


def tell(*words: object) -> None:
    """For `told` to read."""
    sys.stdout.write(" ".join(map(str, words)) + "\n")


def left_out(library: str) -> Row:
    """The row that says which library is missing."""
    what = f"{library} is not installed (pip install 'runner[bench]'): left out"
    return Row(what, Spread(0, 0, 0), "")
