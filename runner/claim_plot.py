"""The picture of a claim whose arms are a sweep: its metric against what is swept."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any, NamedTuple

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from runner.claim import Claim
from runner.report.plots import COLOURS, MARKERS, STYLE, png
from runner.report.series import WIDE
from runner.statistics import Interval
from runner.verdict import Arm

UNCHANGED = "without other overrides"


class Series(NamedTuple):
    """Arms that differ in nothing but what is swept.

    Attributes:
        label: What they have in common.
        points: Value of what is swept and metric; the value is NaN for an arm that has none.
    """

    label: str
    points: Sequence[tuple[float, Interval]]


def series(claim: Claim, found: Mapping[str, Arm]) -> list[Series]:
    """The arms as lines over the values of what is swept, and each arm without one by itself."""
    lines: dict[tuple[str, bool], list[tuple[float, Interval]]] = defaultdict(list)
    for name, words in claim.arms.items():
        own = [word for word in words if word.startswith(f"{claim.swept}=")]
        label = " ".join(word for word in words if word not in own)
        value = float(own[0].partition("=")[2]) if own else math.nan
        if math.isfinite(found[name].mean.mean):
            lines[label, bool(own)].append((value, found[name].mean))
    return [Series(label, sorted(points)) for (label, _), points in lines.items()]


def picture(claim: Claim, found: Mapping[str, Arm]) -> bytes:
    """The metric against what is swept, as a PNG file."""
    lines = series(claim, found)
    values = sorted({v for line in lines for v, _ in line.points if math.isfinite(v)})
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(5.2, 3.4), layout="constrained")
        panel = figure.subplots()
        for line, colour, marker in zip(lines, cycle(COLOURS), cycle(MARKERS), strict=False):
            _draw(panel, line, color=colour, label=line.label or UNCHANGED, marker=marker)
        _scale(panel, values)
        panel.set(xlabel=claim.swept, ylabel=claim.metric)
        if len(lines) > 1:
            panel.legend(fontsize=7, framealpha=0.6)
        return png(figure)


def _draw(panel: Axes, line: Series, marker: str, **look: Any) -> None:
    values, means = zip(*line.points, strict=True)
    if math.isnan(values[0]):  # an arm without it: a level
        low, high = (means[0].mean - means[0].half, means[0].mean + means[0].half)
        panel.axhline(means[0].mean, linestyle=":", **look)
        panel.axhspan(low, high, color=look["color"], alpha=0.08, linewidth=0)
    else:
        bars = [mean.half for mean in means]
        heights = [mean.mean for mean in means]
        panel.errorbar(values, heights, bars, marker=marker, markersize=4, capsize=3, **look)


def _scale(panel: Axes, values: Sequence[float]) -> None:
    """A logarithmic axis for a wide range of values; 0 may be one of them."""
    above = [value for value in values if value > 0]
    if not above or values[0] < 0 or above[-1] / above[0] < WIDE:
        return
    if len(above) == len(values):
        panel.set_xscale("log")
    else:
        panel.set_xscale("symlog", linthresh=above[0])
    panel.minorticks_off()
    panel.set_xticks(values, [f"{value:.3g}" for value in values])
