"""Jobs on a real cluster: arrays, preemption, time limits, deaths, and who waits for them."""

import fcntl
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from runner.environment import code_state
from runner.job import Job
from runner.launch.executor import Ended
from runner.launch.slurm import Slurm
from runner.launch.slurm_state import ended, noted, queue
from runner.rundir import RunDir, State, last_event, read_events

from . import cluster

pytestmark = [pytest.mark.full, pytest.mark.slurm]

PATIENCE = 400.0


def until(condition: Callable[[], Any], what: str) -> Any:
    """Wait for something; returns its value."""
    end = time.monotonic() + PATIENCE
    while not (value := condition()):
        assert time.monotonic() < end, f"waited for {what}"
        time.sleep(0.2)
    return value


def ends(executors: Iterable[Slurm], count: int) -> list[Ended]:
    """Wait for so many jobs of several executors."""
    found: list[Ended] = []

    def enough() -> bool:
        for slurm in executors:
            found.extend(slurm.poll(1))
        return len(found) >= count

    until(enough, "jobs to end")
    return found


def finish(slurm: Slurm, count: int) -> dict[str, str]:
    """Wait for so many jobs; returns why each ended, by its seed."""
    return {str(end.job.config["seed"]): end.reason for end in ends([slurm], count)}


def scontrol(*words: str) -> str:
    return subprocess.run(
        ["scontrol", *words], check=True, capture_output=True, text=True, timeout=60
    ).stdout


def key(job: Job) -> str:
    """The id that SLURM gave a job."""
    entry = noted(job.directory)
    assert entry
    return str(entry["job"])


def step(job: Job) -> int:
    """How far a run has come."""
    event = last_event(job.directory.path / "events.jsonl")
    return int(event["step"]) if event else 0


def training_steps(run: RunDir) -> list[int]:
    """The steps at which the run logged its training loss, in the order of the file."""
    events = [event for _, event in read_events(run.path / "events.jsonl")]
    return [event["step"] for event in events if "train/loss" in event["metrics"]]


def test_an_array_keeps_to_its_cap(planned, executor, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "99")  # as if this process were in a job itself
    monkeypatch.setenv("SLURM_MEM_PER_CPU", "100")
    jobs = planned("steps=3", "pause=0.3", seeds=3)
    slurm = executor(array_parallelism=1, cpus=2, memory_gb=0.5, partition="short")
    slurm.submit(jobs)
    array = key(jobs[0]).partition("_")[0]
    assert [key(job) for job in jobs] == [f"{array}_{index}" for index in range(3)]
    assert finish(slurm, 3) == {"0": "", "1": "", "2": ""}
    statuses = sorted((job.directory.status for job in jobs), key=lambda s: s["started"])
    assert {status["state"] for status in statuses} == {State.DONE}
    for before, after in pairwise(statuses):
        assert before["ended"] <= after["started"]
    for job in jobs:
        (attempt,) = json.loads((job.directory.path / "environment.json").read_text())
        assert attempt["threads"] == 2
        assert attempt["command"] == ["runner", "as typed"]
        assert attempt["git_commit"] == code_state(Path.cwd())[0] != ""


def test_more_jobs_than_an_array_may_have(planned, executor):
    jobs = planned("steps=1", seeds=cluster.MAX_ARRAY_SIZE + 2)
    slurm = executor(array_parallelism=3)
    slurm.submit(jobs)
    arrays = [key(job).split("_") for job in jobs]
    assert [int(index) for _, index in arrays] == [*range(cluster.MAX_ARRAY_SIZE), 0, 1]
    scripts = [slurm.folder / f"{array}_submission.sh" for array in dict(arrays)]
    assert ["0-5%2" in scripts[0].read_text(), "0-1%1" in scripts[1].read_text()] == [True, True]
    assert set(finish(slurm, len(jobs)).values()) == {""}
    assert {job.directory.state for job in jobs} == {State.DONE}


def test_fewer_at_a_time_than_there_are_arrays(planned, executor):
    jobs = planned("steps=1", seeds=cluster.MAX_ARRAY_SIZE + 1)
    slurm = executor(array_parallelism=1, extra={"hold": True})
    slurm.submit(jobs)
    first = key(jobs[0]).partition("_")[0]
    assert f"afterany:{first}" in scontrol("show", "job", key(jobs[-1]))
    assert set(queue([key(job) for job in jobs]).values()) == {"PENDING"}
    slurm.cancel(jobs)
    assert set(finish(slurm, len(jobs)).values()) == {"cancelled"}
    assert {job.directory.state for job in jobs} == {State.PLANNED}


