"""Shapes are checked in every test, slow tests wait for --full, experiments are made small."""

import copy
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from jaxtyping import install_import_hook

ROOT = Path(__file__).parents[1]
CONF = ROOT / "conf"

# Before anything imports them; but for the binder, the domains and what pairs share, which have no
# shapes, and annotations of which beartype does not know some (pydantic's) and looks at others at
# random, from Python's generator.
SHAPED = {file.stem for file in (ROOT / "objectives").iterdir()} - {"objective", "domains", "pairs"}
install_import_hook([f"objectives.{name}" for name in sorted(SHAPED)], "beartype.beartype")

SMALL = {
    "agent": ["model.width=16", "model.depth=1", "model.heads=2", "rooms=3", "turns=6"],
    "adult": ["model.width=16"],
    "breast_cancer": ["model.width=16"],
    "cartpole": ["model.width=8"],
    "charlm": ["model.width=16", "model.depth=1", "model.heads=2", "task.data.context=16"],
    "density": ["model.width=16", "model.depth=1", "size=600"],
    "diabetes": ["model.width=16"],
    "digits": ["model.width=16"],
    "digits_generation": ["model.width=16", "model.depth=1"],
    "friedman": ["model.width=16", "size=200"],
    "gerrymander": ["model.width=16", "size=200"],
    "gym": ["model.width=8"],
    "linear": ["size=100", "dim=10"],
    "madelon": ["model.width=16", "size=200"],
    "offline": ["model.width=8", "behaviour.episodes=4"],
    "pairs": ["model.width=16", "model.depth=1", "model.heads=2"],
    "verify": [
        "model.width=16",
        "model.depth=1",
        "model.heads=2",
        "puzzle=addition",
        "difficulty=1",
    ],
    "rare_steps": ["size=200", "model=linear"],
    "rock_paper_scissors": ["size=64", "replays=2"],
}
"""Overrides that make the task's model small."""

SMALL_PROTOCOL = {
    "OnPolicy": {"actors": 2, "horizon": 16, "replays": 2, "episodes": 2},
    "FlowMatching": {"sampling_steps": 4},
    "Diffusion": {"diffusion_steps": 4},
    "RewardedSamples": {"sampling_steps": 4, "group_size": 8, "times_per_sample": 16},
    "RewardedResponses": {"prompts": 8, "group_size": 4},
    "BaselinedByGreedy": {"prompts": 8, "group_size": 4},
    "Turns": {"prompts": 8, "group_size": 4},
    "RandomSteps": {"sampling_steps": 16, "group_size": 8},
    "GuidedOffline": {"episodes": 2},
    "Offline": {"episodes": 2},
}
"""Settings by class that make a protocol small."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help="run the slow tests too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--full"):
        return
    for item in items:
        if "full" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="slow: runs with --full"))


@pytest.fixture
def composed() -> Callable[..., dict[str, Any]]:
    """Compose a config as the command line does, small, on the CPU, as plain values."""
    return lambda task, *overrides: copy.deepcopy(_composed(task, *overrides))


@pytest.fixture
def built(composed: Callable[..., dict[str, Any]]) -> Callable[..., Any]:
    """Build a small experiment from overrides, its model ready to train.

    Settings of the top level that nothing refers to may be given as they are: composing is slow.
    """
    from runner.build import build

    def build_small(task: str, *overrides: str, **settings: Any) -> Any:
        experiment = build(composed(task, *overrides) | settings)
        experiment.learner.model.train()
        return experiment

    return build_small


@pytest.fixture(autouse=True)
def same_random_numbers() -> Iterator[None]:
    """Start every test that has torch from one global random state, and leave none behind."""
    if "torch" not in sys.modules:
        yield
        return
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


@cache
def _composed(task: str, *overrides: str) -> dict[str, Any]:
    import hydra
    from omegaconf import OmegaConf

    small = [f"task={task}", "device=cpu", "batch_size=16", *SMALL.get(task, [])]
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        config: Any = OmegaConf.to_container(
            hydra.compose("config", [*small, *overrides]), resolve=True
        )
    for protocol in config["task"]["protocols"]:
        protocol |= SMALL_PROTOCOL.get(protocol["_target_"].rpartition(".")[2], {})
    return config
