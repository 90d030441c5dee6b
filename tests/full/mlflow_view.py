"""What an MLflow store says of runs and sweeps, compared with their directories."""

import warnings
from pathlib import Path
from typing import Any

import yaml

from runner.rundir import RunDir, State, read_events, read_json

from .commands import runs_of

with warnings.catch_warnings():  # its imports are not ours to repair
    warnings.simplefilter("ignore")
    from mlflow import MlflowClient
    from mlflow.entities import Run

PARENT = "mlflow.parentRunId"
ARTIFACTS = {"config.yaml", "environment.json", "code.diff", "log.txt"}
STATUS = {State.DONE: "FINISHED", State.INTERRUPTED: "KILLED"}


class View:
    """A store as its readers see it.

    Attributes:
        runs: Every run that is not deleted, by id.
    """

    def __init__(self, uri: str):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.client = MlflowClient(uri)
        experiments = [e.experiment_id for e in self.client.search_experiments()]
        self.runs: dict[str, Run] = {
            run.info.run_id: run for run in self.client.search_runs(experiments, max_results=1000)
        }

    def children(self, parent: str | None) -> list[Run]:
        """Runs directly under another one, or under none."""
        return [run for run in self.runs.values() if run.data.tags.get(PARENT) == parent]

    def of(self, run: RunDir) -> Run:
        """The only run of a run directory; another root may have a run of the same signature."""
        (found,) = [r for r in self.runs.values() if is_of(r, run)]
        return found

    def history(self, run_id: str) -> list[tuple[str, int, int, float]]:
        """Every (name, step, milliseconds, value) that was logged, in order."""
        names = self.runs[run_id].data.metrics
        points = [p for name in names for p in self.client.get_metric_history(run_id, name)]
        return sorted((p.key, p.step, p.timestamp, p.value) for p in points)

    def artifacts(self, run_id: str) -> set[str]:
        return {item.path for item in self.client.list_artifacts(run_id)}

    def snapshot(self) -> dict[str, Any]:
        """All of it, for comparison with a later look."""
        return {
            run_id: (run.to_dictionary(), self.history(run_id), self.artifacts(run_id))
            for run_id, run in self.runs.items()
        }


def is_of(seen: Run, run: RunDir) -> bool:
    tags = seen.data.tags
    place = str(run.path.resolve())
    return (tags.get("runner.signature"), tags.get("runner.directory")) == (run.path.name, place)


def default_store(root: Path) -> str:
    return f"sqlite:///{root}/runs/mlflow.db"


def check_run(view: View, run: RunDir) -> Run:
    """Compare a run in the store with its directory: everything is there, and once."""
    seen = view.of(run)
    assert view.history(seen.info.run_id) == logged(run)
    assert seen.info.status == STATUS[run.state]
    assert seen.info.run_name == run.run["name"]
    assert view.artifacts(seen.info.run_id) >= ARTIFACTS
    config = yaml.safe_load((run.path / "config.yaml").read_text())
    for name in {"seed", "tau", "q", "epochs", "batch_size"} & config.keys():
        assert seen.data.params[name] == str(config[name])
    assert seen.data.params["objective._target_"] == config["objective"]["_target_"]
    attempts: Any = read_json(run.path / "environment.json")
    assert len(commit := attempts[-1]["git_commit"]) == 40
    assert seen.data.tags["mlflow.source.git.commit"] == commit
    assert seen.info.end_time == round(run.status["ended"] * 1000)
    if run.status["attempt"] == 1:
        assert seen.info.start_time == round(run.status["started"] * 1000)
    return seen


def check_sweep(view: View, root: Path) -> None:
    """Compare the only sweep under a root with its runs in the store: sweep, settings, seeds."""
    (file,) = (root / "sweeps").glob("*/manifest.json")
    (sweep,) = view.children(None)
    assert sweep.info.run_name == " ".join(read_json(file)["overrides"])
    settings = {run.info.run_name: run for run in view.children(sweep.info.run_id)}
    assert set(settings) == {run.run["setting"] for run in runs_of(root)}
    for run in runs_of(root):
        parent = settings[run.run["setting"]]
        assert check_run(view, run).data.tags[PARENT] == parent.info.run_id
    for name, setting in settings.items():
        check_means(setting, [run for run in runs_of(root) if run.run["setting"] == name])
    assert len(view.runs) == 1 + len(settings) + len(runs_of(root))
    assert {run.info.status for run in view.runs.values()} == {"FINISHED"}
    assert sweep.info.start_time == min(run.info.start_time for run in view.runs.values())


def check_means(setting: Run, seeds: list[RunDir]) -> None:
    for name, mean in setting.data.metrics.items():
        values = [seed.status["metrics"][name] for seed in seeds]
        assert abs(mean - sum(values) / len(values)) < 1e-9
    assert "test/accuracy" in setting.data.metrics


def logged(run: RunDir) -> list[tuple[str, int, int, float]]:
    """What `View.history` has to say of a run."""
    return sorted(
        (name, event["step"], round(event["time"] * 1000), value)
        for _, event in read_events(run.path / "events.jsonl")
        for name, value in event["metrics"].items()
    )
