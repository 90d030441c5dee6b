"""A cluster for the session, and jobs of a user's own objective for it."""

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import mkdtemp
from typing import Any
from uuid import uuid4

import hydra
import pytest

from runner.job import Job
from runner.launch import slurm
from runner.launch.slurm import Slurm

from . import cluster

CONF = Path(__file__).parents[2] / "conf"

OBJECTIVE = """
import os, signal, time
from torch.nn import functional as F

def mine(logits, labels, *, pause: float = 0.0, fails: float = 0.0):
    time.sleep(pause)
    if fails == 1:
        raise ValueError("as it were")
    if fails == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return F.cross_entropy(logits, labels, reduction="none")
"""

SMALL = ["task=digits", "device=cpu", "tracking=off", "model.width=16", "log_every=1"]


@pytest.fixture(scope="session")
def conf() -> Iterator[Path]:
    """The configuration of a cluster that runs."""
    if reason := cluster.missing():
        pytest.skip(f"no SLURM cluster here: {reason}")
    folder = Path(mkdtemp(prefix="slurm-"))
    try:
        yield cluster.start(folder)
    finally:
        cluster.stop(folder)
        shutil.rmtree(folder)


@pytest.fixture
def root(conf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with an objective of the user's, on the cluster."""
    monkeypatch.setenv("SLURM_CONF", str(conf))
    monkeypatch.setenv("PYTHONPATH", str(CONF.parent))
    monkeypatch.setattr(slurm, "ASK", 0.5)
    monkeypatch.setattr(slurm, "SETTLE", 2.0)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["runner", "as typed"])
    monkeypatch.syspath_prepend(str(tmp_path))
    module = f"mine_{uuid4().hex}"  # what was found of a module is remembered
    (tmp_path / f"{module}.py").write_text(OBJECTIVE)
    (tmp_path / "conf" / "objective").mkdir(parents=True)
    (tmp_path / "conf" / "objective" / "mine.yaml").write_text(
        "# @package _global_\n# One's own\npause: 0.0\nfails: 0.0\nspace: {}\nobjective:\n"
        f"  _target_: {module}.mine\n  _partial_: true\n"
        "  pause: ${..pause}\n  fails: ${..fails}\n"
    )
    return tmp_path


@pytest.fixture
def planned(root: Path) -> Callable[..., list[Job]]:
    """Plan one job a seed."""

    def plan(*overrides: str, seeds: int = 1) -> list[Job]:
        jobs = []
        for seed in range(seeds):
            words = [*SMALL, "objective=mine", *overrides, f"seed={seed}"]
            with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
                jobs.append(Job.of(hydra.compose("config", words, return_hydra_config=True)))
            jobs[-1].plan()
        return jobs

    return plan


@pytest.fixture
def executor(root: Path) -> Callable[..., Slurm]:
    """An executor as a launcher makes it."""

    def make(**settings: Any) -> Slurm:
        return Slurm(folder=root / "sweeps" / "it" / "slurm", code=root / "code", **settings)

    return make
