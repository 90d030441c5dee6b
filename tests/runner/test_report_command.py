"""`runner report`: what it selects, prints and writes."""

import csv
import html
import io
import json
import re
import subprocess
import sys

import pytest
from made import make_run, make_sweep

from runner.report.formats import latex_cell
from runner.sweepdir import SweepDir

NASTY = '<b>&"_$x$|'


@pytest.fixture
def runs(root):
    """Two tasks, two objectives, three seeds; ldr at two temperatures, best at 0.5."""
    made = {}
    for task in ("a", "b"):
        for seed in range(3):
            events = [(step, {"val/accuracy": 0.1 * step + 0.01 * seed}) for step in (1, 2)]
            given = {"events": events, "space": {"tau": {"log": [0.05, 5]}}}
            for tau in (0.1, 0.5):
                ends = {"val": tau, "test": tau + 0.1 * seed}
                made[task, "ldr", tau, seed] = make_run(
                    root, task, "ldr", seed, tau=tau, **ends, **given
                )
            made[task, "mae", None, seed] = make_run(
                root, task, "mae", seed, val=0.3, test=0.4, experiment="old", **given
            )
    return made


def rows(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_csv_has_a_line_a_setting_and_metric(command, runs):
    said = command("report", "--csv")
    lines = rows(said.out)
    found = [
        r for r in lines if (r["task"], r["tau"], r["metric"]) == ("a", "0.5", "test/accuracy")
    ]
    (line,) = found
    # 0.5, 0.6, 0.7: mean 0.6, standard deviation 0.1, half as in the tests of verdicts
    assert float(line["mean"]) == pytest.approx(0.6)
    assert float(line["half_width"]) == pytest.approx(0.248414, rel=1e-5)
    assert (line["best"], line["current"], line["finished"], line["seeds"]) == (
        "True",
        "True",
        "3",
        "3",
    )
    assert line["data"] == "d" * 12
    assert len(line["code"]) == 64
    assert {r["tau"] for r in lines if r["best"] == "True"} == {"0.5", ""}
    assert len(lines) == 2 * 3 * 2


def test_json_holds_every_run_and_comparison(command, runs, root):
    make_run(root, "b", "mae", 3, val=float("nan"), test=float("inf"))
    whole = json.loads(command("report", "--json").out)
    assert len(whole["settings"]) == 6
    assert sum(len(setting["runs"]) for setting in whole["settings"]) == 19
    pair = whole["comparisons"][0]
    # ldr at 0.5 has 0.5, 0.6, 0.7, mae 0.4: differences 0.1, 0.2, 0.3; all of one sign: p = 2/2^3
    assert (pair["one"], pair["other"], pair["verdict"]) == ("ldr", "mae", "too few seeds")
    assert pair["difference"]["mean"] == pytest.approx(0.2)
    assert pair["p"] == pytest.approx(0.25)
    assert "NaN" not in json.dumps(whole)


def test_markdown_tables_have_cells_enough(command, runs):
    lines = [li for li in command("report", "--markdown").out.splitlines() if li.startswith("|")]
    header = [cell.strip() for cell in lines[0].strip("|").split("|")]
    assert header == ["objective", "tau", "", "seeds", "test/accuracy", "val/accuracy"]
    best = [cell.strip() for cell in lines[3].strip("|").split("|")]
    assert best == ["ldr", "0.5", "best", "3 of 3", "0.6 ± 0.25", "0.5 ± 0"]


def test_latex_has_tables_and_escapes(command, runs):
    text = command("report", "--latex").out
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == 4
    assert r"\textbf{0.6 $\pm$ 0.25}" in text
    assert latex_cell(r"a_b & 5% \x") == r"a\_b \& 5\% \textbackslash{}x"


def test_formats_write_no_file(command, runs, root):
    command("report", "--csv")
    assert not (root / "report").exists()


def test_tables_plots_and_page_of_all_runs(command, runs, root):
    said = command("report")
    assert said.code == 0, said.err
    assert "report/report.html" in said.out
    assert "0.6 ± 0.25" in said.out
    plots = {file.name for file in (root / "report").glob("*.png")}
    expected = {"learning_curves", "against_tau", "objective_task", "pareto"}
    assert plots == {f"{name}.png" for name in expected}


def test_the_page_holds_every_table_and_plot_and_needs_nothing_else(command, runs, root):
    said = command("report", "--markdown")
    command("report")
    page = (root / "report" / "report.html").read_text()
    text = html.unescape(page)
    titles = re.findall(r"^### (.*)$", said.out, re.M)
    assert len(titles) == 4
    for title in titles:
        assert f">{title.replace(chr(92), '')}</h2>" in text
    assert page.count("<table>") == 4
    assert page.count('src="data:image/png;base64,') == 4
    assert not re.search(r"""(src|href)=["'](?!data:|#)""", page)


def test_a_name_with_markup_is_text(command, root):
    for objective in (NASTY, "mae"):
        for task in (NASTY, "[bold]a[/bold]"):
            for value in ("<i>", "$y$"):
                make_run(root, task, objective, 0, val=0.5, test=0.5, way=value)
    said = command("report")
    assert said.code == 0, said.err
    assert NASTY in said.out
    assert "[bold]a[/bold]" in said.out
    page = (root / "report" / "report.html").read_text()
    assert "<b>" not in page
    assert "<i>" not in page
    assert html.escape(NASTY, quote=False).replace('"', "&#34;") in page


def test_a_sweeps_report_lies_beside_it_and_has_its_members_alone(command, runs, root):
    members = [path for (task, objective, *_), path in runs.items() if task == "a"]
    make_sweep(root, "abc123", members)
    make_sweep(root, "abd456", members[:1])
    assert {row["task"] for row in rows(command("report", "--csv", "abc").out)} == {"a"}
    command("report", "abc1")
    assert (root / "sweeps" / "abc123" / "report" / "report.html").exists()
    assert not (root / "report").exists()
    assert "sweeps abc123, abd456" in command("report", "ab").err


SELECTIONS = {
    "a task": (["a"], {("a", "ldr"), ("a", "mae")}),
    "an objective": (["mae"], {("a", "mae"), ("b", "mae")}),
    "an experiment": (["old"], {("a", "mae"), ("b", "mae")}),
    "several": (["a", "mae"], {("a", "ldr"), ("a", "mae"), ("b", "mae")}),
}


@pytest.mark.parametrize(("words", "expected"), SELECTIONS.values(), ids=SELECTIONS.keys())
def test_words_select_runs(command, runs, words, expected):
    lines = rows(command("report", "--csv", *words).out)
    assert {(line["task"], line["objective"]) for line in lines} == expected


BAD = {
    "what is not there": (
        ["report", "nothing"],
        "nothing to report on; there are tasks a, b; objectives ldr, mae; experiments old",
    ),
    "an empty root": (["report", "root=elsewhere"], "there are no runs under elsewhere"),
    "one axis": (["report", "--metric", "nll"], "--metric is given twice"),
    "an unknown axis": (
        ["report", "--metric", "accuracy", "--metric", "loss:min"],
        "--metric loss is none of the runs' metrics: test/accuracy",
    ),
    "an axis's aim": (
        ["report", "--metric", "accuracy:up", "--metric", "accuracy"],
        "--metric accuracy:up: what comes after the colon is min or max",
    ),
    "a flag": (["report", "--frobnicate"], "No such option"),
    "a key": (["report", "tau=1"], "tau=1 is not one of root=..."),
}


@pytest.mark.parametrize(("words", "message"), BAD.values(), ids=BAD.keys())
def test_bad_input_gets_one_message(command, runs, words, message):
    said = command(*words)
    assert said.code != 0
    assert message in said.err
    assert "Traceback" not in said.err


def test_where_nothing_has_finished_there_is_still_a_report(command, root):
    make_run(root, "a", "ldr", 0, state="failed")
    said = command("report")
    assert said.code == 0, said.err
    assert "0 of 1" in said.out
    assert "1 failed" in said.out


def test_formats_import_neither_torch_nor_matplotlib(root, runs):
    script = (
        "import sys; from runner.cli import main\n"
        "try: main()\n"
        "except SystemExit as stop: assert not stop.code\n"
        "assert not {'torch', 'matplotlib', 'mlflow', 'hydra'} & set(sys.modules)"
    )
    words = [sys.executable, "-c", script, "report", "--csv", f"root={root}"]
    subprocess.run(words, check=True, capture_output=True)


def test_a_search_is_reported_with_the_runs_that_came_later(command, root, runs):
    sweep = SweepDir(root / "sweeps" / "5ea4c4")
    sweep.plan([], ["tau=interval(0,1)"], search={"metrics": ["a"], "directions": ["maximize"]})
    sweep.add(path.name for key, path in runs.items() if key[:2] == ("a", "ldr"))
    lines = rows(command("report", "5ea4c4", "--csv").out)
    assert {(line["task"], line["objective"]) for line in lines} == {("a", "ldr")}


def test_what_cannot_be_read_is_named(command, root, runs):
    damaged = next(iter(runs.values()))
    (damaged / "run.json").write_text("{")
    said = command("report", "--csv")
    assert f"left out, since they cannot be read: {damaged.name}" in said.err
    assert said.code == 0
