"""`runner doctor`: what this machine has, and what a run could not use."""

import importlib.util
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from rich.table import Table

from runner.console import console
from runner.places import places

EXTRAS = {"nlp": ["transformers", "peft"], "rl": ["gymnasium"]}
CORE = ("runner", "torch", "hydra-core", "omegaconf", "mlflow", "optuna", "scikit-learn")


def examine(given: tuple[str, ...]) -> None:
    """Print a table of what there is."""
    where = places(given)
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold")
    table.add_column()
    for name, value in findings(Path(where["root"]), where["tracking"]):
        table.add_row(name, value)
    console.print(table)


def findings(root: Path, tracking: str) -> Iterator[tuple[str, str]]:
    """Name and state of each thing that a run may need."""
    import torch

    from runner.environment import environment, versions

    machine = environment()
    yield "python", f"{machine['python']} on {machine['platform']}"
    for package, version in versions(CORE).items():
        yield package, version or "missing"
    yield "cpu", f"{machine['cpus']} cores, {machine['threads']} threads in a run"
    yield "gpu", ", ".join(machine["gpus"]) or f"none (torch {torch.__version__})"
    for extra, modules in EXTRAS.items():
        missing = [module for module in modules if importlib.util.find_spec(module) is None]
        yield (
            f"extra {extra}",
            f"missing: pip install 'runner[{extra}]'" if missing else "installed",
        )
    yield (
        "root",
        f"{root.absolute()} ({'writable' if os.access(root, os.W_OK) else 'not writable'})",
    )
    yield "disk", f"{shutil.disk_usage(root).free / 2**30:.0f} GiB free"
    yield "tracking", f"{tracking} ({store_state(tracking)})" if tracking else "off"
    yield "slurm", shutil.which("sbatch") or "no sbatch on the PATH"


def store_state(uri: str) -> str:
    """Whether a tracking store answers."""
    if uri.startswith("sqlite:///"):
        return "there" if Path(uri.removeprefix("sqlite:///")).exists() else "made by the first run"
    if not uri.startswith("http"):
        return "not looked at"
    import urllib.error
    import urllib.request

    try:
        with urllib.request.urlopen(f"{uri.rstrip('/')}/health", timeout=3) as answer:
            return "answers" if answer.status == 200 else f"answers with {answer.status}"
    except (OSError, urllib.error.URLError) as error:
        return f"does not answer: {error}"
