"""One job: a composed config, its identity, and its execution in a run directory."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf, open_dict

from objectives.errors import InputError
from runner.catalogue import YAML
from runner.console import console
from runner.identity import data_digest, source_digest, targets
from runner.identity import signature as sign
from runner.pretrained import descriptions, own_choices, own_config, trained_first
from runner.rundir import Busy, Done, Interrupted, RunDir, State, write_whole

PLACES = {"root", "data", "tracking", "device"}
"""Settings that say where a run happens; its name leaves them out."""

PLACEHOLDERS = {"root": "<root>", "data": "<data>"}
"""What stands for paths in a config that says what a run means."""

LOOK = 0.5
"""Seconds between two looks at a run that another process is at."""

FINGERPRINTS = ".fingerprints.json"
"""Hashes of data files, kept beside the runs."""

DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)

log = logging.getLogger("runner")


@dataclass(frozen=True)
class Composed:
    """A config as plain values, interpolations resolved.

    Attributes:
        config: What runs.
        neutral: The same with placeholders for paths: what the signature is made of.
    """

    config: dict[str, Any]
    neutral: dict[str, Any]


@dataclass(frozen=True, eq=False)
class Job:
    """A run to be: who it is, and how its config is made; sweeps hold them by the thousand.

    Attributes:
        compose: Makes the config.
        choices: The option chosen in each config group.
        overrides: The command-line overrides of this job.
        runs: The folder of all runs.
        signature: What the run means, hashed; the name of its directory.
        code: Digest of the source that it uses.
        targets: The dotted names that the config instantiates.
        seed: Its seed.
        builds_on: Names of the runs that its config describes, to be done before it.
    """

    compose: Callable[[], Composed]
    choices: Mapping[str, str]
    overrides: tuple[str, ...]
    runs: Path
    signature: str
    code: str
    targets: tuple[str, ...]
    seed: int
    builds_on: tuple[str, ...]

    @classmethod
    def made(
        cls,
        compose: Callable[[], Composed],
        choices: Mapping[str, str],
        overrides: Iterable[str],
        signature: str = "",
    ) -> "Job":
        """A job from what makes its config; the signature is found where none is given."""
        composed = compose()
        config = composed.config
        runs = Path(config["root"]) / "runs"
        used = targets(config)
        return cls(
            compose,
            choices,
            tuple(overrides),
            runs,
            signature or sign(composed.neutral, Path(config["data"]), runs / FINGERPRINTS),
            source_digest(used),
            used,
            config["seed"],
            trained_first(config),
        )

    @classmethod
    def of(cls, composed: DictConfig) -> "Job":
        """A job from a config that Hydra composed, its `hydra` node included."""
        overrides = composed.hydra.overrides.task
        own = own_part(composed, overrides)
        done = Composed(plain(own), plain(OmegaConf.merge(own, PLACEHOLDERS)))
        return cls.made(lambda: done, plain(composed.hydra.runtime.choices), overrides)

    @classmethod
    def again(cls, run: RunDir, signature: str = "") -> "Job":
        """The job of an existing run directory; its signature is computed anew unless given."""
        planned = run.run
        config: dict[str, Any] = yaml.load((run.path / "config.yaml").read_text(), YAML)
        composed = Composed(config, planned["meaning"])
        return cls.made(lambda: composed, planned["choices"], planned["overrides"], signature)

    @property
    def config(self) -> dict[str, Any]:
        """The config, made anew."""
        return self.compose().config

    @property
    def setting(self) -> str:
        """Task, objective and what else was overridden, but for the seed."""
        named = {"task", "objective", "seed", *PLACES}
        others = (o for o in self.overrides if o.lstrip("+~").split("=")[0] not in named)
        return " ".join([self.choices["task"], self.choices["objective"], *others])

    @property
    def name(self) -> str:
        return f"{self.setting} seed={self.seed}"

    @property
    def directory(self) -> RunDir:
        """Where the run is, or would be."""
        return RunDir(self.runs / self.signature)

    def prerequisites(self) -> dict[str, "Job"]:
        """The runs that it builds on, by name."""
        return {name: self._described(name) for name in self.builds_on}

    def _described(self, name: str) -> "Job":
        def compose() -> Composed:
            composed = self.compose()
            config, neutral = (
                own_config(one, descriptions(one)[name])
                for one in (composed.config, composed.neutral)
            )
            return Composed(config, neutral)

        own = {**self.choices, **dict(own_choices(self.choices, name))}
        words = [w.removeprefix(f"{name}.") for w in self.overrides if w.startswith(f"{name}.")]
        return Job.made(compose, own, [f"model={own['model']}", *words])

    def is_done(self) -> bool:
        """Whether the run has finished before."""
        return self.directory.exists() and self.directory.state is State.DONE

    def plan(self) -> RunDir:
        """The run's directory, made if it is not there yet."""
        composed = self.compose()
        data = Path(composed.config["data"])
        facts = {
            "signature": self.signature,
            "code": self.code,
            "data": data_digest(composed.neutral, data, self.runs / FINGERPRINTS),
            "name": self.name,
            "setting": self.setting,
            "seed": self.seed,
            "choices": dict(self.choices),
            "overrides": list(self.overrides),
            "meaning": composed.neutral,
        }
        return RunDir.plan(self.runs, facts, dumped(composed.config))

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


