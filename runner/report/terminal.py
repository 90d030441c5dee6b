"""Tables on the terminal, of which nothing is cut."""

from collections.abc import Collection, Iterator, Sequence

from rich.cells import cell_len
from rich.table import Table

from runner.console import console

FRAME = 3
"""Columns of the terminal that a cell takes beside its text."""


def print_table(
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    telling: int,
    strong: Collection[int] = (),
) -> None:
    """A table; one that is too wide for the terminal in parts, one below the other.

    Args:
        title: Above the first part.
        columns: Their names.
        rows: Their cells.
        telling: How many columns tell the rows apart; they are in every part.
        strong: Numbers of the rows to stand out.
    """
    for chosen in parts(columns, rows, telling, console.width):
        table = Table(title=title, title_justify="left")
        for column in chosen:
            table.add_column(columns[column], overflow="fold")
        for number, row in enumerate(rows):
            table.add_row(*(row[n] for n in chosen), style="bold" if number in strong else "")
        console.print(table)
        title = ""


def parts(
    columns: Sequence[str], rows: Sequence[Sequence[str]], telling: int, room: int
) -> Iterator[list[int]]:
    """The columns of each part; those that tell rows apart take half of the room at most."""
    widths = [max(map(cell_len, cells)) + FRAME for cells in zip(columns, *rows, strict=True)]
    left = room - 1 - min(sum(widths[:telling]), room // 2)
    always = list(range(telling))
    part: list[int] = []
    for number in range(telling, len(columns)):
        if part and sum(widths[n] for n in (*part, number)) > left:
            yield always + part
            part = []
        part.append(number)
    yield always + part
