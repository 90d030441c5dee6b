"""Losses of libraries that are the same as objectives, or the nearest, and batches for both."""

from bench.counterparts import labels, numbers, pairs, responses
from bench.counterparts.case import Case, Side, learned

CASES: dict[str, Case] = labels.CASES | numbers.CASES | pairs.CASES | responses.CASES

__all__ = ["CASES", "Case", "Side", "learned"]
