"""The console that every command prints to."""

import sys

from rich.console import Console

PIPE_WIDTH = 200
"""Columns where the output is no terminal: tables are read by programs there, not by eyes."""

console = Console(
    markup=False,
    highlight=False,
    soft_wrap=True,
    width=None if sys.stdout.isatty() else PIPE_WIDTH,
)
"""Standard output; text stands as it is: brackets too, not highlighted, not broken into lines."""
