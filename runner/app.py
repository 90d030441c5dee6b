"""Experiments: from command-line overrides, through Hydra, to jobs."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from hydra.errors import (
    ConfigCompositionException,
    HydraException,
    MissingConfigException,
    OverrideParseException,
)
from hydra.types import RunMode, TaskFunction
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from objectives.errors import InputError
from runner import report
from runner.catalogue import CONF, options, unknown
from runner.console import console
from runner.job import Job, execute, outcome
from runner.rundir import RunDir
from runner.track.follow import following
from sweeps.forecast import print_forecast
from sweeps.grid import UnknownKey, axes
from sweeps.sweep import SweepFailed
from sweeps.zipped import spelled_out

DRY_RUN = "--dry-run"


def run_experiments(arguments: list[str]) -> None:
    """Run what the overrides and flags say; flags may stand anywhere.

    Raises:
        InputError: Something in them does not exist, fit or hold.
    """
    dry_run = DRY_RUN in arguments
    arguments = [argument for argument in arguments if argument != DRY_RUN]
    parsed = get_args_parser().parse_intermixed_args(arguments)
    words = list(parsed.overrides)
    overrides = spelled_out(words) + ["hydra.sweeper.dry_run=true"] * dry_run
    sys.path.insert(0, str(Path.cwd()))  # a user's own objectives are imported from here
    alone: list[DictConfig] = []

    def task(config: DictConfig) -> dict[str, float]:
        composed = OmegaConf.merge({"hydra": HydraConfig.get()}, config)
        assert isinstance(composed, DictConfig)
        if HydraConfig.get().mode is RunMode.MULTIRUN:
            return run_member(Job.of(composed))
        alone.append(composed)
        return {}

    flags = [argument for argument in arguments if argument not in words]
    with clear_errors(overrides):
        call_hydra(task, flags, overrides)
        jobs = [Job.of(composed) for composed in alone]  # Hydra would say more of what is wrong
    for job in jobs:
        if dry_run:
            print_forecast([job], capacity=1)
        else:
            run_alone(job)


def run_claims(words: tuple[str, ...], every: bool) -> None:
    """Run claims one after another; where jobs of one fail, the others are run all the same.

    Args:
        words: Names of claims, and overrides for all of them.
        every: Whether all claims that there are.

    Raises:
        InputError: There is no such claim, or something is wrong with one.
        SweepFailed: Jobs failed.
    """
    from runner import claim

    names = [word for word in words if "=" not in word and not word.startswith("~")]
    overrides = [word for word in words if word not in names]
    if every == bool(names):
        raise InputError(
            f"name claims, or --all of them; there are: {', '.join(claim.all_names()) or 'none'}."
        )
    chosen = [claim.named(name) for name in names or claim.all_names()]
    failed = []
    for one in chosen:
        try:
            run_experiments([f"experiment={one.name}", "hydra/sweeper=claim", *overrides, "-m"])
        except SweepFailed as error:
            failed.append(f"{one.name}: {error}")
    if failed:
        raise SweepFailed("\n".join(failed))


def resume_run(given: str) -> None:
    """Start a run again from its own directory, as it was composed then.

    Args:
        given: The directory, or the beginning of a signature in ./runs.

    Raises:
        InputError: There is no such run.
    """
    found = [Path(given)] if "/" in given else sorted(Path("runs").glob(f"{given}*/"))
    runs = [run for run in map(RunDir, found) if run.exists()]
    if len(runs) != 1:
        raise InputError(f"{given} is {'no run' if not runs else 'several runs'}; see runs/.")
    sys.path.insert(0, str(Path.cwd()))
    job = Job.again(runs[0])
    if job.signature != runs[0].path.name:
        console.print("code or data have changed since: this is another run")
    run_alone(job)


def run_alone(job: Job) -> dict[str, float]:
    """One job by itself, with its table."""
    job.check_root()
    was_done = job.is_done()
    console.print(job.name)
    with following(job.config):
        metrics = execute(job)
    if was_done:
        console.print("finished before: nothing to do")
    report.print_run(metrics, str(job.directory.path))
    return metrics


def run_member(job: Job) -> dict[str, float]:
    """One job of a sweep: a line when it ends, however that is."""
    try:
        metrics = execute(job)
    except Exception as error:
        console.print(f"{job.name}  {type(error).__name__}: {error}")
        raise
    console.print(outcome(job.name, job.directory))
    return metrics


def call_hydra(task: TaskFunction, flags: list[str], overrides: list[str]) -> None:
    """Have Hydra compose and call; in a sweep, a setting that it finds nowhere becomes an axis.

    Hydra composes by itself what is not swept, where options that have the setting may be lacking.
    """
    try:
        with hydra_called(flags, overrides):
            hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")(task)()
    except ConfigCompositionException as error:
        parsed = OverridesParser.create().parse_overrides(overrides)
        others = [_as_axis(override, str(error)) for override in parsed]
        if others == overrides or not any(override.is_sweep_override() for override in parsed):
            raise
        call_hydra(task, flags, others)


def _as_axis(override: Override, error: str) -> str:
    """An override; the one that the error is about, if it has a single value, as an axis."""
    key = override.key_or_group
    fixed = override.type is OverrideType.CHANGE and not override.is_sweep_override()
    if not fixed or key.startswith("hydra.") or f"override '{key}'" not in error:
        return str(override.input_line)
    return f"{key}=choice({override.get_value_element_as_str()})"


@contextmanager
def hydra_called(flags: list[str], overrides: list[str]) -> Iterator[None]:
    """Call Hydra as it wants to be called: flags first, then overrides, errors raised."""
    before = sys.argv, dict(os.environ)
    sys.argv = [sys.argv[0], *flags, *overrides]
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        yield
    finally:
        sys.argv = before[0]
        os.environ.clear()
        os.environ.update(before[1])


@contextmanager
def clear_errors(overrides: list[str]) -> Iterator[None]:
    """Say what is wrong with a config in one message."""
    try:
        yield
    except MissingConfigException as error:
        raise InputError(_missing_option(error)) from error
    except UnknownKey as error:
        raise InputError(_unknown_key(error.key, error.config)) from error
    except OverrideParseException as error:
        raise InputError(f"{error.override} is no override: {error.message}") from error
    except ConfigCompositionException as error:
        raise InputError(_failed_override(error, overrides)) from error
    except (HydraException, OmegaConfBaseException, YAMLError) as error:
        raise InputError(str(error)) from error


def _missing_option(error: MissingConfigException) -> str:
    group, _, name = (error.missing_cfg_file or "").rpartition("/")
    if not group or error.options is None:
        return str(error)
    return unknown(f"{group}={name}", name, sorted(error.options))


def _failed_override(error: Exception, overrides: list[str]) -> str:
    """Find the override of a key that the config does not have, by composing without it."""
    parsed = OverridesParser.create().parse_overrides(overrides)
    for key in {override.get_key_element().lstrip("+~") for override in parsed}:
        if f"override '{key}'" in str(error):
            rest = [axis.points[0][0] for axis in axes(overrides) if key not in axis.keys]
            try:
                with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
                    composed = hydra.compose("config", rest, return_hydra_config=True)
            except ConfigCompositionException as another:
                return _failed_override(another, rest)
            return _unknown_key(key, composed)
    return str(error)


def _unknown_key(key: str, config: DictConfig) -> str:
    """Say that a setting does not exist, which are near, and who has one of that name."""
    parent, _, name = key.rpartition(".")
    node = OmegaConf.select(config, parent) if parent else config
    known = (
        [str(k) for k in node if k not in ("hydra", "_target_")]
        if isinstance(node, DictConfig)
        else []
    )
    if parent and name in known:
        return f"{key} cannot be set: {parent} is {_as_written(config, parent)}; set it there."
    inside = [] if parent else _holding(config, name)
    near = f"{key} does not exist. Did you mean {' or '.join(inside)}?"
    message = near if inside else unknown(key, name, known)
    having = [n for n, entry in options("objective").items() if name in entry.config]
    if having and not parent:
        objective = str(config.objective["_target_"]).rpartition(".")[2]
        message = f"{objective} has no {key}; objectives that do: {', '.join(having)}.\n{message}"
    return message


def _as_written(config: DictConfig, key: str) -> Any:
    """A setting before what it refers to is put in."""
    parent, _, name = key.rpartition(".")
    node = OmegaConf.select(config, parent) if parent else config
    written: Any = OmegaConf.to_container(node)
    return written[name]


def _holding(config: DictConfig, name: str) -> list[str]:
    """Settings of that name that parts of a config have."""
    parts: Any = OmegaConf.to_container(config)
    hidden = ("hydra", "task", "objective", "space")
    return [
        f"{place}.{name}"
        for place, part in parts.items()
        if place not in hidden and isinstance(part, dict) and name in part
    ]
