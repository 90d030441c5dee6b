"""A run's signature: a hash of what it means.

It covers the composed config without paths, tracking and search space; the content of the data
files; and the source of every class and function that the config names, with all that these use
of this project or of the user's own files. An edited loss or another file is another run; an
edited comment is not. Nothing is imported to find this out.
"""

import ast
import copy
import hashlib
import json
import os
import sysconfig
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from objectives.errors import InputError
from runner.rundir import run_directory, write_whole

OURS = {"objectives", "tasks", "runner", "sweeps"}
"""Packages whose source counts even where they are installed."""

INSTALLED = {"site-packages", "dist-packages"}
"""Folders of installed libraries, whichever environment they are of."""

NO_MEANING = {"space", "paper", "claim", "root", "tracking", "files", "checkpoint_every"}
"""Keys of the config that do not change what a run computes; `files` counts by content.

`data` is no such key: the folder is a placeholder here, and `task.data` holds a set's settings.
"""


def signature(config: Mapping[str, Any], data: Path, cache_file: Path | None = None) -> str:
    """Twelve hexadecimal digits that name what a run means.

    Args:
        config: The config as plain values, paths replaced by placeholders.
        data: The folder against which relative `files` are read.
        cache_file: Where hashes of data files are kept between calls, by path, size and time.
    """
    meaning = {
        "config": canonical(config),
        "data": fingerprint(data_files(config), data, cache_file),
        "code": source_digest(targets(config)),
    }
    return hashlib.sha256(json.dumps(meaning, sort_keys=True).encode()).hexdigest()[:12]


def data_digest(config: Mapping[str, Any], data: Path, cache_file: Path | None = None) -> str:
    """Twelve hexadecimal digits that name the content of a config's data files; "" without any."""
    found = fingerprint(data_files(config), data, cache_file)
    text = json.dumps(found, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12] if found else ""


def canonical(value: Any) -> Any:
    """The value without keys that carry no meaning, and with 1 and 1.0 the same."""
    if isinstance(value, Mapping):
        return {str(k): canonical(v) for k, v in value.items() if k not in NO_MEANING}
    if isinstance(value, list | tuple):
        return [canonical(item) for item in value]
    if isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    return value


def data_files(value: Any) -> Iterator[str]:
    """Every pattern under a key `files` in a config, and the weights that it builds on."""
    if isinstance(value, Mapping):
        yield from value.get("files", [])
        runs = map(run_directory, built_on(value))
        yield from (str(run.absolute() / "checkpoint.pt") for run in runs if run)
        yield from model_files(value)
        for item in value.values():
            yield from data_files(item)


def model_files(part: Mapping[str, Any]) -> Iterator[str]:
    """The files of a pretrained model, where a config names weights or a folder that holds one."""
    if weights := part.get("checkpoint"):
        yield str(Path(weights).absolute())
    name = part.get("name")
    if name and isinstance(name, str) and (Path(name) / "config.json").is_file():
        yield from (str(f) for f in sorted(Path(name).absolute().iterdir()) if f.is_file())


def built_on(part: Mapping[str, Any]) -> Iterator[str]:
    """What names a pretrained model, by a path or a function, in a config or a term of one."""
    named = (part.get(name) for name in ("initial", *(part.get("builds_on") or ())))
    yield from (name for name in named if isinstance(name, str))


def targets(config: Any) -> tuple[str, ...]:
    """Every `_target_` in a config, and the functions that make models which it builds on."""
    return tuple(sorted(set(_targets(config))))