def test_a_requeued_job_goes_on(planned, executor):
    (job,) = planned("steps=25", "pause=0.2")
    slurm = executor()
    slurm.submit([job])
    until(lambda: step(job) >= 3, "training")
    scontrol("requeue", key(job))
    assert finish(slurm, 1) == {"0": ""}
    assert job.directory.status["attempt"] == 2
    assert training_steps(job.directory) == list(range(1, 26))


def test_preempted_jobs_go_on(planned, executor, root):
    """SLURM requeues in one partition; in the other one it cancels, and the job is sent again."""
    requeued, cancelled = *planned("steps=80", "pause=0.2"), *planned("steps=81", "pause=0.2")
    sent = {
        "short": executor(cpus=2, partition="short"),
        "spot": executor(cpus=2, partition="spot"),
    }
    for slurm, job in zip(sent.values(), (requeued, cancelled), strict=True):
        slurm.submit([job])
        until(lambda job=job: step(job) >= 3, "training")
    before = key(requeued), key(cancelled)
    words = ["--partition=urgent", "--cpus-per-task=4", "--output=urgent.txt", "--wrap=hostname"]
    subprocess.run(["sbatch", *words], check=True, cwd=root)
    assert [end.reason for end in ends(sent.values(), 2)] == ["", ""]
    assert (root / "urgent.txt").exists()
    assert [key(requeued) == before[0], key(cancelled) == before[1]] == [True, False]
    assert training_steps(requeued.directory) == list(range(1, 81))
    assert training_steps(cancelled.directory) == list(range(1, 82))
    assert {job.directory.status["attempt"] for job in (requeued, cancelled)} == {2}


def test_a_job_requeues_itself_as_often_as_it_is_told_to_stop(planned, executor):
    (job,) = planned("steps=60", "pause=0.2")
    slurm = executor()
    slurm.submit([job])
    until(lambda: queue([key(job)]) == {key(job): "RUNNING"}, "its start")
    time.sleep(1)
    subprocess.run(["scancel", "--signal=USR2", key(job)], check=True)  # before it is in training
    for attempt in range(1, 6):  # submitit's own limit is three
        until(lambda n=attempt: job.directory.status["attempt"] == n, f"attempt {attempt}")
        began = step(job)
        until(lambda began=began: step(job) > began, "training")
        if attempt < 5:
            subprocess.run(["scancel", "--signal=USR2", key(job)], check=True)
            assert slurm.poll(0) == []
    assert finish(slurm, 1) == {"0": ""}
    assert job.directory.status["attempt"] == 5
    assert training_steps(job.directory) == list(range(1, 61))
    assert len(list(slurm.folder.glob("*_submission.sh"))) == 1


def test_a_job_goes_on_where_requeueing_is_forbidden(planned, executor):
    (job,) = planned("steps=15", "pause=0.2")
    slurm = executor(extra={"requeue": None, "no-requeue": True})
    slurm.submit([job])
    until(lambda: step(job) >= 3, "training")
    first = key(job)
    subprocess.run(["scancel", "--signal=USR1", first], check=True)
    assert finish(slurm, 1) == {"0": ""}
    assert key(job) != first
    assert "disabled" in (slurm.folder / f"{first}_0_log.out").read_text()
    assert job.directory.status["attempt"] == 2
    assert training_steps(job.directory) == list(range(1, 16))


