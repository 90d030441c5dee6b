"""What others have recorded and published: Minari's data sets, for offline learning."""

from collections.abc import Sequence
from functools import lru_cache, partial
from typing import Any

import numpy as np

from objectives.domains import Count, checked
from objectives.errors import InputError
from tasks.rl.behaviour import Trajectories, joined
from tasks.rl.environments import bounds, described
from tasks.rl.episodes import Episode


@lru_cache(maxsize=4)
@checked
def minari_episodes(dataset: str, *, episodes: Count | None = None) -> Trajectories:
    """Episodes of a Minari data set, from the folder in which Minari keeps its sets.

    That is MINARI_DATASETS_PATH, else ~/.minari/datasets. Policies are evaluated in the
    environment that the set names for it. A normalised return of 0 and of 100 are the set's
    reference scores; where it has none, the lowest and the highest return of its episodes.

    Args:
        dataset: The set's name, such as D4RL/pen/human-v2.
        episodes: At most so many, the first ones; None for all.

    Raises:
        InputError: Minari is not installed, the set is not there or cannot be read, its
            environment cannot be made, its observations or actions are no vector with bounds, a
            value of it is not finite, or there is nothing to normalise a return by.

    Source:
        Younis et al. 2024, Minari, doi:10.5281/zenodo.13767625. Scores: Fu et al. 2020,
        arXiv:2004.07219.
    """
    found, played = _loaded(dataset, episodes)
    _check_values(played, dataset)
    made = described(dataset, partial(found.recover_environment, eval_env=True))
    _check_actions(found.action_space, *bounds(made), dataset)
    return joined(made, played, *_references(dataset, found.storage.metadata, played))


def _loaded(dataset: str, episodes: int | None) -> tuple[Any, list[Episode]]:
    try:
        import h5py  # noqa: F401  Minari finds out too late that it cannot read its files
        import minari
    except ImportError:
        raise InputError("this data set is read by Minari: pip install 'runner[rl]'") from None
    try:
        found = minari.load_dataset(dataset)
        return found, [
            _episode(each) for each in found.iterate_episodes(found.episode_indices[:episodes])
        ]
    except FileNotFoundError:
        raise InputError(
            f"Minari's data set {dataset} is not in {minari.storage.get_dataset_path()}. Fetch it "
            f"with `minari download {dataset}`, name the folder of Minari's data sets with the "
            f"environment variable MINARI_DATASETS_PATH, or start with behaviour=medium, which "
            f"needs no files."
        ) from None
    except (
        Exception
    ) as error:  # a damaged file may raise anything, and so may vectors that are none
        raise InputError(
            f"Minari's data set {dataset} cannot be read: {error}. Fetch it anew with "
            f"`minari download --force {dataset}`."
        ) from None


def _check_actions(space: Any, low: np.ndarray, high: np.ndarray, dataset: str) -> None:
    same = getattr(space, "shape", None) == low.shape
    if not (same and np.allclose(space.low, low) and np.allclose(space.high, high)):
        raise InputError(
            f"{dataset} has actions {space}, its environment from {low} to {high}; expected the "
            f"same. Choose another data set."
        )


def _check_values(played: Sequence[Episode], dataset: str) -> None:
    for number, episode in enumerate(played):
        for name in ("observations", "next_observations", "actions", "rewards"):
            if not np.isfinite(getattr(episode, name)).all():
                raise InputError(
                    f"{dataset} has {name} in episode {number}, counted from 0, that are not "
                    f"finite. Choose another data set, or fewer episodes by behaviour.episodes=..."
                )


def _episode(recorded: Any) -> Episode:
    """An episode, of which Minari keeps one observation more than actions."""
    seen = np.asarray(recorded.observations, np.float32)
    rewards = np.asarray(recorded.rewards, np.float32)
    actions = np.asarray(recorded.actions, np.float32)
    return Episode(seen[:-1], actions, rewards, seen[1:], recorded.terminations)


def _references(
    dataset: str, known: dict[str, Any], episodes: Sequence[Episode]
) -> tuple[float, float]:
    returns = [episode.total for episode in episodes]
    worst, best = known.get("ref_min_score"), known.get("ref_max_score")
    if worst is None or best is None:
        worst, best = min(returns), max(returns)
    if not best > worst:
        raise InputError(
            f"{dataset} says nothing of what a good return is: 0 would be {worst:.4g}, 100 "
            f"{best:.4g}. Choose another data set."
        )
    return float(worst), float(best)
