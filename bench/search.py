"""What a search adds to its trials, and whether it keeps its slots busy.

Overhead: a search of tau and lr on eight slots whose jobs are over as soon as they are started, in
a study that holds so many finished trials already. A number is one trial's, from the beginning of
one to the beginning of the next: asked of the sampler, its config made and signed, its run
directory planned, told to the journal; less what the executor takes, which writes the job's end.
Optuna alone asks and tells as many, with the same sampler and journal.

Slots: trials that sleep a second, eight at once, in the ratio of the wall time to the ideal, the
start of the command left out: as runs of ours on the pool, as Optuna's own threads, and as those of
Ray Tune where that is installed (pip install 'ray[tune]'), which are processes as ours are.
"""

import itertools
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import optuna
from omegaconf import OmegaConf
from optuna.distributions import BaseDistribution
from optuna.trial import create_trial
from torch import Tensor
from torch.nn import functional as F

from bench.launchers import place, runner_on
from bench.measure import Row, Spread, memory
from runner.launch.executor import Ended, Executor, Work
from runner.launch.launch import run_all
from runner.launch.pool import Limits, Pool
from runner.launch.slots import Slot
from runner.rundir import State, write_whole
from runner.sweepdir import SweepDir
from sweeps.candidates import Candidates
from sweeps.search import Search
from sweeps.space import space
from sweeps.study import Goal, Study, sampler_of, storage_of
from sweeps.sweep import groups

SLOTS, TRIALS = 8, 100
BEFORE = 100, 10_000
SLEEPERS, SECONDS = 200, 1.0
GOAL = Goal(("val/accuracy",), ("maximize",), {})
SEARCHED = ["tau=tag(log,interval(0.05,5))", "lr=tag(log,interval(0.001,0.1))"]
TINY = ["task=digits", "objective=ldr", "model=linear", "steps=1"]
ASLEEP = "objective._target_=bench.search.asleep"


def asleep(logits: Tensor, labels: Tensor, *, tau: float, margin: float, normalize: bool) -> Tensor:
    """Cross-entropy that takes a second."""
    time.sleep(SECONDS)
    return F.cross_entropy(logits, labels, reduction="none")


class Instant(Executor):
    """Ends every job as soon as it has it.

    Attributes:
        begun: When each batch of jobs came, the time spent here taken off.
    """

    capacity, running = SLOTS, []

    def __init__(self) -> None:
        self.ended: list[Ended] = []
        self.begun: list[float] = []
        self.spent = 0.0

    def submit(self, jobs: Sequence[Work]) -> None:
        start = time.perf_counter()
        self.begun.append(start - self.spent)
        for job in jobs:
            ended = {"state": State.DONE, "attempt": 1, "metrics": {"val/accuracy": 0.5}}
            write_whole(job.directory.path / "status.json", json.dumps(ended))
            self.ended.append(Ended(job))
        self.spent += time.perf_counter() - start

    def poll(self, patience: float) -> list[Ended]:
        ended, self.ended = self.ended, []
        return ended

    def cancel(self, jobs: Sequence[Work]) -> None: ...


@contextmanager
def prepared(sampler: str, before: int, *more: str) -> Iterator[tuple[Study, Candidates, SweepDir]]:
    """A search in a folder of its own, with so many finished trials."""
    with tempfile.TemporaryDirectory() as name, runner_on("local") as application:
        root = Path(name)
        is_group = groups(application.loader)
        words = [*TINY, *more, *place(root), *SEARCHED]
        found = space(words, {}, is_group)
        candidates = Candidates(found, application.config, application.loader, is_group)
        folder = SweepDir(root / "sweeps" / "bench")
        folder.plan([], words, search=True)
        study = opened(folder.path, sampler, before)
        yield study, candidates, folder


def opened(folder: Path, sampler: str, before: int) -> Study:
    """A study in a journal, with so many finished trials."""
    node = OmegaConf.create({"_target_": f"optuna.samplers.{sampler}", "seed": 0})
    found = Study(
        "bench", storage_of(None, folder), GOAL, sampler_of(node, GOAL, {}, 0), None, "bench"
    )
    known = distributions()
    made = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    asked = [made.ask(known) for _ in range(before)]
    found.optuna.add_trials(
        [
            create_trial(params=trial.params, distributions=known, value=trial.params["tau"])
            for trial in asked
        ]
    )
    return found


def distributions() -> dict[str, BaseDistribution]:
    """What is searched."""
    found = space(SEARCHED, {}, lambda _: False)
    return {param.name: param.distribution for param in found.values}