def _targets(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        yield from (name for name in built_on(value) if not run_directory(name))
        if isinstance(value.get("_target_"), str):
            yield value["_target_"]
        for item in value.values():
            yield from _targets(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _targets(item)


def fingerprint(files: Iterable[str], data: Path, cache_file: Path | None = None) -> dict[str, str]:
    """Hash of each data file's content.

    Patterns are relative to `data`, or `pkg://package/path`, or `minari://path` in Minari's folder.
    """
    known = _read_cache(cache_file)
    found = {}
    for pattern in filter(None, files):
        for name, file in _matching(pattern, data):
            stat = file.stat()
            key = f"{file.resolve()}:{stat.st_size}:{stat.st_mtime_ns}"
            if key not in known:
                with file.open("rb") as content:
                    known[key] = hashlib.file_digest(content, "sha256").hexdigest()
            found[name] = known[key]
    _write_cache(cache_file, known)
    return found


@cache
def source_digest(names: tuple[str, ...]) -> str:
    """Hash of the source behind dotted names, and of what it uses of its own project.

    It is that of the first look, as are the definitions: what a process has imported stays.
    """
    pieces = sorted([*key, source] for key, source in _pieces(names).items())
    return hashlib.sha256(json.dumps(pieces).encode()).hexdigest()


def own_files(names: Iterable[str]) -> list[Path]:
    """The files that hold this source."""
    files = (locate(module) for module in {module for module, _ in _pieces(names)})
    return sorted(file for file in files if file is not None)


@cache
def locate(module: str) -> Path | None:
    """The source file of a module, found without importing it."""
    path: Any = None
    spec = None
    for depth in range(module.count(".") + 1):
        spec = PathFinder.find_spec(".".join(module.split(".")[: depth + 1]), path)
        if spec is None:
            return None
        path = spec.submodule_search_locations or []
    return Path(spec.origin) if spec and spec.origin and spec.origin.endswith(".py") else None


def definition(name: str) -> ast.AST | None:
    """The syntax tree of a function or class, found without importing it."""
    module, attribute = _split(bound_at(name))
    return _definitions(module).get(attribute) if module else None


def bound_at(name: str) -> str:
    """The dotted name under which a function or class is defined; imports are followed to it."""
    module, attribute = _split(name)
    node = _definitions(module).get(attribute) if module else None
    if not isinstance(node, ast.ImportFrom):
        return name
    return bound_at(_imported(module, attribute, node))


def is_own(module: str) -> bool:
    """Whether a module belongs to this project or to the user, not to an installed library."""
    if module.split(".")[0] in OURS:
        return True
    file = locate(module)
    if file is None or file.is_relative_to(sysconfig.get_path("stdlib")):
        return False
    return INSTALLED.isdisjoint(file.parts)


def _pieces(names: Iterable[str]) -> dict[tuple[str, str], str]:
    """The definitions, by module and name, that dotted names come down to."""
    pieces: dict[tuple[str, str], str] = {}
    for name in names:
        module, attribute = _split(name)
        if module and is_own(module):
            _collect(module, attribute, pieces)
    return pieces


def _split(name: str) -> tuple[str, str]:
    """A dotted name as its module and what is in it."""
    parts = name.split(".")
    for end in range(len(parts) - 1, 0, -1):
        if locate(".".join(parts[:end])):
            return ".".join(parts[:end]), parts[end]
    return "", name


def _collect(module: str, name: str, pieces: dict[tuple[str, str], str]) -> None:
    """Add the definition of a name, and of all that it uses, to the pieces."""
    definitions = _definitions(module)
    if (module, name) in pieces or name not in definitions:
        return
    node = definitions[name]
    if isinstance(node, ast.Import | ast.ImportFrom):
        _collect_import(module, name, node, pieces)
        return
    pieces[module, name] = ast.dump(_without_docstrings(node))
    for used in {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}:
        _collect(module, used, pieces)


def _collect_import(
    module: str, name: str, node: ast.Import | ast.ImportFrom, pieces: dict[tuple[str, str], str]
) -> None:
    pieces[module, name] = found = _imported(module, name, node)
    source, _, original = found.rpartition(".")
    if isinstance(node, ast.Import) or locate(found):
        _collect_all(found, pieces)
    elif is_own(source):
        _collect(source, original, pieces)


def _imported(module: str, name: str, node: ast.Import | ast.ImportFrom) -> str:
    """The dotted name that an import in a module binds to a name."""
    original = next(a.name for a in node.names if (a.asname or a.name.split(".")[0]) == name)
    if isinstance(node, ast.Import):
        return original
    base = module.split(".")[: -node.level] if node.level else []
    return ".".join([*base, *([node.module] if node.module else []), original])


def _collect_all(module: str, pieces: dict[tuple[str, str], str]) -> None:
    if is_own(module):
        for name in _definitions(module):
            _collect(module, name, pieces)


@cache
def _definitions(module: str) -> dict[str, ast.AST]:
    """Top-level names of a module, each with the statement that binds it."""
    file = locate(module)
    if file is None:
        return {}
    try:
        tree = ast.parse(file.read_bytes())
    except SyntaxError as error:
        raise InputError(f"{file}, line {error.lineno}: {error.msg}.") from None
    return {name: statement for statement in tree.body for name in _bound_names(statement)}


def _bound_names(statement: ast.stmt) -> Iterator[str]:
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield statement.name
    elif isinstance(statement, ast.Import | ast.ImportFrom):
        yield from (alias.asname or alias.name.split(".")[0] for alias in statement.names)
    else:
        for node in ast.walk(statement):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                yield node.id


def _without_docstrings(node: ast.AST) -> ast.AST:
    node = copy.deepcopy(node)
    for inner in ast.walk(node):
        body = getattr(inner, "body", None)
        if isinstance(body, list) and body and _is_string(body[0]):
            inner.body = body[1:] or [ast.Pass()]  # type: ignore[attr-defined]
    return node


def _is_string(statement: ast.AST) -> bool:
    value = statement.value if isinstance(statement, ast.Expr) else None
    return isinstance(value, ast.Constant) and isinstance(value.value, str)


def _matching(pattern: str, data: Path) -> Iterator[tuple[str, Path]]:
    """The files that a pattern means, each by its name."""
    base, glob = _base(pattern, data)
    if (base / glob).is_file():  # a name may hold what a pattern would read as a wildcard
        yield glob, base / glob
    elif Path(glob).parts:
        anchor = Path(glob).anchor  # "" but for an absolute path
        for file in sorted((base / anchor).glob(glob.removeprefix(anchor))):
            if file.is_file():
                yield anchor + str(file.relative_to(base / anchor)), file


def _base(pattern: str, data: Path) -> tuple[Path, str]:
    scheme, found, path = pattern.partition("://")
    return SCHEMES[scheme](path) if found else (data, pattern)


def _in_package(path: str) -> tuple[Path, str]:
    package, _, rest = path.partition("/")
    spec = PathFinder.find_spec(package)
    locations = spec.submodule_search_locations if spec else None
    return Path(locations[0] if locations else os.devnull), rest


def _in_minari(path: str) -> tuple[Path, str]:
    home = Path.home() / ".minari" / "datasets"
    return Path(os.environ.get("MINARI_DATASETS_PATH", home)), path


SCHEMES = {"pkg": _in_package, "minari": _in_minari}
"""Folders that a pattern may begin with in place of `data`."""


def _read_cache(file: Path | None) -> dict[str, str]:
    try:
        return json.loads(file.read_text()) if file else {}
    except (OSError, ValueError):
        return {}


def _write_cache(file: Path | None, known: dict[str, str]) -> None:
    if file and file.parent.is_dir() and known != _read_cache(file):
        write_whole(file, json.dumps(known))
