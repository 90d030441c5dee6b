"""Whether a search by TPE finds better settings than one by random draws, at equal trials.

Each search is the command line's: the step size and the temperature of `ldr` on digits, from wide
ranges, two epochs a trial. Its value is the best validation loss (nats) that it has found. Both
samplers get the same seeds, which decide what they draw; the runs themselves all have one seed.
"""

import math
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import optuna

from bench.measure import Row, Spread

SEEDS, TRIALS = 10, 40
SEARCHED = ["lr=tag(log,interval(0.0001,1))", "tau=tag(log,interval(0.05,5))"]
COMMAND = [
    str(Path(sys.executable).with_name("runner")),
    *("task=digits", "objective=ldr", "epochs=2", "tracking=off"),
    *("hydra/sweeper=optuna", "hydra.sweeper.metric=val/nll", "hydra.sweeper.direction=minimize"),
    *(f"hydra.sweeper.n_trials={TRIALS}", "hydra.sweeper.n_jobs=2", *SEARCHED, "-m"),
]
HALF = TRIALS // 2


def rows() -> list[Row]:
    """The best value of each sampler, halfway and at the end, and their difference by seeds."""
    tpe, random = ([best(sampler, seed) for seed in range(SEEDS)] for sampler in ("tpe", "random"))
    found = []
    for place, trials in enumerate((HALF, TRIALS)):
        mine, theirs = ([run[place] for run in runs] for runs in (tpe, random))
        differences = [one - other for one, other in zip(mine, theirs, strict=True)]
        better = sum(difference < 0 for difference in differences)
        found += [
            Row(f"TPE: best of {trials} trials", Spread.of(mine), "nats"),
            Row(f"random search: best of {trials} trials", Spread.of(theirs), "nats"),
            Row(
                f"difference after {trials} trials; TPE is better for {better} of {SEEDS} seeds",
                Spread.of(differences),
                "nats",
                limit=0.0,
            ),
        ]
    return found


def best(sampler: str, seed: int) -> tuple[float, float]:
    """The best value after half of the trials, and after all."""
    with tempfile.TemporaryDirectory() as root:
        storage = f"sqlite:///{root}/study.db"
        words = [
            *(f"hydra/sweeper/sampler={sampler}", f"hydra.sweeper.sampler.seed={seed}"),
            *(f"hydra.sweeper.storage={storage}", "hydra.sweeper.study_name=bench"),
        ]
        subprocess.run(
            [*COMMAND, *words, f"root={root}"],
            check=True,
            stdout=subprocess.DEVNULL,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        trials = optuna.load_study(study_name="bench", storage=storage).trials
        values = [math.inf if trial.values is None else trial.values[0] for trial in trials]
        return min(values[:HALF]), min(values)