def ours(sampler: str, before: int) -> list[float]:
    """Milliseconds a trial of our search adds."""
    with prepared(sampler, before) as (study, candidates, folder):
        executor = Instant()
        search = Search(study, candidates, folder, before + TRIALS, SLOTS)
        run_all(executor, [], feed=search)
        return steps(executor.begun)


def alone(sampler: str, before: int) -> list[float]:
    """Milliseconds a trial takes of Optuna alone."""
    with tempfile.TemporaryDirectory() as name:
        study = opened(Path(name), sampler, before).optuna
        known = distributions()
        begun, waiting = [], []
        for _ in range(TRIALS):
            begun.append(time.perf_counter())
            waiting.append(study.ask(known))
            if len(waiting) == SLOTS:
                study.tell(waiting.pop(0), 0.5)
        return steps(begun)


def steps(times: Sequence[float]) -> list[float]:
    """Milliseconds between one time and the next."""
    return [1000 * (later - earlier) for earlier, later in itertools.pairwise(times)]


def sleeping_runs() -> float:
    """Wall time of sleeping runs on our pool, to the ideal."""
    with prepared("RandomSampler", 0, ASLEEP) as (study, candidates, folder):
        (job,) = candidates.jobs([[*candidates.space.fixed, "tau=1", "lr=0.1"]])
        with Pool([Slot(threads=1)] * SLOTS, Limits()) as pool:
            pool.check([job.config])
            job.plan()
            run_all(pool, [job])  # until the fork server is warm
            search = Search(study, candidates, folder, SLEEPERS, SLOTS)
            return timed(lambda: run_all(pool, [], feed=search))


def sleeping_threads() -> float:
    """Wall time of sleeping trials in Optuna's own threads, to the ideal."""
    with tempfile.TemporaryDirectory() as name:
        study = opened(Path(name), "RandomSampler", 0).optuna

        def sleep(trial: optuna.Trial) -> float:
            time.sleep(SECONDS)
            return trial.suggest_float("tau", 0.05, 5, log=True)

        return timed(lambda: study.optimize(sleep, n_trials=SLEEPERS, n_jobs=SLOTS))


def sleeping_ray() -> float:
    """Wall time of sleeping trials of Ray Tune, to the ideal."""
    import ray
    from ray import tune

    def sleep(_: object) -> dict[str, float]:
        time.sleep(SECONDS)
        return {"loss": 0.5}

    def tuned(count: int) -> object:
        space = {"tau": tune.loguniform(0.05, 5), "lr": tune.loguniform(0.001, 0.1)}
        many = tune.TuneConfig(num_samples=count, metric="loss", mode="min")
        run = tune.RunConfig(verbose=0, storage_path=folder)
        return tune.Tuner(sleep, param_space=space, tune_config=many, run_config=run).fit()

    with tempfile.TemporaryDirectory() as folder:
        ray.init(num_cpus=SLOTS, include_dashboard=False, log_to_driver=False)
        tuned(SLOTS)  # until its processes are warm
        ratio = timed(lambda: tuned(SLEEPERS))
        ray.shutdown()
    return ratio


def timed(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return (time.perf_counter() - start) / (SLEEPERS * SECONDS / SLOTS)


def rows() -> list[Row]:
    """Overhead by sampler and size, memory, and the slots' ratio."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    found = []
    for sampler in ("RandomSampler", "TPESampler"):
        medians = {}
        for before in BEFORE:
            mine, theirs = ours(sampler, before), alone(sampler, before)
            medians[before] = statistics.median(mine)
            name = f"{sampler} after {before:,} trials"
            found += [
                Row(f"{name}: a trial", Spread.of(mine), "ms"),
                Row(f"{name}: 99th percentile", percentile(mine), "ms"),
                Row(f"{name}: of Optuna alone", Spread.of(theirs), "ms"),
            ]
        growth = medians[BEFORE[1]] / medians[BEFORE[0]]
        found.append(Row(f"{sampler}: growth", Spread.of([growth])))
    found.append(Row("memory", Spread.of([memory("VmHWM") / 1e6]), "MB"))
    found.append(Row("200 trials of a second, ours / ideal", Spread.of([sleeping_runs()])))
    found.append(Row("200 trials of a second, Optuna / ideal", Spread.of([sleeping_threads()])))
    if find_spec("ray"):
        found.append(Row("200 trials of a second, Ray Tune / ideal", Spread.of([sleeping_ray()])))
    return found


def percentile(values: Sequence[float]) -> Spread:
    return Spread.of([statistics.quantiles(values, n=100)[98]])
