"""A claim's arms as one sweep, and the verdict at its end."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig

from objectives.errors import InputError
from runner import verdict
from runner.claim import Claim, named
from runner.claim_page import print_claim, write_page
from runner.console import console
from runner.job import PLACES, Job
from runner.report import Result
from runner.statistics import FEWEST
from sweeps.grid import axes
from sweeps.sweep import carry_out, distinct, plan


def sweep_claim(
    arguments: list[str],
    config: DictConfig,
    loader: ConfigLoader,
    launcher: Launcher,
    dry_run: bool = False,
) -> list[dict[str, Any]]:
    """Plan, check, run and judge the arms of the chosen experiment's claim.

    Raises:
        InputError: Something is wrong with the claim or the overrides.
        SweepFailed: A job failed; the verdict is of the others.
    """
    claim = named(str(config.hydra.runtime.choices.get("experiment")))
    arms = {name: plan_arm(claim, name, arguments, config, loader) for name in claim.arms}
    check_different(arms)

    def show(results: Iterable[Result]) -> None:
        known = {run["signature"]: (run, status) for run, status in results}
        judge(
            claim,
            {name: [known[job.signature] for job in jobs] for name, jobs in arms.items()},
            as_written=is_as_written(arguments),
        )

    jobs = distinct([job for jobs in arms.values() for job in jobs])
    return carry_out(jobs, arguments, launcher, dry_run, show)


def plan_arm(
    claim: Claim, name: str, arguments: list[str], config: DictConfig, loader: ConfigLoader
) -> list[Job]:
    """The jobs of an arm, one a seed.

    Raises:
        InputError: The overrides contradict the arm's, or are more than one setting.
    """
    given = keys(arguments)
    seeds = [] if "seed" in given else [f"seed={','.join(map(str, claim.seeds))}"]
    overrides = [*arguments, *claim.arms[name], *seeds]
    for key, count in Counter(keys(overrides)).items():
        if count > 1:
            raise InputError(f"{key} is set twice: the arm {name} of {claim.name} sets it, too.")
    jobs = plan(overrides, config, loader)
    found = {job.seed for job in jobs}
    if len(found) < len(jobs):
        raise InputError(
            f"the arm {name} of {claim.name} is {len(jobs)} runs for {len(found)} seeds: only "
            "seeds may be several."
        )
    if len(found) < FEWEST:
        raise InputError(
            f"{len(found)} seed{'s' * (len(found) != 1)}: at least {FEWEST} are needed, with fewer "
            "no test reaches 95 %."
        )
    return jobs


def check_different(arms: dict[str, list[Job]]) -> None:
    """See that no two arms are the same runs.

    Raises:
        InputError: Two are.
    """
    of: dict[str, str] = {}
    for name, jobs in arms.items():
        for job in jobs:
            if of.setdefault(job.signature, name) != name:
                raise InputError(f"the arms {of[job.signature]} and {name} are the same runs.")


def judge(claim: Claim, results: dict[str, list[Result]], as_written: bool) -> None:
    """Print table and verdict, and write the page where the claim was run as it is written.

    Raises:
        InputError: No run has the metric.
    """
    arms = {name: verdict.arm(found, claim.metric) for name, found in results.items()}
    verdict.check_measured(arms, claim.metric)
    values = {name: arm.values for name, arm in arms.items()}
    findings = [verdict.find(relation, values) for relation in claim.holds]
    found = verdict.verdict(finding.word for finding in findings)
    print_claim(claim, arms, findings, found)
    if as_written:
        console.print(f"page {write_page(claim, arms, findings, found)}")
    else:
        console.print("no page: these overrides make it another experiment")


def is_as_written(arguments: list[str]) -> bool:
    """Whether overrides say only which claim, and where it runs."""
    return {"experiment", *PLACES}.issuperset(keys(arguments))


def keys(overrides: list[str]) -> list[str]:
    """The keys that overrides set."""
    return [key for axis in axes(overrides) for key in axis.keys]
