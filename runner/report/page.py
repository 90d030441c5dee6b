"""One page with all of a report in it: it needs no other file and no network."""

import base64
import time
from collections.abc import Sequence
from importlib.resources import files

from jinja2 import Environment

from runner.report.plots import Plot
from runner.report.tables import Report, origin


def page(report: Report, plots: Sequence[Plot]) -> str:
    """The page as HTML."""
    environment = Environment(autoescape=True)
    environment.filters["base64"] = lambda content: base64.b64encode(content).decode()
    template = environment.from_string(files(__package__).joinpath("page.html").read_text("utf-8"))
    return template.render(
        report=report,
        sheets=report.sheets,
        plots=plots,
        runs=sum(len(setting.runs) for setting in report.settings),
        made=time.strftime("%Y-%m-%d %H:%M"),
        origin=origin(report.settings),
    )
