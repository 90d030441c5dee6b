"""What can be said of repeated measurements, in numbers and in a word.

Seeds are replicates: a setting's value is their mean with Student's 95 % confidence interval, and
two settings are compared over the seeds that they share, whose data and initial weights are the
same.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np

CONFIDENCE = 0.95

FEWEST = 6
"""Seeds below which no test of signs can reach this confidence: 2 / 2^5 > 0.05 > 2 / 2^6."""

EXACT = 2**16
"""Most changes of signs that are all gone through; of more a sample of 9,999 is."""


class Interval(NamedTuple):
    """A mean and its uncertainty.

    Attributes:
        mean: The mean; NaN where there is no value.
        half: Half the width of the interval; NaN where there are fewer than two values.
        size: How many values.
    """

    mean: float
    half: float
    size: int

    def __str__(self) -> str:
        if not self.size:
            return "-"
        half = f"{self.half:.2g}" if self.half < 99.5 else f"{self.half:.0f}"
        return f"{self.mean:.4g}" + ("" if math.isnan(self.half) else f" ± {half}")


class Comparison(NamedTuple):
    """One setting against another over the seeds that they share.

    Attributes:
        difference: Mean of one minus other, with its interval.
        p: Probability of a mean so far from nought if signs were chance; NaN without a seed.
        word: "higher", "lower", "undecided", "equal", or "too few seeds".
    """

    difference: Interval
    p: float
    word: str


def interval(values: Sequence[float]) -> Interval:
    """Mean and half-width of Student's 95 % confidence interval."""
    count = len(values)
    if count < 2:
        return Interval(values[0] if values else math.nan, math.nan, count)
    half = quantile(count) * statistics.stdev(values) / math.sqrt(count)
    return Interval(statistics.fmean(values), half, count)


@cache
def quantile(count: int) -> float:
    """How many standard errors of a mean of so many values its interval reaches to either side."""
    from scipy.stats import t

    return float(t.ppf((1 + CONFIDENCE) / 2, count - 1))


def compare(one: Mapping[int, float], other: Mapping[int, float], lead: float = 0.0) -> Comparison:
    """Compare two settings by seed: a paired permutation test of the mean difference, two-sided.

    Args:
        one: Value of each seed.
        other: The same of the other setting.
        lead: What `one` must be ahead of `other` by; the difference is beyond it.
    """
    differences = [one[seed] - other[seed] - lead for seed in sorted(one.keys() & other.keys())]
    found, p = interval(differences), permutation_p(differences)
    return Comparison(found, p, _word(found, p))


def permutation_p(differences: Sequence[float]) -> float:
    """Two-sided p-value of a paired permutation test: the signs of differences are exchanged."""
    if not differences:
        return math.nan
    if not any(differences) or len(differences) == 1:  # of one, either sign is as far off
        return 1.0
    from scipy.stats import permutation_test

    exact = 2 ** len(differences) <= EXACT
    tested = permutation_test(
        (np.asarray(differences),),
        lambda sample, axis: np.mean(sample, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=np.inf if exact else 9999,
        rng=0,
    )
    return float(tested.pvalue)


def _word(difference: Interval, p: float) -> str:
    if difference.size and difference.mean == 0 and p == 1:
        return "equal"
    if difference.size < FEWEST:
        return "too few seeds"
    if p > 1 - CONFIDENCE:
        return "undecided"
    return "higher" if difference.mean > 0 else "lower"
