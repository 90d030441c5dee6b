"""A claim's table, its page docs/claims/<id>.md, and the index of all pages."""

import math
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from rich.table import Table

from runner.catalogue import CONF
from runner.claim import Claim
from runner.console import console
from runner.rundir import write_whole
from runner.verdict import Arm, Finding, Verdict

DIGITS = 12
"""Hexadecimal digits of a digest that are shown."""

INDEX = """\
# Claims

What papers claim, in miniature, as measured here. Each is a file `conf/experiment/<id>.yaml` with
arms, seeds, a metric and the comparisons that must hold; `runner claim <id>` runs what has not been
run yet and writes its page. A comparison is a paired permutation test over the seeds that two arms
share, two-sided at 95 % confidence. A claim is **reproduced** where all its comparisons hold, **not
reproduced** where one is refuted, and else **inconclusive**: a miniature that says nothing about a
paper's own scale either way. Verdicts stay as measured. This page is made from the others, but for
what stands below the table.

{table}
"""


def print_claim(
    claim: Claim, arms: Mapping[str, Arm], findings: Iterable[Finding], found: Verdict
) -> None:
    """The arms, the comparisons and the verdict."""
    console.print(f"\n{claim.name}: {claim.says}")
    measured = Table("arm", "seeds", claim.metric)
    for name, arm in arms.items():
        measured.add_row(name, str(arm.mean.size), str(arm.mean))
    console.print(measured)
    compared = Table("must hold", "difference", "p", "")
    for finding in findings:
        compared.add_row(*_compared(finding))
    console.print(compared)
    for line in unfinished(arms):
        console.print(line)
    console.print(f"verdict at 95 % confidence: {found}", style="bold")


def write_page(
    claim: Claim, arms: Mapping[str, Arm], findings: Iterable[Finding], found: Verdict
) -> Path:
    """Write the claim's page, and the index anew; returns the page."""
    file = pages_beside(claim.file) / f"{claim.name}.md"
    file.parent.mkdir(parents=True, exist_ok=True)
    write_whole(file, page(claim, arms, list(findings), found))
    if claim.swept:
        from runner.claim_plot import picture

        png = picture(claim, arms)
        write_whole(file.with_suffix(".png"), lambda plot: plot.write(png))
    write_whole(file.parent / "README.md", index(file.parent))
    return file


def pages_beside(experiment: Path) -> Path:
    """The folder of pages beside the conf/ that an experiment is in; ./docs where we are installed.

    Args:
        experiment: The experiment's file.
    """
    home = experiment.resolve().parents[2]
    installed = home == CONF.parent and not (home / "pyproject.toml").exists()
    return (Path.cwd() if installed else home) / "docs" / "claims"


def page(claim: Claim, arms: Mapping[str, Arm], findings: list[Finding], found: Verdict) -> str:
    """The page as Markdown; the same runs give the same page."""
    parts = [
        f"# {claim.name}",
        claim.says,
        *[claim.notes] * bool(claim.notes),
        *[f"![{claim.metric} against {claim.swept}]({claim.name}.png)"] * bool(claim.swept),
        _table(["", ""], _facts(claim, arms, found)),
        "## Comparisons",
        _table(["must hold", "difference", "p", "found"], map(_compared, findings)),
        "## Arms",
        _table(["arm", "overrides", "seeds", claim.metric, "code", "data"], _settings(claim, arms)),
        "## Values by seed",
        _values(arms),
    ]
    missing = "\n".join(f"- {line}" for line in unfinished(arms))
    return "\n\n".join(parts + ["## Unfinished", missing] * bool(missing)) + "\n"


def index(folder: Path) -> str:
    """The index of the pages in a folder, with what stands below the table of the one there."""
    rows = []
    for file in sorted(folder.glob("*.md")):
        lines = file.read_text().splitlines()
        facts = dict(re.findall(r"^\| (verdict|measured) \| (.*) \|$", "\n".join(lines), re.M))
        if len(facts) == 2:
            rows.append(
                [f"[{file.stem}]({file.name})", lines[2], facts["verdict"], facts["measured"]]
            )
    table = _table(["id", "claim", "verdict", "measured"], rows)
    old = folder / "README.md"
    below = old.read_text().partition("|\n\n")[2] if old.exists() else ""
    return INDEX.format(table=table) + f"\n{below}" * bool(below)


def unfinished(arms: Mapping[str, Arm]) -> list[str]:
    """A line for each seed that says nothing."""
    return [f"{name}: {why}" for name, arm in arms.items() for why in arm.missing]


def _facts(claim: Claim, arms: Mapping[str, Arm], found: Verdict) -> list[list[str]]:
    statuses = [status for arm in arms.values() for _, status in arm.results]
    ends = [status["ended"] for status in statuses if "ended" in status]
    spent = sum(status["ended"] - status["started"] for status in statuses if "ended" in status)
    return [
        ["verdict", f"**{found}**"],
        ["measured", time.strftime("%Y-%m-%d", time.gmtime(max(ends))) if ends else "-"],
        ["paper", claim.paper or "-"],
        ["metric", f"{claim.metric}, mean ± 95 % confidence interval over seeds"],
        ["command", f"`runner claim {claim.name}`"],
        ["settings", f"`conf/experiment/{claim.file.name}`"],
        ["time of all runs", f"{spent:.0f} s" if spent < 120 else f"{spent / 60:.0f} min"],
    ]


def _settings(claim: Claim, arms: Mapping[str, Arm]) -> Iterator[list[str]]:
    for name, arm in arms.items():
        digests = [
            ", ".join(sorted({f"`{run[kind][:DIGITS]}`" for run, _ in arm.results if run[kind]}))
            for kind in ("code", "data")
        ]
        overrides = f"`{' '.join(claim.arms[name])}`"
        yield [name, overrides, str(arm.mean.size), str(arm.mean), *(d or "-" for d in digests)]


def _values(arms: Mapping[str, Arm]) -> str:
    seeds = sorted({seed for arm in arms.values() for seed in arm.values})
    rows = (
        [name, *(f"{arm.values[seed]:.4g}" if seed in arm.values else "-" for seed in seeds)]
        for name, arm in arms.items()
    )
    return _table(["arm", *map(str, seeds)], rows)


def _compared(finding: Finding) -> list[str]:
    p = "-" if math.isnan(finding.p) else f"{finding.p:.3g}"
    return [str(finding.relation), str(finding.difference), p, finding.word]


def _table(header: list[str], rows: Iterable[list[str]]) -> str:
    cells = [header, ["---"] * len(header), *rows]
    return "\n".join(
        f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in cells
    )
