"""Replaying run directories into an MLflow store; the only module that imports MLflow."""

import fcntl
import json
import math
import os
import statistics
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag

from runner.identity import NO_MEANING
from runner.rundir import RunDir, State, all_runs, read_events, read_json, write_whole
from runner.sweepdir import ANSWERS, SweepDir
from runner.track.follow import tracking_record

ARTIFACTS = ("config.yaml", "environment.json", "code.diff", "log.txt")
BATCH = 1000
"""Most metrics that MLflow takes in one call."""

PARAM_LENGTH = 500
"""Most characters of a parameter's value that every store takes."""

SQLITE = "sqlite:///"
PARENT = "mlflow.parentRunId"

ENDED = {
    State.DONE: "FINISHED",
    State.FAILED: "FAILED",
    State.PRUNED: "KILLED",
    State.INTERRUPTED: "KILLED",
}
Record = dict[str, Any]


def replay(root: Path, uri: str) -> None:
    """Bring the store up to date with every run directory and sweep under a root."""
    store = Store(root, uri)
    with (root / "runs" / ".replay.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        # What has begun is a member of its sweep, with all its seeds; a search takes up others.
        runs = [run for run in all_runs(root) if run.recorded is not State.PLANNED]
        parents = store.replay_sweeps()
        for run in runs:
            store.replay_run(run, parents.get(run.run["signature"]))
        store.close_sweeps()


class Store:
    """An MLflow store, seen from one root.

    Attributes:
        client: MLflow's client.
    """

    def __init__(self, root: Path, uri: str):
        self.root, self.uri = root, uri
        if uri.startswith(SQLITE):
            make_database(Path(uri.removeprefix(SQLITE)))
        self.client = MlflowClient(uri)

    def replay_run(self, run: RunDir, parent: str | None) -> None:
        """Bring one run up to date; nothing is done where nothing is new."""
        status = run.status
        stamp = run.stamp
        record = tracking_record(run.path, self.uri)
        if record.get("stamp") == stamp or status["state"] == State.PLANNED:
            return
        if record and not _still_there(run, record):
            self.client.delete_run(record["run_id"])
            record = {}
        if not record:
            record = {"run_id": self._create_run(run, parent), "offset": 0, "tail": ""}
            self._save(run.path, record)
        self._log_events(run, record)
        if state := ENDED.get(State(status["state"])):
            self._close_run(run, record["run_id"], state, status)
        self._save(run.path, record | {"stamp": stamp})

    def replay_sweeps(self) -> dict[str, str]:
        """Make the parent runs of sweeps; returns each member's parent.

        A sweep's run is the parent of its settings, and a setting's run of its seeds; a setting
        with one seed needs no run of its own. A member of several sweeps stays with the first.
        """
        parents: dict[str, str] = {}
        for folder, manifest, members in self._sweeps():
            record = tracking_record(folder, self.uri)
            if not record:
                tags = {"runner.sweep": str(folder)}
                sweep = self._create_parent(members, " ".join(manifest["overrides"]), tags)
                record = {"run_id": sweep, "settings": {}}
            for setting, seeds in _by_setting(members).items():
                if len(seeds) > 1 and setting not in record["settings"]:
                    tags = {PARENT: record["run_id"], "runner.first_seed": seeds[0].path.name}
                    record["settings"][setting] = self._create_parent(seeds, setting, tags)
                owner = record["settings"].get(setting, record["run_id"])
                for seed in seeds:
                    parents.setdefault(seed.run["signature"], owner)
            self._save(folder, record)
        return parents

    def close_sweeps(self) -> None:
        """Give a setting whose seeds are all done their mean metrics; end finished sweeps.

        A search that has been extended is ended again, with what it has found by then.
        """
        for folder, _, members in self._sweeps():
            record, sweep = tracking_record(folder, self.uri), SweepDir(folder)
            stamp = [len(members), sweep.answered]
            over = sweep.is_complete and all(member.state in ENDED for member in members)
            if not record or record.get("closed") == stamp or not over:
                continue
            for setting, seeds in _by_setting(members).items():
                if run_id := record["settings"].get(setting):
                    self._log_means(run_id, seeds)
                    self.client.set_terminated(run_id)
            for artifact in (folder / ANSWERS).glob("*"):
                self.client.log_artifact(record["run_id"], str(artifact))
            self.client.set_terminated(record["run_id"])
            self._save(folder, record | {"closed": stamp})

    def _sweeps(self) -> Iterator[tuple[Path, Record, list[RunDir]]]:
        for file in sorted((self.root / "sweeps").glob("*/manifest.json")):
            manifest = read_json(file)
            members = [run for run in SweepDir(file.parent).members() if run.exists()]
            if members:
                yield file.parent, manifest, members

    def _create_run(self, run: RunDir, parent: str | None) -> str:
        experiment = self._experiment(run.run)
        mark = {"runner.signature": run.path.name, "runner.directory": str(run.path)}
        tags = mark | _source_tags(run) | ({PARENT: parent} if parent else {})
        run_id = self._find(experiment, mark) or self._created(experiment, run, tags)
        config = yaml.safe_load((run.path / "config.yaml").read_text())
        self.client.log_batch(run_id, params=[Param(k, v) for k, v in _flat(config)])
        return run_id

    def _created(self, experiment: str, run: RunDir, tags: dict[str, str]) -> str:
        started = _milliseconds(run.status["started"])
        created = self.client.create_run(experiment, started, tags, run_name=run.run["name"])
        run_id: str = created.info.run_id
        return run_id

    def _create_parent(self, members: list[RunDir], name: str, tags: dict[str, str]) -> str:
        """A run that others belong to; it began with the first of them."""
        experiment = self._experiment(members[0].run)
        if known := self._find(experiment, tags):
            return known
        now = time.time()
        start = min(member.status.get("started", now) for member in members)
        run = self.client.create_run(experiment, _milliseconds(start), tags, run_name=name)
        run_id: str = run.info.run_id
        return run_id

    def _find(self, experiment: str, tags: dict[str, str]) -> str | None:
        """A run that was made before its id could be noted."""
        query = " and ".join(f'tags.`{name}` = "{value}"' for name, value in tags.items())
        found = self.client.search_runs([experiment], query, max_results=1)
        return found[0].info.run_id if found else None

    def _experiment(self, planned: Record) -> str:
        """One MLflow experiment a task; a local store keeps its artifacts beside it."""
        name = planned["choices"]["task"]
        experiment = self.client.get_experiment_by_name(name)
        if experiment is not None:
            return str(experiment.experiment_id)
        local = self.uri.startswith(SQLITE)
        folder = (self.root / "runs" / "mlflow-artifacts").as_uri() if local else None
        return str(self.client.create_experiment(name, folder))

    def _log_events(self, run: RunDir, record: Record) -> None:
        metrics: list[Metric] = []
        for offset, event in read_events(run.path / "events.jsonl", record["offset"]):
            record["offset"], record["tail"] = offset, event["time"]
            stamp = _milliseconds(event["time"])
            for name, value in event["metrics"].items():
                if math.isfinite(value):
                    metrics.append(Metric(name, value, stamp, event["step"]))
                else:  # a store would turn infinity into 1.8e308
                    mark = f"{value} at step {event['step']}"
                    self.client.set_tag(record["run_id"], f"not_finite.{name}", mark)
        for first in range(0, len(metrics), BATCH):
            self.client.log_batch(record["run_id"], metrics[first : first + BATCH])

    def _close_run(self, run: RunDir, run_id: str, state: str, status: Record) -> None:
        for name in ARTIFACTS:
            if (run.path / name).exists():
                self.client.log_artifact(run_id, str(run.path / name))
        facts = {**_source_tags(run), "runner.reason": status.get("reason", "")[:PARAM_LENGTH]}
        tags = [RunTag(name, value) for name, value in facts.items() if value]
        self.client.log_batch(run_id, tags=tags)
        ended = _milliseconds(status["ended"]) if "ended" in status else None
        self.client.set_terminated(run_id, state, ended)

    def _log_means(self, run_id: str, seeds: list[RunDir]) -> None:
        values = defaultdict(list)
        for seed in seeds:
            for name, value in seed.status.get("metrics", {}).items():
                values[name].append(value)
        for name, column in values.items():
            if len(column) == len(seeds) and all(map(math.isfinite, column)):
                self.client.log_metric(run_id, name, statistics.fmean(column))

    def _save(self, folder: Path, record: Record) -> None:
        file = folder / "tracking.json"
        records = read_json(file) if file.exists() else {}
        write_whole(file, json.dumps(records | {self.uri: record}))


def make_database(file: Path) -> None:
    """Make the tables of a store that is not there yet: all of them or, on a full disk, none."""
    if file.exists():
        return
    with TemporaryDirectory(prefix=".mlflow-", dir=file.parent) as folder:
        made = Path(folder) / file.name
        MlflowClient(f"{SQLITE}{made}").search_experiments(max_results=1)
        with suppress(FileExistsError):  # another process was faster
            os.link(made, file)


def _still_there(run: RunDir, record: Record) -> bool:
    """Whether the events read last time are still the run's: none were taken back since."""
    if not record["offset"]:
        return True
    before = None
    for offset, event in read_events(run.path / "events.jsonl"):
        if offset == record["offset"]:
            before = event["time"]
        if offset >= record["offset"]:
            break
    return before == record["tail"]


def _by_setting(members: Iterable[RunDir]) -> dict[str, list[RunDir]]:
    settings: dict[str, list[RunDir]] = defaultdict(list)
    for member in members:
        settings[member.run["setting"]].append(member)
    return settings


def _source_tags(run: RunDir) -> dict[str, str]:
    file = run.path / "environment.json"
    attempts: Any = read_json(file) if file.exists() else []
    if not attempts:
        return {}
    return {
        "mlflow.source.git.commit": attempts[-1]["git_commit"],
        "mlflow.source.name": " ".join(["runner", *attempts[-1]["command"][1:]])[:PARAM_LENGTH],
        "mlflow.user": attempts[-1]["user"],
    }


def _flat(value: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, item in value.items():
            if key not in NO_MEANING | {"_partial_"}:
                yield from _flat(item, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, str(value)[:PARAM_LENGTH]


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)
