"""The command line: `runner [OVERRIDES] [-m]`, and commands beside it.

Only what a command needs is imported, inside it: help, lists and completion must answer at once.
"""

import errno
import logging
import os
import sys

import click
from click.shell_completion import CompletionItem, add_completion_class

from objectives.errors import InputError
from runner.rundir import Interrupted

COMPLETE = "_RUNNER_COMPLETE"
"""The variable by which a shell's script asks for candidates."""

INTERRUPTED = 130
"""Exit status of what was stopped by a signal, by the shells' convention."""

HELP = """\
runner - compare training objectives

  runner task=digits objective=ldr                  one run
  runner task=digits objective=ldr -m tau=0.1,0.5   a sweep: all combinations
  runner task=pairs objective=dpo beta=0.05 seed=1  any setting of any config

Experiments
  runner [OVERRIDE...] [-m]         run what they say; -m sweeps over a,b,c
  runner [OVERRIDE...] [-m] --dry-run     what it would run, and for how long
  runner resume RUN                 start a run again from its own directory
  runner [OVERRIDE...] --cfg job    show the composed config (--resolve)
  runner [OVERRIDE...] --info       how it was composed

What there is
  runner list KIND                  tasks, records, models, objectives,
                                    optimizers, schedules, algorithms,
                                    augmentations, noises, imbalances,
                                    launchers, sweepers, samplers, pruners or
                                    experiments
  runner list objectives --task digits    those that fit a task
  runner show objective=ldr         formula, hyperparameters, search space

Sweeps, from any shell
  runner status [SWEEP]             which there are; the jobs of one
  runner logs JOB                   what a job has said
  runner cancel SWEEP|JOB           stop it; what runs leaves a checkpoint
  runner collect [SWEEP]            results of a sweep that was not waited for

Results
  runner report [WHAT...]           mean ± 95 % CI over seeds, best settings,
                                    comparisons, plots, a page; of a sweep, a
                                    task, an objective or an experiment
                                    (--csv --latex --markdown --json)
  runner claim ID [OVERRIDE...]     a paper's claim in miniature: run its arms,
                                    print the verdict, write docs/claims/ID.md
  runner claim --all                every experiment that has a claim
  runner ui                         MLflow's pages on the results
  runner sync                       bring into MLflow what is not there yet

Machine
  runner doctor                     versions, devices, disk, tracking, SLURM
  runner completion SHELL           completion for bash, zsh or fish
  runner --version

A finished run is not repeated; one that was cut off goes on.
HYDRA_FULL_ERROR=1 shows tracebacks.
"""


LISTS = (
    "tasks",
    "records",
    "models",
    "objectives",
    "optimizers",
    "schedules",
    "algorithms",
    "augmentations",
    "noises",
    "imbalances",
    "launchers",
    "sweepers",
    "samplers",
    "pruners",
    "experiments",
)


class Commands(click.Group):
    """Commands by name; whatever is none of them is an experiment."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] in self.commands:
            return super().resolve_command(ctx, args)
        return "run", run, args

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        return super().shell_complete(ctx, incomplete) + complete(ctx, None, incomplete)


def complete(
    ctx: click.Context, _: click.Parameter | None, incomplete: str
) -> list[CompletionItem]:
    """Candidates for an override."""
    from runner.completion import candidates

    given = ctx.params.get("arguments") or ()
    return [CompletionItem(word) for word in candidates(list(given), incomplete)]


@click.group(cls=Commands, add_help_option=False)
def commands() -> None:
    """See HELP."""


@commands.command(
    hidden=True, add_help_option=False, context_settings={"ignore_unknown_options": True}
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, shell_complete=complete)
def run(arguments: tuple[str, ...]) -> None:
    """Run experiments."""
    from runner.app import run_experiments

    run_experiments(list(arguments))


@commands.command()
@click.argument("run_directory", metavar="RUN")
def resume(run_directory: str) -> None:
    """Start a run again from its directory, or its signature."""
    from runner.app import resume_run

    resume_run(run_directory)


def complete_claim(
    ctx: click.Context, parameter: click.Parameter | None, incomplete: str
) -> list[CompletionItem]:
    """Candidates for a claim, or an override of it."""
    from runner.claim import all_names

    names = [CompletionItem(name) for name in all_names() if name.startswith(incomplete)]
    return names + complete(ctx, parameter, incomplete)


@commands.command()
@click.argument("words", nargs=-1, metavar="[ID...] [OVERRIDE...]", shell_complete=complete_claim)
@click.option("--all", "every", is_flag=True, help="Every experiment that has a claim.")
def claim(words: tuple[str, ...], every: bool) -> None:
    """Run the arms of a paper's claim over their seeds; table, verdict and page."""
    from runner.app import run_claims

    run_claims(words, every)


@commands.command("list")
@click.argument("kind", type=click.Choice(LISTS))
@click.option("--task", default="", help="Only objectives that fit this task.")
def list_options(kind: str, task: str) -> None:
    """What there is, one line each."""
    from runner.show import print_list, print_records

    if kind == "records":
        print_records()
    else:
        print_list(kind, task)


