"""Examples for the tests that hold for every objective: see test_suite.py."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from typing import Any

import hydra
import torch
from omegaconf import OmegaConf
from torch import Tensor

from objectives.objective import Objective, bind, check
from objectives.records import (
    Attributed,
    Bagged,
    Embedded,
    Gaussian,
    GuidedTransitions,
    Labelled,
    Mixed,
    Ordinal,
    Predicted,
    Preference,
    Quantiles,
    Record,
    Rollout,
    Transitions,
    Views,
)
from runner.build import instantiated

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden"
FACTS = {"num_classes": 5, "num_examples": 12, "attribute_columns": (1, 2)}
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
        still: Parameters of a model that cancel in it, so that only rounding moves them.
    """

    record: Callable[[], Record]
    learned: tuple[str, ...]
    settings: tuple[Mapping[str, Any], ...] = ({},)
    lacks: Mapping[str, str] = field(default_factory=dict)
    on_task: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    still: tuple[str, ...] = ()


def labelled() -> Labelled:
    generator = torch.Generator().manual_seed(0)
    return Labelled(
        logits=2 * _normal(generator, 8, 5),
        labels=torch.randint(5, (8,), generator=generator),
        index=torch.randperm(12, generator=generator)[:8],
    )


def attributed() -> Attributed:
    generator = torch.Generator().manual_seed(1)
    attributes = _normal(generator, 8, 3)
    attributes[:, 0] = torch.arange(8) % 2
    known = labelled()
    return Attributed(known.logits, known.labels, known.index, attributes)


def views() -> Views:
    generator = torch.Generator().manual_seed(0)
    return Views(_normal(generator, 6, 4), _normal(generator, 6, 4), torch.arange(6))


def embedded() -> Embedded:
    generator = torch.Generator().manual_seed(6)  # some pairs are just within each margin
    labels = torch.tensor([0, 1, 2, 0, 1, 2, 2, 3])  # the last is alone in its class
    return Embedded(_normal(generator, 8, 4) + 1, labels, torch.arange(8))


def mixed() -> Mixed:
    generator = torch.Generator().manual_seed(1)
    plain = embedded()
    pairs = torch.stack([torch.arange(8), torch.tensor([1, 2, 0, 4, 6, 3, 0, 1])], dim=1)
    shares = torch.rand(8, generator=generator, dtype=torch.float64)
    columns = plain.labels[pairs], plain.index[pairs], shares
    return Mixed(*vars(plain).values(), _normal(generator, 8, 4) + 1, *columns)


def predicted() -> Predicted:
    generator = torch.Generator().manual_seed(0)
    return Predicted(_normal(generator, 7), _normal(generator, 7), torch.arange(7))


def bagged() -> Bagged:
    """Bags of 3, 2, 1 and 1 examples."""
    bags, targets = torch.tensor([4, 0, 4, 2, 0, 4, 1]), predicted().targets
    return Bagged(predicted().predictions, targets[bags], torch.arange(7), bags)


def gaussian() -> Gaussian:
    generator = torch.Generator().manual_seed(0)
    means, targets, log_variances = (_normal(generator, 7) for _ in range(3))
    return Gaussian(means, targets, torch.arange(7), log_variances)


def quantiles() -> Quantiles:
    generator = torch.Generator().manual_seed(0)
    return Quantiles(_normal(generator, 7, 3), _normal(generator, 7), torch.arange(7))


def ordinal() -> Ordinal:
    """Four classes; the thresholds of no example cross."""
    generator = torch.Generator().manual_seed(0)
    cumulative_logits = _normal(generator, 8, 3).sort(dim=1).values + torch.arange(3)
    labels = torch.arange(8) % 4
    return Ordinal(cumulative_logits, labels, _normal(generator, 3, 2), torch.arange(8))


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


def transitions() -> Transitions:
    generator = torch.Generator().manual_seed(0)
    values = [_normal(generator, 6) for _ in range(4)]
    actions = [_normal(generator, 6, 2).tanh() for _ in range(2)]
    return Transitions(*values[:3], *actions, values[3], torch.arange(6))


def guided_transitions() -> GuidedTransitions:
    """Each of the two actions is the better one somewhere, and neither beats the state's value."""
    generator = torch.Generator().manual_seed(1)
    values = [_normal(generator, 6) for _ in range(3)]
    actions = [_normal(generator, 6, 2).tanh() for _ in range(2)]
    latent = _normal(generator, 6, 4), _normal(generator, 6, 4).exp()
    return GuidedTransitions(
        *vars(transitions()).values(), actions[0], *values, actions[1], *latent
    )


def cases() -> dict[str, Case]:
    """The case of every objective, from the tests of its family."""
    here = Path(__file__).parent
    families = [file.stem for file in sorted(here.glob("test_*.py")) if file.stem not in FOR_ALL]
    found = [getattr(import_module(family), "CASES", {}) for family in families]
    return {name: case for cases in found for name, case in cases.items()}


FOR_ALL = "test_suite", "test_training"
"""The tests that go through the cases."""


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


def rows(record: Record, chosen: Tensor) -> Record:
    """Some examples of a record; what is of the model alone stays."""
    columns = {f.name: getattr(record, f.name) for f in fields(record)}
    own = {name: c[chosen] for name, c in columns.items() if name != OF_THE_MODEL}
    return replace(record, **own)


OF_THE_MODEL = "coefficients"
"""The field of a record that has no row for each example."""


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
