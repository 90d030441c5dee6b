"""The pool on this machine: real servers, real workers, real deaths."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import hydra
import pytest
from rich.console import Console

from objectives.errors import InputError
from runner.catalogue import CONF
from runner.job import Job
from runner.launch.pool import Limits, Pool
from runner.launch.slots import VISIBLE, slots
from runner.launch.view import Tail
from runner.launch.work import work_on
from runner.rundir import RunDir, State, last_event

LOCAL = ("task=digits", "steps=3", "-m")

TROUBLE = """
import os, pathlib, signal, sys, time
import torch
from torch.nn import functional as F

def trouble(logits, labels, *, kind: float = 0.0):
    first = not pathlib.Path(f"tried{kind}").exists()
    pathlib.Path(f"tried{kind}").touch()
    if kind == 1:
        raise ValueError("as it were")
    if kind == 2 and first:
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == 3:
        pathlib.Path("seen").open("a").write(os.environ.get("CUDA_VISIBLE_DEVICES", "none") + " ")
    if kind == 4 and first:
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(0.2)
    if kind == 5:
        time.sleep(30)
    if kind == 6:
        trouble.kept = torch.zeros(2**28)
        time.sleep(30)
    if kind == 7:
        pathlib.Path("imported").open("a").write(f"{'sklearn.datasets' in sys.modules} ")
    return F.cross_entropy(logits, labels, reduction="none")
"""


@pytest.fixture
def trouble(root: Path) -> None:
    """An objective of the user's that makes trouble."""
    (root / "my_trouble.py").write_text(TROUBLE)
    (root / "conf" / "objective").mkdir(parents=True)
    (root / "conf" / "objective" / "trouble.yaml").write_text(
        "# @package _global_\n# Makes trouble\nkind: 0.0\nspace: {}\nobjective:\n"
        "  _target_: my_trouble.trouble\n  _partial_: true\n  kind: ${..kind}\n"
    )


def by_kind(root: Path) -> dict[str, RunDir]:
    found = [RunDir(file.parent) for file in root.glob("runs/*/run.json")]
    return {run.run["overrides"][-1].partition("=")[2]: run for run in found}


@pytest.mark.full
def test_what_jobs_instantiate_is_imported_once(composed):
    with Pool(slots("cpu"), Limits()) as pool:
        pool.check([composed("digits")])
        imported_by_the_check = pool.forks.known["modules"]
    assert not imported_by_the_check & {"tasks.vision.classification", "torchmetrics"}
    assert "torch._dynamo" not in imported_by_the_check


@pytest.mark.full
def test_a_sweep_on_the_cores(command, root):
    said = command(*LOCAL, "objective=ldr", "tau=0.1,0.5", "hydra.launcher.threads_per_job=1")
    assert said.code == 0, said.err
    assert "digits ldr steps=3 tau=0.1 seed=0  test/accuracy" in said.out
    for run in by_kind(root).values():
        assert run.state is State.DONE
        (attempt,) = json.loads((run.path / "environment.json").read_text())
        assert attempt["threads"] == 1
        assert "objective=ldr" in attempt["command"]
    again = command(*LOCAL, "objective=ldr", "tau=0.1,0.5", "hydra.launcher.threads_per_job=1")
    assert "2 jobs, 2 finished before" in again.out


@pytest.mark.full
def test_what_fails_costs_itself_alone(command, root, trouble):
    said = command(*LOCAL, "objective=trouble", "kind=1,0,2")
    assert said.code == 1
    assert "1 job failed" in said.err
    assert "ValueError: as it were" in said.err
    runs = by_kind(root)
    assert {kind: run.state for kind, run in runs.items()} == {
        "1": State.FAILED,
        "0": State.DONE,
        "2": State.DONE,
    }
    assert {kind: run.status["attempt"] for kind, run in runs.items()} == {"1": 2, "0": 1, "2": 2}


@pytest.mark.full
def test_each_job_sees_its_own_gpu(command, root, trouble, monkeypatch):
    monkeypatch.setenv(VISIBLE, "3,5")
    assert command(*LOCAL, "objective=trouble", "kind=3", "seed=0,1,2").code == 0
    seen = (root / "seen").read_text().split()
    assert sorted(set(seen)) == ["3", "5"]
    assert len(seen) == 3 * 3  # jobs by steps


@pytest.mark.full
def test_the_death_of_the_server_is_survived(command, root, trouble):
    said = command(*LOCAL, "objective=trouble", "kind=4,0")
    assert said.code == 0, said.err
    assert {run.state for run in by_kind(root).values()} == {State.DONE}


