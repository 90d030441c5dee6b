"""Gymnasium environments as plain parallel actors whose state can be written down."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np

from objectives.errors import InputError
from tasks.rl.actions import Actions, one_of, vector


@dataclass(frozen=True)
class Environment:
    """What is fixed of an environment.

    Attributes:
        id: Its name in messages.
        make: Makes a copy of it.
        observation_shape: The shape of what it shows.
        actions: What it takes.
    """

    id: str
    make: Callable[[], Any]
    observation_shape: tuple[int, ...]
    actions: Actions


@cache
def environment(id: str) -> Environment:
    """Look an environment up by its Gymnasium id.

    Raises:
        InputError: Gymnasium is not installed, the id is unknown, or a space is not supported.
    """
    return described(id, partial(_gymnasium().make, id))


def described(id: str, make: Callable[[], Any]) -> Environment:
    """Look at an environment that a function makes.

    Raises:
        InputError: Gymnasium is not installed, it cannot be made, or a space is not supported.
    """
    gymnasium = _gymnasium()
    try:
        env = make()
    except Exception as error:  # an environment's constructor is anybody's code
        raise InputError(f"environment {id!r} cannot be made: {error}") from None
    shown = env.observation_space
    if not isinstance(shown, gymnasium.spaces.Box):
        raise InputError(f"environment {id!r} observes {shown}, expected Box.")
    return Environment(id, make, shown.shape, _actions(gymnasium, id, env.action_space))


def _actions(gymnasium: Any, id: str, space: Any) -> Actions:
    if isinstance(space, gymnasium.spaces.Discrete):
        return one_of(int(space.n), int(space.start))
    if isinstance(space, gymnasium.spaces.Box) and np.issubdtype(space.dtype, np.floating):
        return vector(space.low, space.high)
    raise InputError(f"environment {id!r} has actions {space}, expected Discrete or Box of floats.")


def bounds(environment: Environment) -> tuple[np.ndarray, np.ndarray]:
    """The lowest and the highest action.

    Raises:
        InputError: The actions are no vector, or have no bounds.
    """
    gymnasium = _gymnasium()
    space = environment.make().action_space
    if not (isinstance(space, gymnasium.spaces.Box) and space.is_bounded()):
        raise InputError(
            f"environment {environment.id!r} has actions {space}, expected a Box with bounds."
        )
    return space.low, space.high


@dataclass(frozen=True)
class Step:
    """What all actors saw in one step; `observations` are those after it, before any reset."""

    observations: np.ndarray
    rewards: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray


class Actors:
    """Several copies of an environment, each episode with a seed of its own.

    An environment cannot be copied in general, but an episode is its seed and its actions: the
    state is written down as these and restored by playing them again.
    """

    def __init__(self, environment: Environment, count: int, first_seed: int):
        self.envs = [environment.make() for _ in range(count)]
        self.played = environment.actions.played
        self.next_seed = first_seed
        self.seeds = [0] * count
        self.actions: list[list[Any]] = [[] for _ in range(count)]
        self.observations = np.stack([self._reset(actor) for actor in range(count)])

    def step(self, actions: np.ndarray) -> Step:
        """Act once in every copy; copies whose episode ended begin the next one."""
        outcomes = [self._act(actor, action) for actor, action in enumerate(actions.tolist())]
        seen, rewards, terminated, truncated = (
            np.array(column, dtype)
            for column, dtype in zip(
                zip(*outcomes, strict=True), (np.float32, np.float32, bool, bool), strict=True
            )
        )
        self.observations = seen.copy()
        for actor in np.flatnonzero(terminated | truncated).tolist():
            self.observations[actor] = self._reset(actor)
        return Step(seen, rewards, terminated, truncated)

    def state_dict(self) -> dict[str, Any]:
        return {"next_seed": self.next_seed, "seeds": self.seeds, "actions": self.actions}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for actor, (seed, actions) in enumerate(zip(state["seeds"], state["actions"], strict=True)):
            self.next_seed = seed
            self.observations[actor] = self._reset(actor)
            for action in actions:
                self.observations[actor] = self._act(actor, action)[0]
        self.next_seed = state["next_seed"]

    def _reset(self, actor: int) -> np.ndarray:
        observation, _ = self.envs[actor].reset(seed=self.next_seed)
        self.seeds[actor], self.actions[actor] = self.next_seed, []
        self.next_seed += 1
        return np.asarray(observation, np.float32)

    def _act(self, actor: int, action: Any) -> tuple[Any, ...]:
        self.actions[actor].append(action)
        return self.envs[actor].step(self.played(action))[:4]


def _gymnasium() -> Any:
    try:
        import gymnasium
    except ImportError:
        raise InputError("this task needs Gymnasium: pip install 'runner[rl]'") from None
    return gymnasium
