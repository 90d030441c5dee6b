"""Learning curves: a metric over steps, mean and interval over seeds."""

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from runner.report.settings import Setting
from runner.statistics import quantile


class Curve(NamedTuple):
    """A metric over steps; the half-width is NaN where there is one seed."""

    steps: list[int]
    mean: np.ndarray
    half: np.ndarray


def curve(setting: Setting, metric: str, runs: Path) -> Curve:
    """A metric of a setting's finished seeds, at the steps that all of them have."""
    found = [history(runs / run.signature / "events.jsonl", metric) for run in setting.finished]
    found = [one for one in found if one]
    shared = set.intersection(*(set(one) for one in found)) if found else set()
    steps = sorted(shared)
    return Curve(steps, *band(np.array([[one[step] for step in steps] for one in found])))


def history(file: Path, metric: str) -> dict[int, float]:
    """A metric by step, the latest where a step has several."""
    wanted = f'"{metric}":'.encode()
    try:
        lines = file.read_bytes().split(b"\n")[:-1]
    except FileNotFoundError:
        return {}
    return dict(_points((json.loads(line) for line in lines if wanted in line), metric))


def _points(events: Iterable[dict], metric: str) -> Iterable[tuple[int, float]]:
    for event in events:
        if metric in event["metrics"]:
            yield event["step"], event["metrics"][metric]


def band(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and half-width of Student's 95 % interval of every column."""
    if values.ndim < 2 or not values.size:
        return np.empty(0), np.empty(0)
    count = len(values)
    mean = values.mean(0)
    if count < 2:
        return mean, np.full_like(mean, math.nan)
    return mean, quantile(count) * values.std(0, ddof=1) / math.sqrt(count)
