"""One job: a composed config, its identity, and its execution in a run directory."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf, open_dict

from objectives.errors import InputError
from runner.catalogue import YAML
from runner.console import console
from runner.identity import signature, targets
from runner.rundir import Interrupted, RunDir, State, write_whole

PLACES = {"root", "data", "tracking", "device"}
"""Settings that say where a run happens; its name leaves them out."""

log = logging.getLogger("runner")


@dataclass(frozen=True)
class Job:
    """A composed config as plain values, and how it came about.

    Attributes:
        config: The config, resolved.
        neutral: The same with placeholders for paths: what the signature is made of.
        choices: The option chosen in each config group.
        overrides: The command-line overrides of this job.
    """

    config: dict[str, Any]
    neutral: dict[str, Any]
    choices: Mapping[str, str]
    overrides: tuple[str, ...]

    @classmethod
    def of(cls, composed: DictConfig) -> "Job":
        """A job from a config that Hydra composed, its `hydra` node included."""
        hydra = composed.hydra
        own = OmegaConf.masked_copy(composed, [str(key) for key in composed if key != "hydra"])
        _forget_other_model(own, hydra.overrides.task)
        placeholders = {"root": "<root>", "data": "<data>"}
        config, neutral = _plain(own), _plain(OmegaConf.merge(own, placeholders))
        choices = _plain(hydra.runtime.choices)
        return cls(config, neutral, choices, tuple(hydra.overrides.task))

    @classmethod
    def again(cls, run: RunDir) -> "Job":
        """The job of an existing run directory."""
        planned = run.run
        config: dict[str, Any] = yaml.load((run.path / "config.yaml").read_text(), YAML)
        return cls(config, planned["meaning"], planned["choices"], tuple(planned["overrides"]))

    @property
    def modules(self) -> set[str]:
        """The modules that the config names."""
        return {target.rpartition(".")[0] for target in targets(self.config)}

    @cached_property
    def signature(self) -> str:
        return signature(self.neutral, Path(self.config["data"]), self.runs / ".fingerprints.json")

    @property
    def runs(self) -> Path:
        return Path(self.config["root"]) / "runs"

    @property
    def setting(self) -> str:
        """Task, objective and what else was overridden, but for the seed."""
        named = {"task", "objective", "seed", *PLACES}
        others = (o for o in self.overrides if o.lstrip("+~").split("=")[0] not in named)
        return " ".join([self.choices["task"], self.choices["objective"], *others])

    @property
    def name(self) -> str:
        return f"{self.setting} seed={self.config['seed']}"

    @property
    def directory(self) -> RunDir:
        """Where the run is, or would be."""
        return RunDir(self.runs / self.signature)

    def is_done(self) -> bool:
        """Whether the run has finished before."""
        return self.directory.exists() and self.directory.state is State.DONE

    def plan(self) -> RunDir:
        """The run's directory, made if it is not there yet."""
        facts = {
            "signature": self.signature,
            "name": self.name,
            "setting": self.setting,
            "seed": self.config["seed"],
            "choices": dict(self.choices),
            "overrides": list(self.overrides),
            "meaning": self.neutral,
        }
        return RunDir.plan(self.runs, facts, OmegaConf.to_yaml(OmegaConf.create(self.config)))

    def check_root(self) -> None:
        """Try to write where runs are kept.

        Raises:
            InputError: The root cannot be written to.
        """
        try:
            self.runs.mkdir(parents=True, exist_ok=True)
            write_whole(self.runs / ".writable", "")
            (self.runs / ".writable").unlink()
        except OSError as error:
            raise InputError(
                f"runs cannot be kept in {self.runs.absolute()}: {error.strerror}. "
                "Name another folder with root=PATH."
            ) from None


def _forget_other_model(config: DictConfig, overrides: list[str]) -> None:
    """Where `model._target_` names another class, the option's own settings are not for it."""
    given = {override.lstrip("+").split("=")[0] for override in overrides}
    if "model._target_" in given:
        keys = [str(key) for key in config.model if str(key) not in {"_target_", "_partial_"}]
        with open_dict(config.model):
            for key in keys:
                if f"model.{key}" not in given:
                    del config.model[key]


def _plain(node: Any) -> dict[str, Any]:
    """A config node as plain values, interpolations resolved."""
    container: Any = OmegaConf.to_container(node, resolve=True, throw_on_missing=True)
    return container


def execute(job: Job) -> dict[str, float]:
    """Run a job to its end, from its checkpoint where it was cut off; a finished one is read.

    Raises:
        InputError: Bad input, found before any work.
    """
    if job.is_done():
        finished: dict[str, float] = job.directory.status["metrics"]
        return finished
    from runner.build import build
    from runner.display import display_on
    from runner.environment import record_environment
    from runner.stop import StopSignal
    from runner.train import train

    experiment = build(job.config)
    run = job.plan()
    with (
        logging_to(run.path / "log.txt"),
        run.attempt() as events,
        StopSignal() as stop,
        display_on(console) as display,
    ):
        record_environment(run.path, targets(job.config))
        metrics = train(experiment, run, events, display, stop)
        run.finish(metrics)
    return metrics


def work_on(run: RunDir) -> int:
    """Do a planned run in a process of its own; returns the exit status.

    The run is what it was planned as: its signature is not computed anew.
    """
    job = Job.again(run)
    vars(job)["signature"] = run.path.name
    try:
        execute(job)
    except Interrupted:
        return 1
    except Exception as error:
        if run.state is not State.FAILED:  # found before the attempt: it is noted all the same
            with suppress(type(error)), run.attempt():
                raise
        return 1
    return 0


def outcome(job: Job) -> str:
    """One line on how a job ended."""
    status = job.directory.status
    if status["state"] != State.DONE:
        return f"{job.name}  {status['state']}: {status.get('reason', '')}  {job.directory.path}"
    metrics = status["metrics"].items()
    shown = "  ".join(f"{name} {value:.4g}" for name, value in metrics if name.startswith("test/"))
    return f"{job.name}  {shown}  {job.directory.path}"


@contextmanager
def logging_to(file: Path) -> Iterator[None]:
    """Write the package's log to a file, and the traceback of what goes wrong."""
    handler = logging.FileHandler(file)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
    try:
        yield
    except Exception as error:
        log.exception("the run failed")
        error.add_note(f"log {file}")
        raise
    finally:
        log.removeHandler(handler)
        handler.close()
