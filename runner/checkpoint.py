"""Checkpoints: everything that a run needs to go on as if it had not been cut off."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import torch

from objectives.errors import InputError
from runner.rundir import write_whole

if TYPE_CHECKING:
    from runner.build import Experiment


def save(path: Path, experiment: "Experiment", progress: dict[str, Any]) -> None:
    """Write a checkpoint whole or not at all; the one before it stays until then."""
    parts = {name: part.state_dict() for name, part in _stateful(experiment).items()}
    state = {**parts, "progress": progress, "random": random_state()}
    write_whole(path, lambda file: _write(state, file))


def _write(state: dict[str, Any], file: BinaryIO) -> None:
    try:
        torch.save(state, file)
    except RuntimeError as error:  # torch complains of what a full disk left it with
        if isinstance(error.__context__, OSError):
            raise error.__context__ from None
        raise


def load(path: Path, experiment: "Experiment") -> dict[str, Any] | None:
    """Restore a checkpoint; returns its progress, or None where there is none.

    Raises:
        InputError: The file cannot be read as a checkpoint.
    """
    if not path.exists():
        return None
    try:
        state = _read(path)
    except InputError as error:
        raise InputError(f"{error} Delete it to start this run anew.") from None
    for name, part in _stateful(experiment).items():
        part.load_state_dict(state[name])
    set_random_state(state["random"])
    progress: dict[str, Any] = state["progress"]
    device = experiment.learner.device
    progress["window"] = [{n: v.to(device) for n, v in m.items()} for m in progress["window"]]
    return progress


def model_state(path: Path) -> dict[str, Any]:
    """The weights of a model: a finished run's, the best where it kept that one, or bare ones.

    Raises:
        InputError: The file is not there, or cannot be read as a checkpoint.
    """
    if not path.exists():
        raise InputError(f"{path} is missing: the run that it belongs to has not been finished.")
    state = _read(path)
    if "progress" not in state:
        return state  # of another program, as torch.save(model.state_dict(), path) leaves them
    weights: dict[str, Any] = state["progress"]["best_model"] or state["model"]
    return weights


def _read(path: Path) -> dict[str, Any]:
    try:
        state: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise InputError(f"{path} is damaged or no checkpoint ({error}).") from None
    if not isinstance(state, dict):
        raise InputError(f"{path} holds no weights by name, but {type(state).__name__}.")
    return state


def random_state() -> dict[str, Any]:
    """The state of every global generator, as tensors and plain values."""
    state: Any = np.random.get_state()
    name, keys, *rest = state
    return {
        "python": random.getstate(),
        "numpy": (name, torch.from_numpy(keys.astype(np.int64)), *rest),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def set_random_state(state: dict[str, Any]) -> None:
    """Restore what `random_state` gave."""
    name, keys, *rest = state["numpy"]
    random.setstate(state["python"])
    np.random.set_state((name, keys.cpu().numpy().astype(np.uint32), *rest))
    torch.set_rng_state(state["torch"].cpu())
    if state["cuda"]:
        torch.cuda.set_rng_state_all([generator.cpu() for generator in state["cuda"]])


@contextmanager
def same_random_state() -> Iterator[None]:
    """Set the global generators back to where they are now."""
    state = random_state()
    yield
    set_random_state(state)


def _stateful(experiment: "Experiment") -> dict[str, Any]:
    learner = experiment.learner
    parts = {
        "model": learner.model,
        "objective": learner.objective,
        "optimizer": learner.optimizer,
        "protocol": learner.protocol,
        "algorithm": experiment.algorithm,
        "schedule": experiment.schedule,
    }
    return {name: part for name, part in parts.items() if part is not None}
