"""`runner list` and `runner show`: what there is, from YAML and syntax trees alone."""

import ast

from rich.table import Table
from rich.text import Text

from objectives.errors import InputError
from runner.catalogue import (
    GROUPS,
    Option,
    declaration,
    fields,
    fits,
    option,
    options,
    record_fields,
    records,
)
from runner.console import console

BOUNDS = {"Gt": ">", "Ge": "≥", "Lt": "<", "Le": "≤", "AtMost": "≤"}


def print_list(kind: str, task: str) -> None:
    """One line for each option of a group: name, what it is, paper.

    Raises:
        InputError: The task does not exist, or something else than objectives is asked to fit it.
    """
    found = list(options(GROUPS[kind]).values())
    if task:
        if kind != "objectives":
            raise InputError("--task goes with `runner list objectives`.")
        offered = record_fields(option("task", task).config["task"])
        found = [entry for entry in found if fits(entry, offered)]
    for line in columns([(entry.name, entry.paper, entry.about) for entry in found]):
        console.print(Text(line), no_wrap=True, overflow="ellipsis", soft_wrap=False)


def print_records() -> None:
    """What an objective may ask for: records, their fields, the tasks that yield them."""
    table = Table("record", "fields", "tasks", box=None, pad_edge=False)
    for name, (members, tasks) in records().items():
        table.add_row(name, " ".join(members), " ".join(tasks))
    console.print(table)


def columns(rows: list[tuple[str, ...]]) -> list[str]:
    """Rows as aligned lines; a column that is empty throughout is left out."""
    used = [column for column in zip(*rows, strict=True) if any(column)]
    widths = [max(map(len, column)) for column in used]
    return [
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in zip(*used, strict=True)
    ]


def print_option(what: str) -> None:
    """All about one option, given as GROUP=OPTION.

    Raises:
        InputError: There is none.
    """
    group, equals, name = what.partition("=")
    if group not in GROUPS.values() or not equals:
        known = ", ".join(sorted(GROUPS.values()))
        raise InputError(f"{what} is not GROUP=OPTION; groups are {known}.")
    entry = option(group, name)
    console.print(Text.assemble((entry.name, "bold"), f"  {entry.about}"))
    if group == "objective":
        _print_objective(entry)
    else:
        console.print(entry.text)
    console.print(str(entry.file), style="dim")


def _print_objective(entry: Option) -> None:
    docstring, arguments = declaration(entry)
    console.print(f"\n{docstring}\n")
    config, space = entry.config, entry.config.get("space") or {}
    table = Table("hyperparameter", "domain", "default", "search space", box=None, pad_edge=False)
    for argument in arguments:
        if argument.arg in config:
            table.add_row(
                argument.arg,
                _domain(entry, argument),
                str(config[argument.arg]),
                str(space.get(argument.arg) or ""),
            )
    if table.row_count:
        console.print(table)
        console.print()
    tasks = [
        t.name for t in options("task").values() if fits(entry, record_fields(t.config["task"]))
    ]
    console.print(f"reads    {', '.join(fields(entry))}")
    console.print(f"fits     {', '.join(tasks) or 'no task yet'}")
    console.print(f"paper    {entry.paper}")


def _domain(entry: Option, argument: ast.arg) -> str:
    """That of a hyperparameter; of one that names a function, the names that there are."""
    names = isinstance(entry.config[argument.arg], str)
    return (names and entry.remark(argument.arg)) or domain(argument.annotation)


def domain(annotation: ast.expr | None) -> str:
    """An annotation in words: `Annotated[Scalar, Gt(0)]` is "real > 0"."""
    if annotation is None:
        return "any"
    if isinstance(annotation, ast.Subscript) and ast.unparse(annotation.value) == "Annotated":
        kind, *bounds = annotation.slice.elts  # type: ignore[attr-defined]
        return " ".join([domain(kind), *map(_bound, bounds)])
    return {"Scalar": "real", "float": "real"}.get(ast.unparse(annotation), ast.unparse(annotation))


def _bound(node: ast.expr) -> str:
    if isinstance(node, ast.Call) and ast.unparse(node.func) in BOUNDS:
        limit = ast.unparse(node.args[0]).strip("'")
        return f"{BOUNDS[ast.unparse(node.func)]} {limit}"
    if isinstance(node, ast.Call) and ast.unparse(node.func) == "Interval":
        ends = ((BOUNDS[str(end.arg).capitalize()], end.value) for end in node.keywords)
        return " ".join(f"{sign} {ast.unparse(limit)}" for sign, limit in ends)
    return ast.unparse(node)
