"""A sweep from its overrides to its table."""

import hashlib
import json
import time
from pathlib import Path
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.object_type import ObjectType
from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig

from runner import report
from runner.console import console
from runner.job import Job
from runner.rundir import State, write_whole
from runner.track.follow import following
from sweeps.grid import grid

ENDED = {State.DONE, State.PRUNED}


class SweepFailed(Exception):
    """Some jobs of the sweep failed; the message lists them."""


def sweep(
    arguments: list[str], config: DictConfig, loader: ConfigLoader, launcher: Launcher
) -> list[dict[str, Any]]:
    """Plan, check, run and report; finished runs are not repeated.

    Returns:
        The status of every member.

    Raises:
        SweepFailed: A job failed; the others ran all the same.
    """

    def compose(overrides: list[str]) -> DictConfig:
        return loader.load_sweep_config(config, overrides)

    def is_group(key: str) -> bool:
        return bool(
            loader.get_group_options(key, ObjectType.CONFIG)
            or loader.get_group_options(key, ObjectType.GROUP)
        )

    jobs = distinct([Job.of(compose(job)) for job in grid(arguments, compose, is_group)])
    waiting = [job for job in jobs if not job.is_done()]
    check(waiting)
    for job in waiting:
        job.plan()
    folder = write_manifest(jobs, arguments)
    say_plan(jobs, waiting)
    with following(jobs[0].config):
        launch(launcher, waiting)
    statuses = [job.directory.status for job in jobs]
    report.print_sweep([(job.directory.run, s) for job, s in zip(jobs, statuses, strict=True)])
    console.print(f"sweep {folder}")
    fail_if_any([job for job in waiting if job.directory.state not in ENDED])
    return statuses


def launch(launcher: Launcher, jobs: list[Job]) -> None:
    """Run jobs; a launcher that is not ours composes them again from their overrides."""
    if hasattr(launcher, "run_jobs"):
        launcher.run_jobs(jobs)
    else:
        launcher.launch([list(job.overrides) for job in jobs], initial_job_idx=0)


def distinct(jobs: list[Job]) -> list[Job]:
    """One job a signature: what means the same is run once."""
    return list({job.signature: job for job in reversed(jobs)}.values())[::-1]


def check(jobs: list[Job]) -> None:
    """Find bad input of any job before the first one starts.

    Raises:
        InputError: A job cannot run.
    """
    if not jobs:
        return
    from runner.build import build

    jobs[0].check_root()
    for job in jobs:
        build(job.config)


def write_manifest(jobs: list[Job], arguments: list[str]) -> Path:
    """Note the sweep's members; the same members are the same sweep."""
    members = [job.signature for job in jobs]
    identity = hashlib.sha256(json.dumps(sorted(members)).encode()).hexdigest()[:12]
    folder = Path(jobs[0].config["root"]) / "sweeps" / identity
    if not (folder / "manifest.json").exists():
        folder.mkdir(parents=True, exist_ok=True)
        manifest = {
            "id": identity,
            "created": time.time(),
            "overrides": arguments,
            "members": members,
        }
        write_whole(folder / "manifest.json", json.dumps(manifest, indent=1))
    return folder


def say_plan(jobs: list[Job], waiting: list[Job]) -> None:
    done = len(jobs) - len(waiting)
    finished = f", {done} finished before" if done else ""
    console.print(f"{len(jobs)} job{'s' * (len(jobs) != 1)}{finished}")


def fail_if_any(failed: list[Job]) -> None:
    if failed:
        lines = (
            f"  {job.name}: {status.get('reason', status['state'])}\n"
            f"    {job.directory.path / 'log.txt'}"
            for job in failed
            for status in [job.directory.status]
        )
        raise SweepFailed(
            "\n".join([f"{len(failed)} job{'s' * (len(failed) != 1)} failed:", *lines])
        )
