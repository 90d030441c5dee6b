"""`runner status`, `logs`, `cancel` and `collect`: sweeps from any shell, whoever runs them.

Everything is read from run directories, sweeps' locks and SLURM's queue; nothing else has to live.
"""

import os
import signal
import socket
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from objectives.errors import InputError
from runner import report
from runner.console import console
from runner.launch import slurm_state
from runner.launch.executor import CANCELLED
from runner.launch.view import jobs_table
from runner.places import places
from runner.rundir import RunDir, State, all_runs, read_json
from runner.sweepdir import SweepDir, all_sweeps
from runner.track.follow import finish, start

ENDED = {State.DONE, State.PRUNED, State.FAILED}
WAITING = {State.PLANNED, State.INTERRUPTED}
SHOWN = 20
"""Most jobs of a kind in a listing."""

BEST = 5
"""Runs of a search that are shown with their values."""

OUTPUTS = ("log.txt", "output.txt")


@dataclass(frozen=True)
class Member:
    """A run, and where it stands.

    Attributes:
        directory: The run's directory.
        state: As recorded, or as SLURM says of what waits.
        task: The SLURM task that it is in the queue as; "" where it is in none.
    """

    directory: RunDir
    state: str
    task: str = ""

    @property
    def name(self) -> str:
        return str(self.directory.run["name"])


def members(runs: Iterable[RunDir]) -> list[Member]:
    """Where runs stand, with one question to SLURM where some are its."""
    standing = [(run, run.state, task_of(run)) for run in runs]
    tasks = [task for _, state, task in standing if task and state not in ENDED]
    queue = slurm_state.queue(tasks) if tasks else {}
    return [
        Member(run, standing_of(state, queue.get(task, "")), task if task in queue else "")
        for run, state, task in standing
    ]


def standing_of(state: State, queued: str) -> str:
    """A run's state, with its job's state in the queue where that says more."""
    return f"{queued.lower()} in SLURM" if queued and state in WAITING else state


def task_of(run: RunDir) -> str:
    """The SLURM job of a run, or ""."""
    return str((slurm_state.noted(run) or {"job": ""})["job"])


def print_status(given: tuple[str, ...]) -> None:
    """Where sweeps stand, or the jobs of one.

    Raises:
        InputError: There is no such sweep.
    """
    root, names = _given(given)
    if names:
        for sweep in _sweeps(root, names):
            print_sweep(sweep)
        return
    table = Table("sweep", "begun", "jobs", "", "overrides", box=None, pad_edge=False)
    for sweep in all_sweeps(root)[-SHOWN:]:
        manifest = sweep.manifest
        begun = time.strftime("%d %b %H:%M", time.localtime(manifest["created"]))
        found = members(sweep.members())
        overrides = " ".join(manifest["overrides"])
        table.add_row(manifest["id"], begun, str(len(found)), counts(sweep, found), overrides)
    if not table.row_count:
        raise InputError(f"there are no sweeps under {root}; name another folder with root=PATH.")
    console.print(table)


def print_sweep(sweep: SweepDir) -> None:
    """The jobs of a sweep: how many, which run, which failed and why."""
    found = members(sweep.members())
    console.print(f"sweep {sweep.path.name}  {' '.join(sweep.manifest['overrides'])}")
    coordinator = sweep.coordinator()
    if coordinator:
        console.print("run by process {} on {}".format(*coordinator))
    running = [member.directory for member in found if member.state == State.RUNNING]
    console.print(jobs_table(counts(sweep, found), running[:SHOWN]))
    for line in best_so_far(sweep, found):
        console.print(line)
    for member in [m for m in found if m.state in {State.FAILED, State.INTERRUPTED}][:SHOWN]:
        console.print(
            f"{member.state}: {member.name}  {member.directory.status.get('reason', '')}\n"
            f"  {member.directory.path / OUTPUTS[0]}",
        )


def best_so_far(sweep: SweepDir, found: Iterable[Member]) -> Iterator[str]:
    """The best runs of a search, by the first metric that it goes by."""
    search = sweep.manifest.get("search")
    if not search:
        return
    metric, direction = search["metrics"][0], search["directions"][0]
    values = [(m.directory.status.get("metrics", {}).get(metric), m.name) for m in found]
    known = [(value, name) for value, name in values if value is not None]
    for value, name in sorted(known, reverse=direction == "maximize")[:BEST]:
        yield f"{metric} {value:.4g}  {name}"


def counts(sweep: SweepDir, found: list[Member]) -> str:
    """How many jobs of a sweep are in which state."""
    number = Counter(member.state for member in found)
    waiting = "waiting" if sweep.coordinator() else "not begun"
    words = {State.PLANNED: waiting}
    return ", ".join(f"{count} {words.get(state, state)}" for state, count in number.items())  # type: ignore[call-overload]