def _forget_other_model(config: DictConfig, overrides: Iterable[str]) -> None:
    """Where `model._target_` names another class, the option's own settings are not for it."""
    given = {override.lstrip("+").split("=")[0] for override in overrides}
    if "model._target_" in given:
        keys = [str(key) for key in config.model if str(key) not in {"_target_", "_partial_"}]
        with open_dict(config.model):
            for key in keys:
                if f"model.{key}" not in given:
                    del config.model[key]


def dumped(config: dict[str, Any]) -> str:
    """A config as YAML."""
    return str(yaml.dump(config, Dumper=DUMPER, sort_keys=False, allow_unicode=True))


def own_part(composed: DictConfig, overrides: Iterable[str]) -> DictConfig:
    """A composed config without Hydra's own node, and without settings of a model it lost."""
    own = OmegaConf.masked_copy(composed, [str(key) for key in composed if key != "hydra"])
    _forget_other_model(own, overrides)
    return own


def plain(node: Any) -> dict[str, Any]:
    """A config node as plain values, interpolations resolved."""
    container: Any = OmegaConf.to_container(node, resolve=True, throw_on_missing=True)
    return container


def execute(job: Job) -> dict[str, float]:
    """Run a job to its end, from its checkpoint where it was cut off; a finished one is read.

    Raises:
        InputError: Bad input, found before any work.
    """
    if not job.is_done():
        with suppress(Done):  # by another process, meanwhile
            _train(job)
    found: dict[str, float] = job.directory.status["metrics"]
    return found


def _train(job: Job) -> None:
    config = job.config
    from runner.build import build
    from runner.display import display_on
    from runner.environment import record_environment
    from runner.stop import StopSignal
    from runner.train import train

    before = job.prerequisites()
    if not all(other.is_done() for other in before.values()):
        build(config)  # bad input is found before any work
    built_on = {name: finished(other) for name, other in before.items()}
    experiment = build(config, built_on=built_on)
    run = job.plan()
    with (
        logging_to(run.path / "log.txt"),
        run.attempt() as events,
        StopSignal() as stop,
        display_on(console) as display,
    ):
        record_environment(run.path, job.targets)
        metrics = train(experiment, run, events, display, stop)
        monitor = experiment.learner.protocol.monitor
        run.finish(metrics, monitor=monitor._asdict())


def finished(job: Job) -> Path:
    """The directory of a run once it is done: it is run here, unless another process is at it.

    Raises:
        Interrupted: Someone asked to stop.
    """
    while not job.is_done():
        console.print(f"first {job.name}  {job.directory.path}")
        try:
            execute(job)
        except Busy:
            wait_for(job.directory)
    return job.directory.path


def wait_for(run: RunDir) -> None:
    """Wait until no process is at work on a run.

    Raises:
        Interrupted: Someone asked to stop.
    """
    from runner.stop import StopSignal

    with StopSignal() as stop:
        while run.is_locked():
            if stop.requested:
                raise Interrupted(f"stopped by {stop.requested} while waiting for {run.path}")
            time.sleep(LOOK)


def outcome(name: str, run: RunDir) -> str:
    """One line on how a run ended."""
    status = run.status
    if status["state"] != State.DONE:
        return f"{name}  {status['state']}: {status.get('reason', '')}  {run.path}"
    metrics = status["metrics"].items()
    shown = "  ".join(f"{name} {value:.4g}" for name, value in metrics if name.startswith("test/"))
    return f"{name}  {shown}  {run.path}"


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
