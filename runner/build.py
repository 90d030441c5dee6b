"""From a resolved config to the parts of a run, checked before any work."""

import inspect
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import hydra.utils
import numpy as np
import torch
from hydra.errors import InstantiationException
from torch.optim.lr_scheduler import LRScheduler

from objectives.errors import InputError
from objectives.objective import bind, check, fill, hyperparameters, objective_fields, title
from objectives.records import field_names
from runner import catalogue
from runner.algorithms.descent import Descent
from runner.learner import Learner
from runner.settings import Settings
from tasks.protocol import Monitor, Protocol

Factory = partial[Any]

UNEXPECTED = r"(\w+)\(\) got an unexpected keyword argument '(\w+)'"
"""As Python says it."""


@dataclass(frozen=True)
class Experiment:
    """The parts of a run, ready to train."""

    settings: Settings
    learner: Learner
    algorithm: Descent
    schedule: LRScheduler | None
    total_steps: int

    @property
    def steps_per_epoch(self) -> int:
        return self.learner.protocol.steps_per_epoch

    @cached_property
    def evaluation_interval(self) -> int:
        """Steps between two evaluations."""
        return max(1, round(self.settings.evaluate_every * self.steps_per_epoch))


def check_config(config: dict[str, Any]) -> tuple[Settings, torch.device, Factory, Factory]:
    """What can be known to be wrong before data are read: settings, device, objective, protocol.

    Raises:
        InputError: Something in the config does not exist, fit or hold.
    """
    settings = Settings.of(config)
    device = find_device(config["device"])
    objective = check(instantiated(config, "objective"))
    return settings, device, objective, choose_protocol(config, objective)


def check_all(configs: list[dict[str, Any]]) -> list[Monitor]:
    """Build one run after another, to see whether it can be done; data are read once if the same.

    Returns:
        The metric by which each is judged.

    Raises:
        InputError: Something in a config does not exist, fit or hold.
    """
    kept: tuple[Any, Any] = None, None
    monitors = []
    for config in configs:
        if kept[0] != config["task"]["data"]:
            check_config(config)  # what needs no data first
            kept = config["task"]["data"], instantiated(config["task"], "data")
        monitors.append(build(config, kept[1]).learner.protocol.monitor)
    return monitors


def build(config: dict[str, Any], data: Any = None) -> Experiment:
    """Make every part of a run.

    Args:
        config: The config.
        data: What its `task.data` makes, where that is there already.

    Raises:
        InputError: Something in the config does not exist, fit or hold.
    """
    settings, device, objective, protocol_factory = check_config(config)
    data = instantiated(config["task"], "data") if data is None else data
    seed_everything(settings.seed)
    facts = settings.model_dump() | {"data": data, "device": device}
    facts |= chosen_sampler(config, protocol_factory)
    protocol: Protocol = made(fill(protocol_factory, facts | hyperparameters(objective)))
    model = made(fill(instantiated(config, "model"), protocol.facts)).to(device)
    if settings.compile:
        model.compile()
    bound = bind(objective, protocol.facts).to(device)
    parameters = [*model.parameters(), *bound.parameters()]
    optimizer = made(instantiated(config, "optimizer"), parameters)
    learner = Learner(
        model,
        protocol,
        bound,
        optimizer,
        device,
        settings.accumulate,
        settings.clip,
        settings.precision,
    )
    total_steps = settings.steps or round(settings.epochs * protocol.steps_per_epoch)
    schedule = made(check(instantiated(config, "schedule")), optimizer, max(total_steps, 1))
    algorithm = made(check(instantiated(config, "algorithm")), learner)
    protocol.prepare(model)
    return Experiment(settings, learner, algorithm, schedule, total_steps)


def choose_protocol(config: Mapping[str, Any], objective: Factory) -> Factory:
    """The protocol of the task with the poorest record that has every field needed.

    Raises:
        InputError: No record of the task has them.
    """
    needed = objective_fields(objective)
    protocols = instantiated(config["task"], "protocols")
    records = {protocol: field_names(protocol.func.record) for protocol in protocols}
    fitting = [protocol for protocol, fields in records.items() if fields.issuperset(needed)]
    if fitting:
        return min(fitting, key=lambda protocol: len(records[protocol]))
    offers = "; ".join(
        f"{p.func.record.__name__} without {', '.join(n for n in needed if n not in fields)}"
        for p, fields in records.items()
    )
    fit = ", ".join(catalogue.fitting_objectives(config["task"]))
    raise InputError(
        f"objective {title(objective)} needs {', '.join(needed)}; this task yields {offers}.\n"
        f"Objectives that fit it: {fit}."
    )


def chosen_sampler(config: Mapping[str, Any], protocol: Factory) -> dict[str, Any]:
    """The config's sampler for the protocol, where it has one.

    Raises:
        InputError: The protocol decides by itself which examples a batch holds.
    """
    if config.get("sampler") is None:
        return {}
    if "sampler" not in inspect.signature(protocol).parameters:
        raise InputError(
            f"sampler is given, but {title(protocol)} decides by itself what a batch holds; "
            "leave sampler=... out for this task and objective."
        )
    return {"sampler": check(instantiated(config, "sampler"))}


def instantiated(config: Mapping[str, Any], key: str) -> Any:
    """Hydra's instantiation of one node, with what went wrong in one sentence.

    Raises:
        InputError: The target cannot be imported, or is called wrongly.
    """
    try:
        return hydra.utils.instantiate(config[key], _convert_="all")
    except InstantiationException as error:
        cause = error.__cause__
        if isinstance(cause, InputError):
            raise cause from None
        reason = cause.__cause__ if cause is not None and cause.__cause__ else cause or error
        said = re.sub(UNEXPECTED, r"\1 has no \2", str(reason).splitlines()[0])
        raise InputError(f"{key} cannot be made: {said}") from error


def made(factory: Factory, *arguments: Any) -> Any:
    """Call a factory, with what a library says against its values in one sentence.

    Raises:
        InputError: The values do not suit the factory.
    """
    try:
        return factory(*arguments)
    except (TypeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{title(factory)} cannot be made: {error}") from error


def find_device(name: str) -> torch.device:
    """The device of a name; "auto" is the first GPU, or the CPU.

    Raises:
        InputError: There is no such device here.
    """
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        return torch.device("cuda" if count else "cpu")
    kind, _, index = name.partition(":")
    there_is = kind == "cpu" or (kind == "cuda" and int(index or 0) < count)
    if there_is and index in {"", *map(str, range(count))}:
        return torch.device(name)
    there = ", ".join(["auto", "cpu", *(f"cuda:{number}" for number in range(count))])
    raise InputError(f"device={name} does not exist here (there are: {there}).")


def seed_everything(seed: int) -> None:
    """Seed every global generator."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
