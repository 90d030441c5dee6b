"""What there is to run, read from YAML and syntax trees: nothing heavy is imported."""

import ast
import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from objectives.errors import InputError
from runner.identity import bound_at, definition

CONF = Path(__file__).parents[1] / "conf"
GROUPS = {
    "tasks": "task",
    "models": "model",
    "objectives": "objective",
    "optimizers": "optimizer",
    "schedules": "schedule",
    "algorithms": "algorithm",
    "augmentations": "augmentation",
    "noises": "noise",
    "imbalances": "imbalance",
    "batch_samplers": "sampler",
    "participations": "participation",
    "diagnostics": "diagnostic",
    "launchers": "hydra/launcher",
    "sweepers": "hydra/sweeper",
    "samplers": "hydra/sweeper/sampler",
    "pruners": "hydra/sweeper/pruner",
    "experiments": "experiment",
}
YAML = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class Option:
    """One option of a config group: `name`, its line, and the file it is from."""

    group: str
    name: str
    file: Path

    @property
    def text(self) -> str:
        return self.file.read_text()

    @property
    def about(self) -> str:
        """The first comment that is not a directive."""
        comments = (line[1:].strip() for line in self.text.splitlines() if line.startswith("#"))
        return next((line for line in comments if not line.startswith("@")), "")

    @property
    def config(self) -> dict[str, Any]:
        """What the file says, and before it the files of its group that it builds on."""
        try:
            own: dict[str, Any] = yaml.load(self.text, YAML) or {}
        except yaml.YAMLError as error:
            raise InputError(f"{self.file} is no valid YAML: {error}") from None
        for base in self._bases(own):
            own = _merged(base.config, own)
        return own

    def remark(self, key: str) -> str:
        """The comment beside a key of the top level, here or in a file that this one builds on."""
        found = re.search(rf"^{key}:[^#\n]*#\s*(.*)$", self.text, re.MULTILINE)
        remarks = (base.remark(key) for base in self._bases(yaml.load(self.text, YAML) or {}))
        return found[1] if found else next(filter(None, remarks), "")

    def _bases(self, own: Mapping[str, Any]) -> list["Option"]:
        names = (entry for entry in own.get("defaults", []) if isinstance(entry, str))
        return [
            Option(self.group, name, self.file.parent / f"{name}.yaml")
            for name in names
            if name != "_self_"
        ]

    @property
    def target(self) -> str:
        """The dotted name of the objective that the file configures."""
        node = self.config.get("objective")
        if not isinstance(node, dict) or "_target_" not in node:
            raise InputError(f"{self.file} names no objective._target_.")
        return str(node["_target_"])

    @property
    def paper(self) -> str:
        """The paper that the file names, or its claim."""
        config = self.config
        claim = config.get("claim")
        return str(
            config.get("paper") or (claim.get("paper", "") if isinstance(claim, dict) else "")
        )


def search_path() -> list[Path]:
    """Our own conf/ and, where there is one, that of the working directory."""
    users = Path("conf").resolve()
    return [CONF, users] if users.is_dir() and users != CONF else [CONF]


def options(group: str) -> dict[str, Option]:
    """The options of a config group, by name; ours come before the user's of the same name."""
    found: dict[str, Option] = {}
    for folder in search_path():
        for file in sorted((folder / group).glob("*.yaml")):
            found.setdefault(file.stem, Option(group, file.stem, file))
    return dict(sorted(found.items()))


def option(group: str, name: str) -> Option:
    """One option of a config group.

    Raises:
        InputError: There is none of that name.
    """
    known = options(group)
    if name not in known:
        raise InputError(unknown(f"{group}={name}", name, known))
    return known[name]


def unknown(given: str, name: str, known: Mapping[str, Any] | list[str]) -> str:
    """A message for a name that is not known, with the nearest that is."""
    import difflib

    near = difflib.get_close_matches(name, known, n=1)
    hint = f" Did you mean {given.replace(name, near[0])}?" if near else ""
    return f"{given} does not exist.{hint}\nThere are: {', '.join(known) or 'none'}."


