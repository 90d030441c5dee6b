"""The page of a report in a real browser."""

import sys
from pathlib import Path

import pytest

from .browser import browsing
from .commands import CHECKOUT, call

sys.path.insert(0, str(Path(__file__).parents[1] / "runner"))
from made import make_run

pytestmark = pytest.mark.full

NASTY = "<script>document.title = 'taken'</script>"

SEEN = """
return [...document.images].map(image => image.complete && image.naturalWidth > 300)
"""


def test_the_page_shows_its_tables_and_plots_and_runs_no_script(tmp_path):
    for task in ("digits", "<b>bold</b>"):
        for seed in range(6):
            events = [(step, {"val/accuracy": 0.1 * step}) for step in (1, 2)]
            for tau in (0.1, 0.5):
                ends = {"val": tau, "test": tau + 0.01 * seed, "events": events}
                make_run(tmp_path, task, "ldr", seed, tau=tau, **ends)
            make_run(tmp_path, task, NASTY, seed, val=0.3, test=0.3, events=events)
    words = (sys.executable, "-m", "runner.cli", "report", f"root={tmp_path}")
    call(*words, cwd=tmp_path, PYTHONPATH=str(CHECKOUT))
    with browsing() as browser:
        browser.open(f"file://{tmp_path}/report/report.html")
        browser.has_text("<b>bold</b>: mean ± 95 % confidence interval over seeds")
        assert browser.driver.title == "runner report: all runs"
        assert NASTY in browser.text()
        assert "0.525 ± 0.02" in browser.text()  # mean of 0.5 … 0.55; 2.5706 · 0.018708 / √6
        assert len(browser.all("//table")) == 4
        assert browser.all("//td[text()='worse']") or browser.all("//td[text()='better']")
        assert browser.driver.execute_script(SEEN) == [True] * 4
        overflow = "return document.documentElement.scrollWidth <= window.innerWidth"
        assert browser.driver.execute_script(overflow)
