"""An example of every objective, for the tests that hold for all of them: see test_suite.py."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import hydra
import torch
from omegaconf import OmegaConf
from torch import Tensor

from objectives.objective import Objective, bind, check
from objectives.records import (
    Gaussian,
    Labelled,
    Predicted,
    Preference,
    Quantiles,
    Record,
    Rollout,
    Views,
)
from runner.build import instantiated

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden"
FACTS = {"num_classes": 5, "num_examples": 12}
"""What a task would know of the examples below."""


@dataclass(frozen=True)
class Case:
    """An objective on a small example.

    Attributes:
        record: Makes the example, in float64.
        learned: The record's fields through which a model would learn.
        settings: Hyperparameters to test it with; {} leaves all as the YAML has them.
        lacks: Properties that it does not have, each with the reason.
        on_task: Overrides that it needs on a task, to fit there.
    """

    record: Callable[[], Record]
    learned: tuple[str, ...]
    settings: tuple[Mapping[str, Any], ...] = ({},)
    lacks: Mapping[str, str] = field(default_factory=dict)
    on_task: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def labelled() -> Labelled:
    generator = torch.Generator().manual_seed(0)
    return Labelled(
        logits=2 * _normal(generator, 8, 5),
        labels=torch.randint(5, (8,), generator=generator),
        index=torch.randperm(12, generator=generator)[:8],
    )


def views() -> Views:
    generator = torch.Generator().manual_seed(0)
    return Views(_normal(generator, 6, 4), _normal(generator, 6, 4), torch.arange(6))


def predicted() -> Predicted:
    generator = torch.Generator().manual_seed(0)
    return Predicted(_normal(generator, 7), _normal(generator, 7), torch.arange(7))


def gaussian() -> Gaussian:
    generator = torch.Generator().manual_seed(0)
    means, targets, log_variances = (_normal(generator, 7) for _ in range(3))
    return Gaussian(means, targets, torch.arange(7), log_variances)


def quantiles() -> Quantiles:
    generator = torch.Generator().manual_seed(0)
    return Quantiles(_normal(generator, 7, 3), _normal(generator, 7), torch.arange(7))


def preference() -> Preference:
    generator = torch.Generator().manual_seed(0)
    logprobs = [-_normal(generator, 6, 5).abs() for _ in range(4)]
    lengths = torch.randint(1, 6, (2, 6, 1), generator=generator)
    chosen_mask, rejected_mask = torch.arange(5) < lengths
    return Preference(*logprobs, chosen_mask, rejected_mask, torch.arange(6))


def rollout() -> Rollout:
    generator = torch.Generator().manual_seed(0)
    logprobs = -_normal(generator, 9).abs()
    old_logprobs = logprobs + 0.3 * _normal(generator, 9)
    rest = [_normal(generator, 9) for _ in range(3)]
    return Rollout(logprobs, old_logprobs, *rest, _normal(generator, 9).abs())


CASES = {
    "aldr": Case(
        labelled,
        ("logits",),
        settings=(
            {},
            {"tau": 0.3, "alpha": 1.2, "margin": 2.0},
            {"tau": 0.5, "margin": 2.0, "normalize": True},
        ),
        lacks={
            "golden": "its golden case is a sequence of steps: see test_noise_robust.py",
            "stackable": "its temperatures are made with its hyperparameters",
        },
    ),
    "comp_sum": Case(labelled, ("logits",), settings=({}, {"tau": 1.0}, {"tau": 2.0})),
    "crammer_singer": Case(
        labelled,
        ("logits",),
        settings=({}, {"margin": 0.3}),
    ),
    "cross_entropy": Case(labelled, ("logits",)),
    "dpo": Case(preference, ("chosen_logprobs", "rejected_logprobs"), settings=({}, {"beta": 0.7})),
    "focal": Case(labelled, ("logits",), settings=({}, {"gamma": 0.0}, {"gamma": 0.5})),
    "gaussian_nll": Case(
        gaussian,
        ("predictions", "log_variances"),
        lacks={"golden": "compared with torch and scipy: see test_regression.py"},
    ),
    "gce": Case(labelled, ("logits",), settings=({}, {"q": 1.0})),
    "huber": Case(
        predicted,
        ("predictions",),
        settings=({}, {"delta": 0.2}),
        lacks={"golden": "compared with torch: see test_regression.py"},
    ),
    "info_nce": Case(views, ("embeddings_1", "embeddings_2"), settings=({}, {"tau": 0.7})),
    "ldr": Case(
        labelled,
        ("logits",),
        settings=(
            {},
            {"tau": 0.3, "margin": 2.0},
            {"tau": 0.5, "margin": 2.0, "normalize": True},
        ),
    ),
    "mae": Case(labelled, ("logits",)),
    "mse": Case(
        predicted, ("predictions",), lacks={"golden": "no code but torch's own to take it from"}
    ),
    "ppo": Case(
        rollout,
        ("logprobs", "values", "entropies"),
        settings=({}, {"epsilon": 0.1, "value_weight": 0.0, "entropy_weight": 0.0}),
    ),
    "quantile": Case(quantiles, ("quantiles",), settings=({}, {"levels": [0.9, 0.2, 0.6]})),
    "reinforce": Case(
        rollout,
        ("logprobs", "values", "entropies"),
        settings=({}, {"value_weight": 0.0, "entropy_weight": 0.3}),
        lacks={"golden": "its golden case is of scores, not of a rollout: see test_policy.py"},
    ),
    "weighted": Case(
        labelled,
        ("logits",),
        settings=({}, {"weights": {"a": 2.0, "b": 0.5}}),
        lacks={
            "golden": "its terms have theirs",
            "stackable": "its terms are bound before it",
            "defaults": "it has no terms of its own",
        },
        on_task={
            "cartpole": ("objective@terms.a=ppo", "objective@terms.b=ppo"),
            "diabetes": ("objective@terms.a=mse", "objective@terms.b=mse"),
            "friedman": ("objective@terms.a=mse", "objective@terms.b=huber"),
            "gym": ("objective@terms.a=ppo", "objective@terms.b=reinforce"),
            "pairs": ("objective@terms.a=dpo", "objective@terms.b=dpo"),
        },
    ),
}


def names() -> list[str]:
    """Every objective that can be configured."""
    return sorted(file.stem for file in (ROOT / "conf" / "objective").glob("*.yaml"))


def configured(name: str, **setting: Any) -> "partial[Any]":
    """The objective as its YAML gives it but for a setting, neither checked nor bound."""
    factory = composed(name)
    return partial(factory.func, **factory.keywords | setting)


@cache
def composed(name: str, *overrides: str) -> "partial[Any]":
    """The objective as Hydra composes it."""
    with hydra.initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        config = hydra.compose("config", [f"objective={name}", *overrides])
    plain: Any = OmegaConf.to_container(config, resolve=True)
    return instantiated(plain, "objective")


def bound(name: str, setting: Mapping[str, Any]) -> Objective:
    """The objective, ready to use."""
    return bind(check(configured(name, **setting)), FACTS)


def settled(name: str, setting: Mapping[str, Any]) -> Objective:
    """The objective in float64 after one step of training, remembering no more from here on."""
    objective = bound(name, setting).double()
    objective(CASES[name].record())
    return objective.eval()


def rows(record: Record, chosen: Tensor) -> Record:
    """Some examples of a record."""
    return replace(record, **{f.name: getattr(record, f.name)[chosen] for f in fields(record)})


def cast(record: Record, dtype: torch.dtype) -> Record:
    """The record with its floating-point fields in another type."""
    columns = {f.name: getattr(record, f.name) for f in fields(record)}
    return replace(record, **{n: c.to(dtype) for n, c in columns.items() if c.is_floating_point()})


def leaves(record: Record, learned: tuple[str, ...]) -> Record:
    """The record with fresh leaves in the fields through which a model would learn."""
    return replace(
        record, **{n: getattr(record, n).detach().clone().requires_grad_() for n in learned}
    )


def _normal(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(shape, generator=generator, dtype=torch.float64)
