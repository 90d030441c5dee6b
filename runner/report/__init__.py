"""What came out: the tables of a run and of a sweep, and `runner report` (see `command`)."""

from runner.report.sweep import Result, print_run, print_sweep

__all__ = ["Result", "print_run", "print_sweep"]
