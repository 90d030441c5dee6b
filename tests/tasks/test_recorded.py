"""Minari's data sets, made here by Minari itself and read as published ones are."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from objectives.errors import InputError
from runner.identity import fingerprint
from tasks.rl.controllers import SwingUp
from tasks.rl.environments import environment
from tasks.rl.episodes import Episode, play
from tasks.rl.recorded import minari_episodes

minari = pytest.importorskip("minari")
pytestmark = [
    pytest.mark.filterwarnings("ignore:`.*` is set to None:UserWarning:minari"),
    pytest.mark.filterwarnings("ignore:env_spec is None:UserWarning:minari"),
]

NAME = "test/pendulum/swing-up-v3"
SCORES = {"ref_min_score": -1200.0, "ref_max_score": -150.0}

Write = Callable[..., list[Episode]]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes episodes of a controller as a data set in a folder of Minari's own."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "sets"))
    minari_episodes.cache_clear()

    def written(env: str | None = "Pendulum-v1", **known: Any) -> list[Episode]:
        made = environment("Pendulum-v1").make()
        spaces = {} if env else {"observation_space": made.observation_space}
        actions = {"action_space": known.pop("action_space", made.action_space)}
        played = play(environment("Pendulum-v1"), SwingUp(), 2, first_seed=7)
        buffers = [_buffer(episode) for episode in played]
        minari.create_dataset_from_buffers(NAME, buffers, env=env, **spaces, **actions, **known)
        return played

    return written


def _buffer(episode: Episode) -> Any:
    from minari.data_collector import EpisodeBuffer

    last = len(episode.rewards) - 1
    return EpisodeBuffer(
        observations=np.concatenate([episode.observations, episode.next_observations[-1:]]),
        actions=episode.actions,
        rewards=episode.rewards,
        terminations=episode.terminated,
        truncations=np.arange(last + 1) == last,
    )


def test_a_data_set_is_what_was_played(write: Write) -> None:
    played = write(**SCORES)
    data = minari_episodes(NAME)
    for name in ("observations", "next_observations", "rewards", "terminated"):
        expected = np.concatenate([getattr(episode, name) for episode in played])
        assert np.array_equal(getattr(data, name).numpy(), expected), name
    assert data.lengths.tolist() == [200, 200]
    torques = np.concatenate([episode.actions for episode in played])
    assert np.allclose(data.actions.numpy(), torques / 2, atol=1e-6)  # from -2 to 2
    assert (data.worst, data.best) == (-1200, -150)
    assert minari_episodes(NAME, episodes=1).lengths.tolist() == [200]


def test_its_returns_are_the_scale_where_it_has_no_scores(write: Write) -> None:
    returns = sorted(episode.total for episode in write())
    data = minari_episodes(NAME)
    assert (data.worst, data.best) == (returns[0], returns[1])


def test_a_policy_learns_from_it_and_is_judged_in_its_environment(
    write: Write, built: Callable[..., Any]
) -> None:
    write(**SCORES)
    experiment = built("offline", "behaviour=minari", f"dataset={NAME}")
    protocol, model = experiment.learner.protocol, experiment.learner.model
    assert protocol.data.environment.make().spec.id == "Pendulum-v1"
    batch = next(protocol.batches(model, 0, 0))
    assert experiment.algorithm.update(batch)["loss"].isfinite()
    with torch.no_grad():
        found = protocol.evaluate(model, "test")
    expected = minari.get_normalized_score(minari.load_dataset(NAME), np.array(found["return"]))
    assert found["normalized_return"] == pytest.approx(100 * expected)


def test_its_content_is_part_of_what_a_run_means(
    write: Write, composed: Callable[..., Any], tmp_path: Path
) -> None:
    config = composed("offline", "behaviour=minari", f"dataset={NAME}")
    assert config["files"] == [f"minari://{NAME}/data/**/*"]
    assert fingerprint(config["files"], tmp_path) == {}
    write(**SCORES)
    before = fingerprint(config["files"], tmp_path)
    assert set(before) == {f"{NAME}/data/main_data.hdf5", f"{NAME}/data/metadata.json"}
    changed = tmp_path / "sets" / NAME / "data" / "metadata.json"
    changed.write_text(changed.read_text().replace("-150", "-140"))
    assert fingerprint(config["files"], tmp_path) != before


def test_a_data_set_that_is_not_there(write: Write) -> None:
    with pytest.raises(InputError, match=r"is not in .*sets\. Fetch it with `minari download"):
        minari_episodes("test/nothing-v0")


def test_a_data_set_that_does_not_fit(write: Write) -> None:
    write(env=None)
    with pytest.raises(InputError, match=r"swing-up-v3' cannot be made: .* env_spec is None"):
        minari_episodes(NAME)
    minari.delete_dataset(NAME)
    from gymnasium.spaces import Box

    write(action_space=Box(-1, 1, (1,), np.float32))
    with pytest.raises(InputError, match=r"has actions Box\(-1.0, 1.0.* from \[-2.\] to \[2.\]"):
        minari_episodes(NAME)
    minari.delete_dataset(NAME)
    write(ref_min_score=5.0, ref_max_score=5.0)
    with pytest.raises(InputError, match=r"what a good return is: 0 would be 5, 100 5. Choose"):
        minari_episodes(NAME)


@pytest.mark.parametrize("column", ["rewards", "observations"])
def test_values_that_are_not_finite_are_named(write: Write, tmp_path: Path, column: str) -> None:
    import h5py

    write(**SCORES)
    with h5py.File(tmp_path / "sets" / NAME / "data" / "main_data.hdf5", "r+") as file:
        file[f"episode_1/{column}"][5] = np.nan
    with pytest.raises(InputError, match=rf"v3 has {column} in episode 1, counted .* not finite"):
        minari_episodes(NAME)
    assert len(minari_episodes(NAME, episodes=1)) == 200


def test_a_damaged_file_is_named(write: Write, tmp_path: Path) -> None:
    write(**SCORES)
    (tmp_path / "sets" / NAME / "data" / "main_data.hdf5").write_bytes(b"torn")
    with pytest.raises(InputError, match=r"swing-up-v3 cannot be read: .*minari download --force"):
        minari_episodes(NAME)
