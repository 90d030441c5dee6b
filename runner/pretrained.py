"""Pretrained models: what a run builds on, a teacher, or the model that it starts from.

An objective's config lists them under `builds_on`, and describes each under its name:

    builds_on: [teacher]
    teacher: {model: ..., objective: ..., optimizer: ..., epochs: 20, ...}

The description is a run of its own on the same task, data and seed, made first and kept as every
run is: two students of one teacher find it there. As part of the config it is part of what the run
means. With weights of its own, `+teacher.checkpoint=PATH`, nothing is trained: they are given to
the model that is described. In its place may stand the directory of a finished run,
`teacher=runs/0a1b2c3d4e5f`, or a function without arguments that makes a model,
`teacher=my_models.teacher`. The model called `initial`, which every run may have, is what its own
model starts from; the others go to the protocol, by name.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from objectives.errors import InputError
from runner.catalogue import YAML

SHARED = (
    *("task", "files", "data", "root", "device", "tracking", "seed", "precision", "compile"),
    *("log_every", "evaluate_every", "checkpoint_every"),
)
"""What such a run shares with the one that builds on it."""


def descriptions(config: Mapping[str, Any]) -> dict[str, Any]:
    """What a run builds on, by name, its objective's terms included.

    Raises:
        InputError: Two terms mean different models by one name.
    """
    found: dict[str, Any] = {}
    for part in _with_terms(config):
        for name in ("initial", *part.get("builds_on", [])):
            described = part.get(name)
            if described is not None and found.setdefault(name, described) != described:
                raise InputError(f"the terms build on different models called {name}.")
    return found


def trained_first(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of what a run builds on that are runs of their own."""
    found = descriptions(config).items()
    return tuple(
        name for name, one in found if isinstance(one, Mapping) and not one.get("checkpoint")
    )


def _with_terms(config: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """A config, and those of the objectives that its own is made of, at any depth."""
    yield config
    for term in (config.get("term"), *(config.get("terms") or {}).values()):
        if isinstance(term, Mapping):
            yield from _with_terms(term)


def config_of(run: Path) -> dict[str, Any]:
    """What a finished run has of its own."""
    config: dict[str, Any] = yaml.load((run / "config.yaml").read_text(), YAML)
    return {key: value for key, value in config.items() if key not in SHARED}


def own_config(config: Mapping[str, Any], described: Mapping[str, Any]) -> dict[str, Any]:
    """The config of a run that another one builds on, from what it has of its own."""
    return {key: config[key] for key in SHARED if key in config} | dict(described)


def own_choices(choices: Mapping[str, str], name: str) -> Iterator[tuple[str, str]]:
    """The options chosen for what is described under a name, a term's too."""
    for place, option in choices.items():
        group, _, package = place.partition("@")
        if name in (package.split(".")[-1], package.removesuffix(f".{group}").split(".")[-1]):
            yield group, option
