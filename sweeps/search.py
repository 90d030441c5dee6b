"""A search as a stream: a new trial begins whenever there is room for one."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from optuna.trial import FrozenTrial, Trial, TrialState

from runner.console import console
from runner.job import Job
from runner.launch.executor import Ended
from runner.launch.launch import Launch
from runner.rundir import State, read_events
from runner.sweepdir import SweepDir
from sweeps.candidates import Candidates
from sweeps.study import FINISHED, Study

AT_ONCE = 16
"""Trials under way where neither the launcher nor the user says how many there is room for."""


@dataclass
class Attempt:
    """A trial under way.

    Attributes:
        trial: The trial.
        jobs: Its jobs, one a seed, by signature.
        read: Bytes of each job's events that were looked at.
        curves: The judged metric of each job, by step.
        reported: The steps that the study knows of.
        pruned: Why it was given up, or "".
    """

    trial: Trial
    jobs: dict[str, Job]
    read: dict[str, int] = field(default_factory=dict)
    curves: dict[str, dict[int, float]] = field(default_factory=dict)
    reported: set[int] = field(default_factory=set)
    pruned: str = ""

    def news(self, metric: str) -> Iterator[tuple[int, float]]:
        """Steps that have a value now and had none, with the mean over the seeds that are there.

        A step counts when as many seeds have come to it as have come to any step.
        """
        for signature, job in self.jobs.items():
            curve = self.curves.setdefault(signature, {})
            events = job.directory.path / "events.jsonl"
            for offset, event in read_events(events, self.read.get(signature, 0)):
                self.read[signature] = offset
                if metric in event["metrics"]:
                    curve[event["step"]] = event["metrics"][metric]
        begun = [curve for curve in self.curves.values() if curve]
        for step in sorted({step for curve in begun for step in curve}):
            at = [curve[step] for curve in begun if step in curve]
            if len(at) == len(begun) and step not in self.reported:
                self.reported.add(step)
                yield step, sum(at) / len(at)


class Search:
    """Feeds a launch with trials until a study has as many as were asked for.

    Args:
        study: The study.
        candidates: Makes a trial's jobs.
        folder: The sweep's.
        total: Trials in all, those of earlier starts included.
        room: Jobs that run at once; None where that is not known.
        at_once: Trials that run at once; None for as many as there is room for.
        max_failures: Failed trials beyond which the search is given up.
    """

    def __init__(
        self,
        study: Study,
        candidates: Candidates,
        folder: SweepDir,
        total: int,
        room: int | None = None,
        at_once: int | None = None,
        max_failures: float = float("inf"),
    ):
        self.study, self.candidates, self.folder = study, candidates, folder
        self.total, self.room, self.max_failures = total, room, max_failures
        self.at_once = at_once or (total if room else AT_ONCE)
        self.attempts: dict[int, Attempt] = {}
        self.cut_off = study.begun()
        self.begun = len(study.trials())
        self.finished = len(study.trials(*FINISHED))
        self.failed = len(study.trials(TrialState.FAIL))
        self.known = set(folder.signatures)
        self.seen = 0

    def __call__(self, launch: Launch) -> bool:
        """Take up what has ended, give up what is hopeless, and begin what there is room for."""
        for ended in launch.ended[self.seen :]:
            self.settle(ended)
        self.seen = len(launch.ended)
        if self.study.prunes:
            self.prune(launch)
        self.tell(launch)
        if self.failed > self.max_failures:
            launch.stop()
            return False
        while self.has_room(launch) and (trial := self.next()):
            self.begin(launch, trial)
        return bool(self.attempts) or not self.is_over

    @property
    def is_over(self) -> bool:
        """Whether no further trial is to begin."""
        return not self.cut_off and (self.begun >= self.total or self.study.is_exhausted)

    def next(self) -> Trial | None:
        """The next trial: one that was cut off before, or a new one."""
        if self.cut_off:
            return self.cut_off.pop(0)
        if self.is_over:
            return None
        self.begun += 1
        return self.study.optuna.ask()

    def has_room(self, launch: Launch) -> bool:
        """Whether another trial may begin."""
        if launch.stopping or len(self.attempts) >= self.at_once:
            return False
        busy = (launch.under_way.keys() & attempt.jobs.keys() for attempt in self.attempts.values())
        return self.room is None or sum(map(len, busy)) < self.room

    def begin(self, launch: Launch, trial: Trial) -> None:
        """Start the jobs of a trial; what is finished, or under way for another one, is not."""
        jobs = self.candidates.jobs(self.candidates.overrides(trial))
        by_signature = {job.signature: job for job in jobs}
        attempt = Attempt(trial, by_signature, reported=self.study.reported(trial))
        self.attempts[trial.number] = attempt
        self.folder.add(job.signature for job in jobs if job.signature not in self.known)
        self.known |= {job.signature for job in jobs}
        new = [job for job in jobs if job.signature not in launch.under_way and not job.is_done()]
        for job in new:
            job.plan()
        if new:
            launch.add(new)
        self.tell(launch)

    def settle(self, ended: Ended) -> None:
        """Mark the run of a trial that was given up."""
        for attempt in self.attempts.values():
            if attempt.pruned and ended.job.signature in attempt.jobs:
                ended.job.directory.prune(attempt.pruned)

    def tell(self, launch: Launch) -> None:
        """Tell the study of the trials whose jobs are all over."""
        for attempt in list(self.attempts.values()):
            if launch.under_way.keys().isdisjoint(attempt.jobs):
                runs = [job.directory for job in attempt.jobs.values()]
                states = {run.state for run in runs}
                if launch.stopping and states != {State.DONE}:
                    continue  # the next start goes on with it
                del self.attempts[attempt.trial.number]
                if attempt.pruned and states != {State.DONE}:
                    told = self.study.prune(attempt.trial)
                else:
                    metrics = [run.status.get("metrics") for run in runs]
                    told = self.study.finish(attempt.trial, metrics)
                self.finished += 1
                self.failed += told.state is TrialState.FAIL
                say(told, self.finished, self.total)

    def prune(self, launch: Launch) -> None:
        """Report how trials under way come on, and give up those that the pruner says so of."""
        for attempt in self.attempts.values():
            for step, value in attempt.news(self.study.goal.metrics[0]):
                attempt.trial.report(value, step)
                if not attempt.pruned and attempt.trial.should_prune():
                    attempt.pruned = f"trial {attempt.trial.number} was pruned at step {step}"
                    launch.cancel(self.alone(attempt))

    def alone(self, attempt: Attempt) -> Sequence[Job]:
        """The jobs of a trial that are no other one's too."""
        others = {s for other in self.attempts.values() if other is not attempt for s in other.jobs}
        return [job for signature, job in attempt.jobs.items() if signature not in others]


def say(trial: FrozenTrial, finished: int, total: int) -> None:
    """A line on how a trial ended."""
    console.print(f"[{finished}/{total}] {described(trial)}")


def described(trial: FrozenTrial) -> str:
    """A trial in a line: number, values or fate, parameters."""
    values = " ".join(f"{value:.4g}" for value in trial.values or [])
    fate = values if trial.state is TrialState.COMPLETE else trial.state.name.lower()
    return f"trial {trial.number}: {fate}  {parameters(trial.params)}"


def parameters(params: Mapping[str, object]) -> str:
    """Parameters as they are read: tau=0.31 lr=0.1."""
    return " ".join(
        f"{key}={value:.4g}" if isinstance(value, float) else f"{key}={value}"
        for key, value in params.items()
    )