def print_logs(given: tuple[str, ...]) -> None:
    """What a job has said: its log, what its process printed, and what SLURM caught.

    Raises:
        InputError: There is no such job.
    """
    root, names = _given(given)
    for run in _runs(root, names):
        files = [run.path / name for name in OUTPUTS]
        if note := slurm_state.noted(run):
            files.append(Path(note["output"]))
        for file in files:
            if file.exists() and file.stat().st_size:
                console.rule(str(file), align="left")
                console.print(file.read_text(errors="replace"))


def cancel(given: tuple[str, ...]) -> None:
    """Stop a sweep or a job; what is under way leaves a checkpoint.

    Raises:
        InputError: There is no such thing, or nothing of it is under way.
    """
    root, names = _given(given)
    sweeps = [sweep for sweep in all_sweeps(root) if _named(sweep.path.name, names)]
    if not names:
        raise InputError("cancel what? A sweep or a job; runner status lists sweeps.")
    stopped = [*map(_stop_coordinator, sweeps)]
    runs = [run for sweep in sweeps for run in sweep.members()] or _runs(root, names)
    stopped += _stop_runs(members(runs), not any(stopped))
    said = [line for line in stopped if line]
    if not said:
        raise InputError(f"nothing of {' '.join(names)} is under way.")
    console.print("\n".join(said))


def _stop_coordinator(sweep: SweepDir) -> str:
    found = sweep.coordinator()
    if found is None:
        return ""
    pid, host = found
    if host != socket.gethostname():
        raise InputError(f"process {pid} on {host} runs this sweep: cancel it there.")
    os.kill(pid, signal.SIGINT)
    return f"asked process {pid} to stop"


def _stop_runs(found: list[Member], directly: bool) -> Iterator[str]:
    """Stop the jobs of runs: through SLURM those that it has, the others here, if `directly`."""
    tasks = {task_of(m.directory) for m in found if m.state not in ENDED} - {""}
    queued = slurm_state.queue(tasks) if tasks else {}
    if queued:
        slurm_state.cancel(queued)
        yield f"cancelled {len(queued)} SLURM job{'s' * (len(queued) != 1)}"
    for member in found if directly else []:
        status = member.directory.status
        here = member.directory.is_locked() and status["host"] == socket.gethostname()
        if here and task_of(member.directory) not in queued:
            os.kill(status["pid"], signal.SIGTERM)
            yield f"asked {member.name} to stop"


def collect(given: tuple[str, ...]) -> None:
    """Settle what SLURM has ended, bring sweeps into MLflow, and print their tables.

    Raises:
        InputError: There is no such sweep, or the store cannot be reached.
    """
    root, names = _given(given)
    where = places((f"root={root}",))
    sweeps = _sweeps(root, names) if names else all_sweeps(root)[-1:]
    for sweep in sweeps:
        for member in members(sweep.members()):
            if member.state in WAITING and not member.task:
                settle(member.directory)
    if where["tracking"]:
        with console.status("bringing the results into MLflow"):
            reason = finish(start(root, where["tracking"]), patience=24 * 3600)
        if reason:
            console.print(f"Not in MLflow yet: {reason}.")
    for sweep in sweeps:
        print_sweep(sweep)
        report.print_sweep([(run.run, run.status) for run in sweep.members()])


def settle(run: RunDir) -> None:
    """Write down how a run ended that SLURM has no more and that left no record."""
    if note := slurm_state.noted(run):
        how = slurm_state.ended(note["job"])
        recorded = read_json(run.path / "status.json")
        reason = slurm_state.why(note["job"], how, recorded, note["output"])
        if reason != CANCELLED and how != "CANCELLED":
            run.give_up(reason)


def _given(given: tuple[str, ...]) -> tuple[Path, list[str]]:
    """The root, and the names of sweeps or jobs."""
    named = [word for word in given if "=" not in word]
    where = places(tuple(word for word in given if "=" in word))
    return Path(where["root"]), named


def _named(identity: str, names: list[str]) -> bool:
    return any(identity.startswith(Path(name).name) for name in names)


def _sweeps(root: Path, names: list[str]) -> list[SweepDir]:
    found = [sweep for sweep in all_sweeps(root) if _named(sweep.path.name, names)]
    if not found:
        raise InputError(f"there is no sweep {' '.join(names)} under {root}; see runner status.")
    return found


def _runs(root: Path, names: list[str]) -> list[RunDir]:
    found = [run for run in all_runs(root) if _named(run.path.name, names) or task_of(run) in names]
    if not found:
        raise InputError(f"there is no job {' '.join(names)} under {root}; see runs/.")
    return found
