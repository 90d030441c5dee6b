"""What a training run shows while it goes on: a live line on a terminal, plain lines elsewhere."""

import time
from typing import Protocol as Interface

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    SpinnerColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import (
    Progress as Bar,
)

from runner.progress import Progress

REFRESH = 0.1
"""Seconds between two updates of the live line."""

PLAIN = 1.0
"""Seconds between two plain lines."""


class Display(Interface):
    """What the loop calls."""

    def start(self, total_steps: int, steps_per_epoch: int, step: int) -> None: ...

    def show(self, progress: Progress) -> None: ...


class Lines:
    """Plain lines: at most one a second, and one at the end."""

    def __init__(self, console: Console):
        self.console = console

    def __enter__(self) -> "Lines":
        return self

    def __exit__(self, *_: object) -> None: ...

    def start(self, total_steps: int, steps_per_epoch: int, step: int) -> None:
        self.total, self.per_epoch = total_steps, steps_per_epoch
        self.first, self.started = step, time.monotonic()
        self.shown = self.started
        if step:
            self.console.print(f"going on from step {step}")

    def show(self, progress: Progress) -> None:
        now = time.monotonic()
        if now - self.shown < PLAIN:
            return
        self.shown = now
        speed = (progress.step - self.first) / max(now - self.started, 1e-9)
        left = (self.total - progress.step) / max(speed, 1e-9)
        self.console.print(
            f"step {progress.step}/{self.total}  epoch {progress.step / self.per_epoch:.1f}  "
            f"{summary(progress.metrics)}  {speed:.0f} steps/s  {left:.0f} s left"
        )


class Live:
    """One live line with a bar."""

    def __init__(self, console: Console):
        self.bar = Bar(
            SpinnerColumn(),
            BarColumn(24),
            MofNCompleteColumn(),
            TextColumn("steps"),
            TextColumn("epoch {task.fields[epoch]}"),
            TextColumn("{task.fields[metrics]}"),
            TextColumn("{task.fields[speed]}"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            auto_refresh=False,
        )
        self.refreshed = 0.0

    def __enter__(self) -> "Live":
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def start(self, total_steps: int, steps_per_epoch: int, step: int) -> None:
        self.per_epoch, self.first, self.started = steps_per_epoch, step, time.monotonic()
        self.task = self.bar.add_task(
            "", total=total_steps, completed=step, epoch="0.0", metrics="", speed=""
        )

    def show(self, progress: Progress) -> None:
        now = time.monotonic()
        if now - self.refreshed < REFRESH:
            return
        self.refreshed = now
        speed = (progress.step - self.first) / max(now - self.started, 1e-9)
        self.bar.update(
            self.task,
            completed=progress.step,
            speed=f"{speed:.0f}/s",
            epoch=f"{progress.step / self.per_epoch:.1f}",
            metrics=summary(progress.metrics),
        )
        self.bar.refresh()


def display_on(console: Console) -> Live | Lines:
    """The display that suits a console."""
    return Live(console) if console.is_terminal else Lines(console)


def summary(metrics: dict[str, float]) -> str:
    """Loss and validation metrics in one line."""
    shown = {k: v for k, v in metrics.items() if k == "train/loss" or k.startswith("val/")}
    return "  ".join(f"{name.removeprefix('train/')} {value:.4g}" for name, value in shown.items())
