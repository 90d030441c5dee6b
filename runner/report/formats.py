"""A report as text for other programs: CSV, LaTeX, Markdown, JSON."""

import csv
import io
import json
import math
from collections.abc import Callable, Iterator
from typing import Any

from runner.report.settings import MISSING, Setting, shown
from runner.report.tables import Report, Sheet, metric_names
from runner.report.verdicts import Pair
from runner.statistics import Interval

LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "±": r"$\pm$",
    "−": "$-$",
}


def as_csv(report: Report) -> str:
    """One line a setting and metric; digests whole, numbers at full precision."""
    keys = list(report.settings[0].values) if report.settings else []
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    fixed = ["task", "objective", "model"]
    counted = ["code", "data", "current", "best", "finished", "planned"]
    writer.writerow([*fixed, *keys, *counted, "metric", "mean", "half_width", "seeds"])
    for setting in report.settings:
        told = [setting.task, setting.objective, setting.model]
        told += [shown(setting.values[key]) for key in keys]
        told += map(str, _facts(report, setting).values())
        for name in metric_names([setting]) or [""]:
            found = setting.spread(name)
            numbers = ["" if math.isnan(n) else repr(n) for n in (found.mean, found.half)]
            writer.writerow([*told, name, *numbers, found.size])
    return text.getvalue()


def _facts(report: Report, setting: Setting) -> dict[str, Any]:
    return {
        "code": setting.code,
        "data": setting.data,
        "current": setting.current,
        "best": setting in report.best,
        "finished": len(setting.finished),
        "planned": len(setting.runs),
    }


def as_json(report: Report) -> str:
    """Everything, with values by seed; what is not finite is null."""
    ranks = report.ranks
    whole = {
        "report": report.name,
        "settings": [_setting(report, setting) for setting in report.settings],
        "comparisons": [_pair(pair) for pair in report.pairs],
        "ranks": None
        if ranks is None
        else {
            "tasks": [contest.name for contest in ranks.contests],
            "mean": {name: _interval(mean) for name, mean in ranks.mean.items()},
        },
    }
    return json.dumps(_finite(whole), indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def _setting(report: Report, setting: Setting) -> dict[str, Any]:
    return {
        "task": setting.task,
        "objective": setting.objective,
        "model": setting.model,
        "values": {k: v for k, v in setting.values.items() if v is not MISSING},
        **_facts(report, setting),
        "commits": sorted({run.commit for run in setting.runs} - {""}),
        "monitor": {"metric": setting.metric, "maximize": setting.maximize},
        "runs": [
            {"signature": r.signature, "seed": r.seed, "state": r.state, "metrics": r.metrics}
            for r in setting.runs
        ],
        "metrics": {name: _interval(setting.spread(name)) for name in metric_names([setting])},
    }


def _pair(pair: Pair) -> dict[str, Any]:
    return {
        "task": pair.contest.name,
        "metric": f"test/{pair.contest.metric}",
        "one": pair.one,
        "other": pair.other,
        "difference": _interval(pair.found.difference),
        "p": pair.found.p,
        "verdict": pair.word,
    }


def _interval(found: Interval) -> dict[str, float]:
    return {"mean": found.mean, "half_width": found.half, "seeds": found.size}


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def as_markdown(report: Report) -> str:
    """Pipe tables."""
    return "\n".join(_markdown(sheet) for sheet in report.sheets)


def _markdown(sheet: Sheet) -> str:
    lines = [sheet.columns, ["---"] * len(sheet.columns), *sheet.rows]
    text = "".join(f"| {' | '.join(map(_markdown_cell, line))} |\n" for line in lines)
    notes = "".join(f"\n{_markdown_cell(note)}\n" for note in sheet.notes)
    return f"### {_markdown_cell(sheet.title)}\n\n{text}{notes}"


def _markdown_cell(text: str) -> str:
    if set(text) == {"-"}:
        return text
    for char in "\\`*_[]<>|":
        text = text.replace(char, f"\\{char}")
    return text


def as_latex(report: Report) -> str:
    """Tables for the package booktabs."""
    return "\n".join(_latex(sheet) for sheet in report.sheets)


def _latex(sheet: Sheet) -> str:
    return "".join(f"{line}\n" for line in _latex_lines(sheet))


def _latex_lines(sheet: Sheet) -> Iterator[str]:
    yield r"\begin{table}"
    yield rf"\caption{{{latex_cell(sheet.title)}. {latex_cell('. '.join(sheet.notes))}.}}"
    yield rf"\begin{{tabular}}{{{'l' * len(sheet.columns)}}}"
    yield r"\toprule"
    yield _latex_row(sheet.columns)
    yield r"\midrule"
    for number, row in enumerate(sheet.rows):
        yield _latex_row(row, strong=number in sheet.strong)
    yield r"\bottomrule"
    yield r"\end{tabular}"
    yield r"\end{table}"


def _latex_row(cells: list[str], strong: bool = False) -> str:
    texts = map(latex_cell, cells)
    bold = (rf"\textbf{{{text}}}" if strong and text else text for text in texts)
    return " & ".join(bold) + r" \\"


def latex_cell(text: str) -> str:
    """Text that LaTeX sets as it stands."""
    return "".join(LATEX.get(char, char) for char in text)


FORMATS: dict[str, Callable[[Report], str]] = {
    "csv": as_csv,
    "latex": as_latex,
    "markdown": as_markdown,
    "json": as_json,
}