def fitting_objectives(task: Mapping[str, Any]) -> list[str]:
    """Names of the objectives whose fields some protocol of a task yields."""
    offered = record_fields(task)
    return [name for name, entry in options("objective").items() if fits(entry, offered)]


def fits(objective: Option, offered: list[set[str]]) -> bool:
    """Whether some record has every field of an objective."""
    needed = set(fields(objective))
    return any(needed <= record for record in offered)


def record_fields(task: Mapping[str, Any]) -> list[set[str]]:
    """The fields of each record that a task's protocols yield."""
    return [set(_members(_record(p["_target_"]))) for p in task["protocols"]]


def records() -> dict[str, tuple[tuple[str, ...], list[str]]]:
    """The fields of each record that some task yields, and those tasks."""
    found: dict[str, tuple[tuple[str, ...], list[str]]] = {}
    for name, entry in options("task").items():
        yields = (_record(p["_target_"]) for p in entry.config["task"]["protocols"])
        for record in dict.fromkeys(yields):
            found.setdefault(record.rpartition(".")[2], (_members(record), []))[1].append(name)
    return dict(sorted(found.items()))


def fields(objective: Option) -> list[str]:
    """The record fields that an objective's signature asks for, and those of its default terms."""
    node = definition(objective.target)
    function = _method(node, "forward") if isinstance(node, ast.ClassDef) else node
    own = function.args.args if isinstance(function, ast.FunctionDef) else []
    named = [argument.arg for argument in own if argument.arg != "self"]
    for term in default_terms(objective):
        named += fields(option("objective", term))
    return list(dict.fromkeys(named))


def default_terms(objective: Option) -> list[str]:
    """The objectives that a combinator's defaults list mounts as terms."""
    entries = (d for d in objective.config.get("defaults", []) if isinstance(d, dict))
    return [n for entry in entries for key, n in entry.items() if key.startswith("/objective@")]


def declaration(objective: Option) -> tuple[str, list[ast.arg]]:
    """The docstring of an objective and its hyperparameters with their annotations."""
    node = definition(objective.target)
    function = _method(node, "__init__") if isinstance(node, ast.ClassDef) else node
    if not isinstance(node, ast.ClassDef | ast.FunctionDef):
        return "", []
    arguments = function.args.kwonlyargs if isinstance(function, ast.FunctionDef) else []
    return ast.get_docstring(node) or "", arguments


def _merged(base: Any, own: Any) -> Any:
    """Two configs, the second over the first, as Hydra merges them: lists are replaced."""
    if not (isinstance(base, dict) and isinstance(own, dict)):
        return own
    return base | {key: _merged(base.get(key), value) for key, value in own.items()}


@cache
def _record(protocol: str) -> str:
    """The dotted name of the record that a protocol class names in `record = ...`."""
    node = definition(protocol)
    for statement in node.body if isinstance(node, ast.ClassDef) else []:
        if re.match(r"record( = |: )", ast.unparse(statement)):
            return _beside(protocol, ast.unparse(statement).rpartition(" = ")[2])
    raise InputError(f"{protocol} is no protocol class with a record of its own.")


@cache
def _members(record: str) -> tuple[str, ...]:
    """Fields and properties of a record class, those of its bases before its own."""
    node = definition(record)
    assert isinstance(node, ast.ClassDef)
    own = (
        ast.unparse(statement.target) if isinstance(statement, ast.AnnAssign) else statement.name
        for statement in node.body
        if isinstance(statement, ast.FunctionDef | ast.AnnAssign)
    )
    bases = (base.id for base in node.bases if isinstance(base, ast.Name))
    inherited = (_members(_beside(record, base)) for base in bases)
    return (*itertools.chain.from_iterable(inherited), *own)


def _beside(name: str, other: str) -> str:
    """The dotted name of what is called `other` where the definition of `name` stands."""
    return bound_at(f"{bound_at(name).rpartition('.')[0]}.{other}")


def _method(node: ast.AST | None, name: str) -> ast.FunctionDef | None:
    body = node.body if isinstance(node, ast.ClassDef) else []
    return next((n for n in body if isinstance(n, ast.FunctionDef) and n.name == name), None)
