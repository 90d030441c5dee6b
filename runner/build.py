"""From a resolved config to the parts of a run, checked before any work."""

import importlib
import inspect
import pydoc
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import hydra.utils
import numpy as np
import torch
from hydra.errors import InstantiationException
from torch import nn
from torch.optim.lr_scheduler import LRScheduler

from objectives.errors import InputError
from objectives.objective import bind, check, fill, hyperparameters, objective_fields, title
from objectives.records import field_names
from runner import catalogue, checkpoint
from runner.algorithms.descent import Descent
from runner.diagnostics.diagnostic import Diagnostic
from runner.learner import Learner
from runner.pretrained import config_of, descriptions, own_config
from runner.rundir import run_directory
from runner.settings import Settings
from tasks.protocol import Monitor, Protocol

Factory = partial[Any]

UNEXPECTED = r"(\w+)\(\) got an unexpected keyword argument '(\w+)'"
NO_MEMBER = r"No module named '([\w.]+)\.(\w+)'; '\1' is not a package"
"""As Python says them."""


@dataclass(frozen=True)
class Experiment:
    """The parts of a run, ready to train."""

    settings: Settings
    learner: Learner
    algorithm: Descent
    schedule: LRScheduler | None
    diagnostics: tuple[Diagnostic, ...]
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


def build(
    config: dict[str, Any], data: Any = None, built_on: Mapping[str, Path] | None = None
) -> Experiment:
    """Make every part of a run.

    Args:
        config: The config.
        data: What its `task.data` makes, where that is there already.
        built_on: Directories of the finished runs that it builds on, by name; where they are not
            given, untrained models stand for theirs, to see whether the rest can be made.

    Raises:
        InputError: Something in the config does not exist, fit or hold.
    """
    settings, device, objective, factory = check_config(config)
    data = instantiated(config["task"], "data") if data is None else data
    known = pretrained_models(config, data, built_on or {})
    seed_everything(settings.seed)
    protocol = make_protocol(config, objective, factory, data, known)
    model = make_model(config, protocol, known.get("initial"))
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
    check_targets(model, algorithm)
    diagnostics = chosen_diagnostics(config, learner)
    protocol.prepare(model)
    return Experiment(settings, learner, algorithm, schedule, diagnostics, total_steps)


def check_targets(model: nn.Module, algorithm: Descent) -> None:
    """See to it that what follows a model is moved.

    Raises:
        InputError: The model has targets, which the algorithm leaves as they are.
    """
    if hasattr(model, "targets") and not hasattr(algorithm, "targets"):
        raise InputError(
            "this model learns from targets that follow it slowly, which algorithm=td3 alone "
            "moves; choose that one."
        )


def make_protocol(
    config: dict[str, Any],
    objective: Factory,
    factory: Factory,
    data: Any,
    known: Mapping[str, Any],
) -> Protocol:
    """The protocol, with what it asks for by name."""
    facts = Settings.of(config).model_dump() | {"data": data, **known}
    facts |= {"device": find_device(config["device"])} | chosen_sampler(config, factory)
    protocol: Protocol = made(fill(factory, facts | hyperparameters(objective)))
    return protocol


def make_model(
    config: dict[str, Any], protocol: Protocol, initial: nn.Module | None = None
) -> nn.Module:
    """The model, from where another one has got to where there is such, and what learns beside it.

    Raises:
        InputError: The other one is of another kind.
    """
    model: nn.Module = made(fill(instantiated(config, "model"), protocol.facts))
    if initial is not None:
        restore(model, initial.state_dict())
    return protocol.trained(model).to(find_device(config["device"]))


def pretrained_models(
    config: dict[str, Any], data: Any, built_on: Mapping[str, Path]
) -> dict[str, nn.Module]:
    """The models that a run builds on, by name: frozen, in evaluation mode.

    Raises:
        InputError: One cannot be made, or does not fit the task.
    """
    found: dict[str, nn.Module] = {}
    for name, described in descriptions(config).items():
        try:
            model = pretrained_model(config, described, data, built_on.get(name))
        except InputError as error:
            given = name if isinstance(described, Mapping) else f"{name}={described}"
            raise InputError(f"{given} cannot be built on: {error}") from None
        found[name] = model.to(find_device(config["device"])).eval().requires_grad_(False)
    return found


def pretrained_model(config: dict[str, Any], described: Any, data: Any, run: Path | None) -> Any:
    """A model from its description, or from the directory of a run or a function named instead."""
    if isinstance(described, Mapping):
        given = described.get("checkpoint")
        weights = Path(given) if given else run and run / "checkpoint.pt"
        return trained_model(own_config(config, described), data, weights)
    if found := run_directory(described):
        return trained_model(own_config(config, config_of(found)), data, found / "checkpoint.pt")
    return model_of_function(str(described))


def model_of_function(name: str) -> nn.Module:
    """What a function without arguments makes, by its dotted name.

    Raises:
        InputError: There is no such function, or what it makes is no model.
    """
    if Path(name).is_file():
        raise InputError(
            "a file of weights does not say of which model they are; describe it beside them, as "
            f"in +teacher.checkpoint={name} model@teacher.model=cnn."
        )
    try:
        function = pydoc.locate(name)
    except pydoc.ErrorDuringImport as error:
        raise InputError(str(error)) from error
    if not callable(function):
        raise InputError(
            f"it is neither a finished run's directory (seen from {Path.cwd()}) nor a function."
        )
    model = made(partial(function))
    if not isinstance(model, nn.Module):
        raise InputError(f"{title(function)} makes no torch.nn.Module, but {model!r:.60}.")
    return model


def trained_model(config: dict[str, Any], data: Any, weights: Path | None) -> nn.Module:
    """The model of a config, with the weights of a checkpoint where one is given."""
    _, _, objective, factory = check_config(config)
    known = pretrained_models(config, data, {})
    seed_everything(config["seed"])
    model = make_model(config, make_protocol(config, objective, factory, data, known))
    if weights is not None:
        restore(model, checkpoint.model_state(weights))
    return model


def restore(model: nn.Module, state: Mapping[str, Any]) -> None:
    """Give a model the weights of another.

    Raises:
        InputError: They do not fit.
    """
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        said = str(error).splitlines()[-1].strip()
        raise InputError(f"the weights do not fit the model: {said}") from None


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


def chosen_diagnostics(config: Mapping[str, Any], learner: Learner) -> tuple[Diagnostic, ...]:
    """The config's diagnostics, each ready to watch the learner."""
    chosen = config.get("diagnostics", {})
    return tuple(made(check(instantiated(chosen, name)), learner) for name in chosen)


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
        said = re.sub(NO_MEMBER, _no_member, said)
        raise InputError(f"{key} cannot be made: {said}") from error


def _no_member(said: re.Match[str]) -> str:
    """What a module has instead of what it does not have."""
    module = importlib.import_module(said[1])
    own = [n for n, v in vars(module).items() if getattr(v, "__module__", "") == said[1]]
    return f"{said[1]} has no {said[2]} (it has: {', '.join(n for n in own if n[0] != '_')})"


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