@commands.command()
@click.argument("what", metavar="GROUP=OPTION", shell_complete=complete)
def show(what: str) -> None:
    """One option: formula, hyperparameters, search space, what it fits."""
    from runner.show import print_option

    print_option(what)


@commands.command()
@click.argument("words", nargs=-1, metavar="[SWEEP|TASK|OBJECTIVE|EXPERIMENT]... [root=PATH]")
@click.option("--csv", "form", flag_value="csv", help="A line a setting and metric, and no file.")
@click.option("--latex", "form", flag_value="latex", help="Tables for LaTeX, and no file.")
@click.option("--markdown", "form", flag_value="markdown", help="Tables for Markdown, no file.")
@click.option("--json", "form", flag_value="json", help="All of it, with every run, and no file.")
@click.option("--metric", "metrics", multiple=True, help="Twice: axes of the Pareto plot, nll:min.")
def report(words: tuple[str, ...], form: str | None, metrics: tuple[str, ...]) -> None:
    """What came out: mean ± 95 % CI over seeds, best settings, comparisons, plots, a page."""
    from runner.report.command import report

    report(words, form or "", metrics)


@commands.command()
@click.argument("places", nargs=-1, metavar="[root=PATH] [tracking=URI] [port=N]")
def ui(places: tuple[str, ...]) -> None:
    """MLflow's pages on the results, on this machine alone."""
    from runner.places import serve

    serve(places)


@commands.command()
@click.argument("places", nargs=-1, metavar="[root=PATH] [tracking=URI]")
def sync(places: tuple[str, ...]) -> None:
    """Bring into MLflow what is not there yet."""
    from runner.places import synchronize

    synchronize(places)


@commands.command()
@click.argument("words", nargs=-1, metavar="[SWEEP] [root=PATH]")
def status(words: tuple[str, ...]) -> None:
    """Which sweeps there are and how they stand, or the jobs of one."""
    from runner.manage import print_status

    print_status(words)


@commands.command()
@click.argument("words", nargs=-1, required=True, metavar="JOB [root=PATH]")
def logs(words: tuple[str, ...]) -> None:
    """What a job has said; JOB is its directory, its signature, or its SLURM job."""
    from runner.manage import print_logs

    print_logs(words)


@commands.command()
@click.argument("words", nargs=-1, required=True, metavar="SWEEP|JOB [root=PATH]")
def cancel(words: tuple[str, ...]) -> None:
    """Stop a sweep or a job; what is under way leaves a checkpoint."""
    from runner.manage import cancel

    cancel(words)


@commands.command()
@click.argument("words", nargs=-1, metavar="[SWEEP] [root=PATH]")
def collect(words: tuple[str, ...]) -> None:
    """Results of a sweep that was not waited for: settled, in MLflow, as a table."""
    from runner.manage import collect

    collect(words)


@commands.command()
@click.argument("places", nargs=-1, metavar="[root=PATH] [tracking=URI]")
def doctor(places: tuple[str, ...]) -> None:
    """What this machine has: versions, devices, extras, disk, tracking, SLURM."""
    from runner.doctor import examine

    examine(places)


@commands.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script of a shell."""
    from runner.completion import SHELLS

    click.echo(SHELLS[shell](commands, {}, "runner", COMPLETE).source(), nl=False)


def main() -> None:
    """The console script: one message for what the user can put right, exit status not 0."""
    logging.raiseExceptions = False  # on a full disk the run's own error says it, once
    arguments = sys.argv[1:]
    if not {"--help", "-h"}.isdisjoint(arguments) and arguments[0] not in commands.commands:
        click.echo(HELP, nl=False)
        return
    if arguments == ["--version"]:
        from importlib.metadata import version

        click.echo(f"runner {version('runner')}")
        return
    if COMPLETE in os.environ:
        from runner.completion import SHELLS

        for shell, kind in SHELLS.items():
            add_completion_class(kind, shell)
    elif not arguments or arguments[0] not in commands.commands:
        arguments = ["run", *arguments]
    try:
        commands.main(arguments, "runner", complete_var=COMPLETE)
    except Interrupted as stop:
        click.echo(f"runner: {stop}; the same command goes on from there", err=True)
        sys.exit(INTERRUPTED)
    except Exception as error:
        if os.environ.get("HYDRA_FULL_ERROR") == "1":
            raise
        sys.exit(explain(error))


def explain(error: Exception) -> str:
    """One message for an error; bugs and failures of a run name where to look."""
    if isinstance(error, InputError):
        return f"runner: {error}"
    if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return f"runner: {error.strerror}; make room, and the same command goes on from there"
    kind = type(error).__name__
    if kind == "SweepFailed":
        return f"runner: {error}"
    notes = "".join(f"{note}\n" for note in getattr(error, "__notes__", []))
    return f"runner: {kind}: {error}\n{notes}HYDRA_FULL_ERROR=1 shows the traceback."


if __name__ == "__main__":
    main()
