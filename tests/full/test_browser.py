"""MLflow's pages on the results, in a real browser."""

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from runner.rundir import RunDir, read_json

from .browser import Browser, browsing
from .commands import BIN, CHECKOUT, free_port, history, runner, runs_of, serving
from .mlflow_view import View, default_store

pytestmark = pytest.mark.full

PICTURE = CHECKOUT / "docs" / "mlflow.png"
PICTURED = "task=digits objective=ldr,cross_entropy -m tau=0.1,0.5,1.0 seed=0,1,2"
COLUMNS = ("test/accuracy", "test/nll")
DEFAULT_COLUMNS = ("Dataset", "Source", "Models")

TITLE = "//h2 | //h1"
ASSISTANT = '//*[@data-component-id="mlflow.assistant.chat_panel.close"]'
COLUMN_MENU = '(//*[@data-testid="column-selection-dropdown"])[1]'
COLUMN = '//*[contains(@class, "tree")]//*[normalize-space(text())="{}"]'
ROW = '//*[@role="row"][.//*[normalize-space(text())="{}"]]'
OPENER = ROW + '//button[contains(@data-component-id, "runnamecellrenderer")]'
EDGE = (
    '//*[@role="columnheader"][.//*[@data-testid="sort-header-{}"]]'
    '//*[contains(@class, "ag-header-cell-resize")]'
)
CHARTS = """
return [...document.querySelectorAll('.js-plotly-plot')].map(
    chart => [[...chart.data[0].x], [...chart.data[0].y]]
)
"""


@contextmanager
def ui_on(root: Path, log: Path) -> Iterator[str]:
    """`runner ui`; gives its address."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with serving([str(BIN / "runner"), "ui", f"root={root}", f"port={port}"], url, log):
        yield url


@pytest.fixture(scope="module")
def url(swept: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with ui_on(swept, tmp_path_factory.mktemp("ui")) as address:
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsing() as opened:
        yield opened


def test_experiments_page_shows_the_task(browser: Browser, url: str) -> None:
    browser.open(f"{url}/#/experiments")
    browser.find('//a[normalize-space(.)="digits"]')


def test_runs_page_shows_the_sweep_as_a_tree(browser: Browser, url: str, swept: Path) -> None:
    unfold_runs(browser, url, swept)
    shown = browser.text()
    for run in runs_of(swept):
        assert run.run["name"] in shown
        for column in COLUMNS:
            assert str(run.status["metrics"][column]) in shown
    assert "7 matching runs" in shown
    assert "years ago" not in shown


def test_chart_of_a_run(browser: Browser, url: str, swept: Path) -> None:
    run = runs_of(swept)[0]
    seen = View(default_store(swept)).of(run).info
    browser.open(f"{url}/#/experiments/{seen.experiment_id}/runs/{seen.run_id}/model-metrics")
    browser.find('//*[contains(@class, "js-line")]')
    browser.has_text(f"{run.run['name']} (train/loss)")
    assert curve(run, "train/loss") in browser.driver.execute_script(CHARTS)


def test_page_is_for_this_machine_alone(url: str) -> None:
    """A server on every interface would answer on all of 127.0.0.0/8 too."""
    port = int(url.rpartition(":")[2])
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", port), timeout=5)


@pytest.mark.skipif("SCREENSHOT" not in os.environ, reason="made when SCREENSHOT is set")
def test_picture_for_the_documentation(browser: Browser, tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    runner(PICTURED, root)
    with ui_on(root, tmp_path) as address:
        unfold_runs(browser, address, root)
        browser.click('//*[@aria-label="Toggle sidebar"]')
        for column, width in {"Run Name": 250, "test/accuracy": 60, "test/nll": 60}.items():
            browser.drag(EDGE.format(column), width)
        browser.click(TITLE)  # away from what explains itself under the pointer
        time.sleep(2)  # until nothing moves
        PICTURE.parent.mkdir(exist_ok=True)
        browser.picture(PICTURE)


def unfold_runs(browser: Browser, url: str, root: Path) -> None:
    """The table of runs with every sweep and setting unfolded, and the columns of interest."""
    experiment = View(default_store(root)).of(runs_of(root)[0]).info.experiment_id
    order = "orderByKey=attributes.start_time&orderByAsc=true"
    browser.open(f"{url}/#/experiments/{experiment}/runs?{order}")
    browser.find(ROW.format(sweep_name(root)))
    if browser.all(ASSISTANT):
        browser.click(ASSISTANT)
    browser.click(COLUMN_MENU)
    for column in (*DEFAULT_COLUMNS, *COLUMNS):
        browser.click(COLUMN.format(column))
    browser.click(TITLE)
    unfold(browser, sweep_name(root))
    for setting in dict.fromkeys(run.run["setting"] for run in runs_of(root)):
        unfold(browser, setting)
    for run in runs_of(root):
        browser.find(ROW.format(run.run["name"]))


def unfold(browser: Browser, name: str) -> None:
    browser.click(OPENER.format(name))


def sweep_name(root: Path) -> str:
    (file,) = (root / "sweeps").glob("*/manifest.json")
    return " ".join(read_json(file)["overrides"])


def curve(run: RunDir, name: str) -> list[list[Any]]:
    """Steps and values of a metric."""
    points = [(step, metrics[name]) for step, metrics in history(run) if name in metrics]
    return [[step for step, _ in points], [value for _, value in points]]
