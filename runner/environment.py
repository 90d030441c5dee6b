"""The code, the versions and the machine that a run used."""

import getpass
import importlib.metadata
import json
import os
import platform
import shutil
import sys
import time
from functools import cache
from pathlib import Path
from typing import Any

import torch

from runner.git import git
from runner.identity import own_files, source_digest
from runner.rundir import write_whole

PACKAGES = ("runner", "torch", "hydra-core", "mlflow", "numpy", "scikit-learn", "gymnasium")

CODE_STATE = "RUNNER_CODE_STATE"
"""Variable that names a file with the code's state, for jobs that run a copy of it."""


def remember(targets: tuple[str, ...]) -> None:
    """Find out once what every worker of a server would find out, before they are made."""
    code_state(Path.cwd())
    versions(PACKAGES)
    untracked(targets)
    source_digest(targets)
    platform.platform()  # asks another program, once


def record_environment(path: Path, targets: tuple[str, ...]) -> None:
    """Append this attempt's environment to `environment.json`, and keep the code that it runs.

    What git has not committed is in `code.diff`; files that it does not track are copied.

    Args:
        path: The run's directory.
        targets: The dotted names that the config instantiates.
    """
    file = path / "environment.json"
    attempts = json.loads(file.read_text()) if file.exists() else []
    commit, diff = code_state(Path.cwd())
    attempts.append(environment() | {"git_commit": commit, "time": time.time()})
    write_whole(file, json.dumps(attempts, indent=1))
    write_whole(path / "code.diff", diff)
    for source in untracked(targets):
        (path / "code").mkdir(exist_ok=True)
        shutil.copy(source, path / "code" / source.name)


def environment() -> dict[str, Any]:
    """Versions, hardware and thread count."""
    return {
        "command": sys.argv,
        "python": platform.python_version(),
        "packages": versions(PACKAGES),
        "platform": platform.platform(),
        "host": platform.node(),
        "user": getpass.getuser(),
        "cpus": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpus": [torch.cuda.get_device_name(n) for n in range(torch.cuda.device_count())],
    }


@cache
def versions(packages: tuple[str, ...]) -> dict[str, str | None]:
    """The installed version of each package; None where there is none."""

    def version(package: str) -> str | None:
        try:
            return importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            return None

    return {package: version(package) for package in packages}


@cache
def untracked(targets: tuple[str, ...]) -> list[Path]:
    """The source files behind dotted names that git does not track and no package brought."""
    return [
        file
        for file in own_files(targets)
        if "site-packages" not in file.parts and not git(file.parent, "ls-files", file.name)
    ]


@cache
def code_state(user: Path) -> tuple[str, str]:
    """Commits and uncommitted changes of the runner's repository and of the user's."""
    if CODE_STATE in os.environ:
        commit, diff = json.loads(Path(os.environ[CODE_STATE]).read_text())
        return commit, diff
    repositories = {
        git(folder, "rev-parse", "--show-toplevel").strip()
        for folder in (Path(__file__).parent, user)
    } - {""}
    commits, diffs = [], []
    for repository in sorted(repositories):
        commits.append(git(Path(repository), "rev-parse", "HEAD").strip())
        diffs.append(git(Path(repository), "diff", "HEAD"))
    return " ".join(filter(None, commits)), "".join(diffs)