@pytest.mark.full
@pytest.mark.parametrize(
    ("kind", "limit", "reason"),
    [
        (5, "timeout_min=0.05", "it took longer than timeout_min=0.05"),
        (5, "silent_min=0.05", "it made no step for silent_min=0.05"),
        (6, "memory_gb=1.5", "it used more than memory_gb=1.5"),
    ],
)
def test_what_takes_too_much_is_killed(command, root, trouble, kind, limit, reason):
    retries = "hydra.launcher.retries=0"
    said = command(
        *LOCAL, "objective=trouble", f"kind={kind},0", f"hydra.launcher.{limit}", retries
    )
    assert said.code == 1
    assert "1 job failed" in said.err
    assert reason in said.err
    assert by_kind(root)["0"].state is State.DONE
    assert by_kind(root)[str(kind)].state is State.FAILED


def test_code_that_changed_since_it_was_planned_is_not_run(root, trouble, monkeypatch):
    monkeypatch.syspath_prepend(str(root))
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        words = ["task=digits", "steps=3", "objective._target_=my_trouble.trouble"]
        job = Job.of(hydra.compose("config", words, return_hydra_config=True))
    run = job.plan()
    planned = json.loads((run.path / "run.json").read_text())
    (run.path / "run.json").write_text(json.dumps(planned | {"code": "another"}))
    assert work_on(run) == 1
    assert run.state is State.FAILED
    assert "the code has changed since the run was planned" in run.status["reason"]


@pytest.mark.full
def test_what_jobs_import_is_there_before_they_start(command, root, trouble):
    """What building a job imports, the server imports: a worker finds it there."""
    assert command(*LOCAL, "objective=trouble", "kind=7").code == 0
    assert set((root / "imported").read_text().split()) == {"True"}


@pytest.mark.full
def test_the_first_failure_ends_the_sweep_where_asked(command, root, trouble):
    said = command(
        *LOCAL,
        "objective=trouble",
        "kind=1",
        "seed=0,1,2,3,4,5",
        "hydra.launcher.threads_per_job=1",
        "hydra.launcher.retries=0",
        "hydra.launcher.stop_on_failure=true",
    )
    assert said.code == 1
    states = [RunDir(f.parent).state for f in root.glob("runs/*/run.json")]
    assert State.PLANNED in states
    assert State.FAILED in states


@pytest.mark.full
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_coordinator_that_ends_leaves_checkpoints(root, trouble, number):
    words = [*LOCAL, "objective=ldr", "steps=200000", "log_every=1", "seed=0,1"]
    command = [sys.executable, "-m", "runner.cli", *words]
    with subprocess.Popen(command, start_new_session=True) as process:
        while not any(last_event(file) for file in root.glob("runs/*/events.jsonl")):
            time.sleep(0.05)
            assert process.poll() is None
        process.send_signal(number)
        process.wait(60)
    began = [RunDir(file.parent) for file in root.glob("runs/*/events.jsonl")]
    end = time.monotonic() + 30
    while any(run.is_locked() for run in began):
        assert time.monotonic() < end
        time.sleep(0.05)
    stopped = [run for run in began if last_event(run.path / "events.jsonl")]
    assert stopped
    for run in stopped:
        assert run.status["state"] == State.INTERRUPTED
        assert "SIGTERM" in run.status["reason"]
        assert (run.path / "checkpoint.pt").exists()


def test_slots_of_cores(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    assert [slot.threads for slot in slots("cpu")] == [1] * 8
    assert [slot.threads for slot in slots("cpu", threads_per_job=3)] == [3, 3]
    with pytest.raises(InputError, match="threads_per_job=9 is more than the 8 cores here"):
        slots("cpu", threads_per_job=9)


def test_slots_of_gpus(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    monkeypatch.setenv(VISIBLE, "0,7")
    found = slots("auto", jobs_per_gpu=2)
    assert [slot.environment[VISIBLE] for slot in found] == ["0", "7", "0", "7"]
    assert [slot.threads for slot in found] == [2] * 4
    assert slots("cpu")[0].environment == {}
    assert [slot.environment[VISIBLE] for slot in slots("cuda", gpus=["1"])] == ["1"]


@pytest.mark.parametrize(
    ("room", "shown"), [(25, "digits ldr tau=0.5 seed=1"), (12, "…=0.5 seed=1")]
)
def test_a_name_too_long_for_the_table_keeps_its_end(room, shown):
    console = Console(width=room, file=io.StringIO())
    console.print(Tail("digits ldr tau=0.5 seed=1"))
    assert console.file.getvalue() == f"{shown}\n"
