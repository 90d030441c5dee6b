"""MLflow as a view: replayed once, whatever happens, and never in the way of training."""

import json
import math
from collections import Counter
from pathlib import Path

import pytest
from mlflow import MlflowClient

from runner.rundir import RunDir, write_whole
from runner.sweepdir import SweepDir
from runner.track.follow import has_news, store_uri
from runner.track.store import replay


@pytest.fixture
def uri(tmp_path: Path) -> str:
    (tmp_path / "runs").mkdir()
    return store_uri("auto", tmp_path)


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with its tables made, which takes seconds."""
    file = tmp_path_factory.mktemp("store") / "mlflow.db"
    MlflowClient(f"sqlite:///{file}").search_experiments()
    return file


@pytest.fixture
def client(uri: str, tmp_path: Path, empty_store: Path) -> MlflowClient:
    (tmp_path / "runs" / "mlflow.db").write_bytes(empty_store.read_bytes())
    return MlflowClient(uri)


def planned(root: Path, signature: str, setting: str = "digits ldr tau=1", seed: int = 0) -> RunDir:
    facts = {
        "signature": signature,
        "name": f"{setting} seed={seed}",
        "setting": setting,
        "seed": seed,
        "choices": {"task": "digits"},
        "overrides": [],
    }
    return RunDir.plan(
        root / "runs", facts, "tau: 1.0\nroot: .\nobjective: {_partial_: true, tau: 1}\n"
    )


def finish(run: RunDir, losses: list[float], rewind: int = 0) -> None:
    with run.attempt() as events:
        events.rewind(rewind)
        for step, loss in enumerate(losses, start=1):
            events.append(step, {"train/loss": loss})
        run.finish({"test/accuracy": 0.5 + run.run["seed"]})


def history(client: MlflowClient, run_id: str) -> list[tuple[int, float]]:
    return [(m.step, m.value) for m in client.get_metric_history(run_id, "train/loss")]


def all_runs(client: MlflowClient) -> list:
    return client.search_runs([e.experiment_id for e in client.search_experiments()])


def test_a_run_is_replayed_whole_and_once(client, uri, tmp_path):
    finish(planned(tmp_path, "one"), [3.0, 2.0, 1.0])
    assert has_news(tmp_path, uri)
    for _ in range(2):
        replay(tmp_path, uri)
    assert not has_news(tmp_path, uri)
    (run,) = all_runs(client)
    assert run.info.run_name == "digits ldr tau=1 seed=0"
    assert run.info.status == "FINISHED"
    assert run.data.params == {"tau": "1.0", "objective.tau": "1"}
    assert run.data.tags["runner.signature"] == "one"
    assert history(client, run.info.run_id) == [(1, 3.0), (2, 2.0), (3, 1.0)]
    assert {a.path for a in client.list_artifacts(run.info.run_id)} == {"config.yaml"}


def test_a_run_grows_while_it_is_followed(client, uri, tmp_path):
    run = planned(tmp_path, "one")
    with run.attempt() as events:
        events.append(1, {"train/loss": 3.0})
        replay(tmp_path, uri)
        assert all_runs(client)[0].info.status == "RUNNING"
        events.append(2, {"train/loss": 2.0})
        replay(tmp_path, uri)
        run.finish({})
    replay(tmp_path, uri)
    (seen,) = all_runs(client)
    assert history(client, seen.info.run_id) == [(1, 3.0), (2, 2.0)]
    assert seen.info.status == "FINISHED"


def test_events_taken_back_are_not_doubled(client, uri, tmp_path):
    run = planned(tmp_path, "one")
    with pytest.raises(ValueError), run.attempt() as events:
        for step in (1, 2, 3):
            events.append(step, {"train/loss": 1.0 * step})
        raise ValueError("cut off")
    replay(tmp_path, uri)
    assert all_runs(client)[0].info.status == "FAILED"
    assert all_runs(client)[0].data.tags["runner.reason"] == "ValueError: cut off"
    finish(run, [9.0, 8.0, 7.0, 6.0])
    replay(tmp_path, uri)
    (seen,) = all_runs(client)
    assert history(client, seen.info.run_id) == [(1, 9.0), (2, 8.0), (3, 7.0), (4, 6.0)]


@pytest.mark.parametrize("forgotten", ["offset", "all"])
def test_a_replay_that_died_before_it_could_note_it_doubles_nothing(
    client, uri, tmp_path, forgotten
):
    run = planned(tmp_path, "one")
    finish(run, [3.0, 2.0])
    replay(tmp_path, uri)
    file = run.path / "tracking.json"
    record = json.loads(file.read_text())[uri]
    kept = (
        {uri: {"run_id": record["run_id"], "offset": 0, "tail": ""}}
        if forgotten == "offset"
        else {}
    )
    write_whole(file, json.dumps(kept))
    replay(tmp_path, uri)
    (seen,) = all_runs(client)
    assert history(client, seen.info.run_id) == [(1, 3.0), (2, 2.0)]


def test_what_is_not_finite_is_marked_and_not_turned_into_a_number(client, uri, tmp_path):
    finish(planned(tmp_path, "one"), [1.0, math.inf, math.nan])
    replay(tmp_path, uri)
    (seen,) = all_runs(client)
    assert history(client, seen.info.run_id) == [(1, 1.0)]
    assert seen.data.tags["not_finite.train/loss"] == "nan at step 3"


def test_a_sweep_is_the_parent_of_settings_and_these_of_seeds(client, uri, tmp_path):
    for seed in (0, 1):
        finish(planned(tmp_path, f"a{seed}", "digits ldr tau=1", seed), [1.0])
    finish(planned(tmp_path, "b0", "digits ldr tau=2"), [1.0])
    manifest = {"id": "s", "overrides": ["tau=1,2", "seed=0,1"], "members": ["a0", "a1", "b0"]}
    folder = tmp_path / "sweeps" / "s"
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    for _ in range(2):
        replay(tmp_path, uri)
    runs = {run.info.run_name: run for run in all_runs(client)}
    assert len(runs) == 5
    parents = {
        name: next(
            (
                n
                for n, r in runs.items()
                if r.info.run_id == run.data.tags.get("mlflow.parentRunId")
            ),
            None,
        )
        for name, run in runs.items()
    }
    assert parents == {
        "tau=1,2 seed=0,1": None,
        "digits ldr tau=1": "tau=1,2 seed=0,1",
        "digits ldr tau=1 seed=0": "digits ldr tau=1",
        "digits ldr tau=1 seed=1": "digits ldr tau=1",
        "digits ldr tau=2 seed=0": "tau=1,2 seed=0,1",
    }
    assert runs["digits ldr tau=1"].data.metrics == {"test/accuracy": 1.0}  # mean of 0.5 and 1.5
    assert Counter(run.info.status for run in runs.values()) == {"FINISHED": 5}


def test_a_search_that_was_extended_has_its_new_answer(client, uri, tmp_path):
    folder = SweepDir(tmp_path / "sweeps" / "s")
    folder.plan([], ["tau=interval(0,1)"], search={"metrics": ["a"], "directions": ["maximize"]})
    (folder.path / "answer").mkdir()
    for signature in ("a", "b"):
        finish(planned(tmp_path, signature, f"digits ldr tau={signature}"), [1.0])
        folder.add([signature])
        (folder.path / "answer" / "best.yaml").write_text(f"best: {signature}")
        (folder.path / "answer.json").write_text("{}")
        replay(tmp_path, uri)
        (parent,) = [run for run in all_runs(client) if "runner.sweep" in run.data.tags]
        file = client.download_artifacts(parent.info.run_id, "best.yaml", str(tmp_path))
        assert Path(file).read_text() == f"best: {signature}"


@pytest.mark.full
def test_a_store_that_is_down_changes_nothing_for_the_run(command, root):
    said = command("task=digits", "epochs=1", "tracking=http://127.0.0.1:9")
    assert said.code == 0
    assert "Not in MLflow yet" in said.out
    assert "test/accuracy" in said.out
    assert has_news(root, "http://127.0.0.1:9")
    assert "was not brought up to date" in command("sync", "tracking=http://127.0.0.1:9").err


def test_tracking_settings(tmp_path):
    assert store_uri("off", tmp_path) == store_uri(False, tmp_path) == ""
    assert store_uri("auto", tmp_path) == f"sqlite:///{tmp_path}/runs/mlflow.db"
    assert store_uri("http://server", tmp_path) == "http://server"
