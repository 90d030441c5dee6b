"""What a training run shows while it goes on: a live line on a terminal, plain lines elsewhere."""

import time
from typing import Protocol as Interface
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bar

from runner.progress import Progress

BAR = 16
"""Width of the bar in characters."""


class Display(Interface):
    """What the loop calls."""

    def start(self, total_steps: int, steps_per_epoch: int, step: int) -> None: ...

    def show(self, progress: Progress) -> None: ...


class Lines:
    """Plain lines, at most one a second."""

    interval = 1.0

    def __init__(self, console: Console):
        self.console = console

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def start(self, total_steps: int, steps_per_epoch: int, step: int) -> None:
        self.total, self.per_epoch, self.first = total_steps, steps_per_epoch, step
        self.started = self.shown = time.monotonic()
        if step:
            self.console.print(f"going on from step {step}")

    def show(self, progress: Progress) -> None:
        now = time.monotonic()
        if now - self.shown >= self.interval:
            self.shown = now
            self.render(progress.step, self.line(progress, now - self.started))

    def line(self, progress: Progress, seconds: float) -> str:
        """Step, epoch, time left, speed, loss and metrics, the least needed last."""
        speed = (progress.step - self.first) / max(seconds, 1e-9)
        left = (self.total - progress.step) / max(speed, 1e-9)
        return (
            f"step {progress.step}/{self.total}  epoch {progress.step / self.per_epoch:.1f}  "
            f"{left:.0f} s left  {speed:.0f} steps/s  {summary(progress.metrics)}"
        )

    def render(self, step: int, line: str) -> None:
        """Put a line out."""
        self.console.print(line)


class Live(Lines):
    """One live line with a bar, cut where the terminal ends."""

    interval = 0.1

    def __init__(self, console: Console):
        super().__init__(console)
        columns = BarColumn(BAR), TextColumn("{task.description}")
        self.bar = Bar(*columns, console=console, transient=True, auto_refresh=False)

    def __enter__(self) -> Self:
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def start(self, total_steps: int, steps_per_epoch: int, step: int) -> None:
        super().start(total_steps, steps_per_epoch, step)
        self.task = self.bar.add_task("", total=total_steps, completed=step)

    def render(self, step: int, line: str) -> None:
        text = line[: self.console.width - BAR - 2]
        self.bar.update(self.task, completed=step, description=text, refresh=True)


def display_on(console: Console) -> Live | Lines:
    """The display that suits a console."""
    return Live(console) if console.is_terminal else Lines(console)


def summary(metrics: dict[str, float]) -> str:
    """Loss and validation metrics in one line."""
    shown = {k: v for k, v in metrics.items() if k == "train/loss" or k.startswith("val/")}
    return "  ".join(f"{name.removeprefix('train/')} {value:.4g}" for name, value in shown.items())