def test_a_job_waits_for_whoever_is_at_its_run(planned, executor):
    (job,) = planned("steps=2")
    slurm = executor()
    with (job.directory.path / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        slurm.submit([job])
        until(lambda: queue([key(job)]) == {key(job): "RUNNING"}, "its start")
        assert slurm.poll(6) == []
        assert job.directory.status["state"] == State.PLANNED
    assert finish(slurm, 1) == {"0": ""}
    assert job.directory.status["attempt"] == 1


def test_time_limits(planned, executor):
    """One job obeys the signal ahead of the limit; the other one's step takes too long for it."""
    obeying, deaf = *planned("steps=45", "pause=1"), *planned("steps=2", "pause=200", "seed=1")
    slurm = executor(time_min=1, signal_delay_s=40)
    slurm.submit([obeying, deaf])
    reasons = {end.job.signature: end.reason for end in ends([slurm], 2)}
    assert reasons == {obeying.signature: "", deaf.signature: "killed by SLURM: TIMEOUT"}
    assert obeying.directory.status["attempt"] >= 2
    assert training_steps(obeying.directory) == list(range(1, 46))
    assert deaf.directory.status["state"] == State.FAILED
    assert deaf.directory.status["reason"] == "killed by SLURM: TIMEOUT"


def test_a_failed_job_is_failed_to_slurm_and_can_be_tried_again(planned, executor):
    (job,) = planned("steps=3", "fails=1")
    slurm = executor()
    slurm.submit([job])
    assert finish(slurm, 1) == {"0": "ValueError: as it were"}
    first = key(job)
    slurm.submit([job])  # while the first one may still be leaving the queue
    assert key(job) != first
    until(lambda: ended(first), "SLURM to end it")
    assert ended(first) == "FAILED"
    assert "ExitCode=1:0" in scontrol("show", "job", first)
    assert finish(slurm, 1) == {"0": "ValueError: as it were"}
    assert job.directory.status["attempt"] == 2


def test_a_job_whose_process_dies(planned, executor):
    (job,) = planned("steps=3", "fails=2")
    slurm = executor()
    slurm.submit([job])
    (reason,) = finish(slurm, 1).values()
    assert reason == f"job {key(job)} left no record; see {slurm.folder / key(job)}_0_log.out"
    assert job.directory.state is State.FAILED


def test_a_cancelled_job_is_no_failure(planned, executor):
    (job,) = planned("steps=25", "pause=0.2")
    slurm = executor()
    slurm.submit([job])
    until(lambda: step(job) >= 3, "training")
    slurm.poll(0)
    assert slurm.running == [job]
    slurm.cancel([job])
    assert finish(slurm, 1) == {"0": "cancelled"}
    assert job.directory.status["state"] == State.INTERRUPTED
    assert job.directory.status["attempt"] == 1
    assert (job.directory.path / "checkpoint.pt").exists()
    slurm.submit([job])
    assert finish(slurm, 1) == {"0": ""}
    assert training_steps(job.directory) == list(range(1, 26))


DETACHED = """
import sys
from pathlib import Path
from runner.environment import code_state
from runner.job import Job
from runner.launch.executor import Ended
from runner.launch.slurm import Slurm
from runner.rundir import all_runs

sys.path.insert(0, "")
jobs = [Job.again(run) for run in all_runs(Path())]
slurm = Slurm(folder=Path("sweeps/it/slurm"), code=Path("code"))
slurm.submit(jobs)
ended = []
while len(ended) < len(jobs):
    ended += slurm.poll(1)
print([end.reason for end in ended])
"""


def test_another_process_waits_for_what_is_in_the_queue(planned, executor, root):
    jobs = planned("steps=10", "pause=0.5", seeds=2)
    executor().submit(jobs)
    submitted = [noted(job.directory) for job in jobs]
    said = subprocess.run(
        [sys.executable, "-c", DETACHED], capture_output=True, text=True, timeout=PATIENCE
    )
    assert said.stdout == "['', '']\n", said.stderr
    assert {job.directory.state for job in jobs} == {State.DONE}
    assert [noted(job.directory) for job in jobs] == submitted
    assert [job.directory.status["attempt"] for job in jobs] == [1, 1]


def test_an_edit_does_not_change_what_is_queued(planned, executor, root):
    (job,) = planned("steps=2")
    slurm = executor(extra={"hold": True})
    slurm.submit([job])
    (module,) = root.glob("mine_*.py")
    module.write_text("raise RuntimeError('edited')\n")
    entry = noted(job.directory)
    assert entry
    code = [Path(place) for place in entry["code"]]
    assert sum((place / module.name).is_file() for place in code) == 1
    assert sum((place / "runner" / "job.py").is_file() for place in code) == 1
    scontrol("release", key(job))
    assert finish(slurm, 1) == {"0": ""}
    assert not list(root.glob("code/.partial*"))


def test_a_controller_that_does_not_answer_is_waited_for(planned, executor, conf):
    (job,) = planned("steps=30", "pause=0.2")
    slurm = executor()
    slurm.submit([job])
    until(lambda: step(job) >= 1, "training")
    cluster.stop_daemon(conf.parent / "slurmctld.pid")
    try:
        assert slurm.poll(0) == []
    finally:
        cluster.call("slurmctld", conf)
    assert finish(slurm, 1) == {"0": ""}
