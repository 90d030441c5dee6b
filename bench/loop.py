"""The runner's training loop beside a bare PyTorch loop that does the same work.

Both train the same model with the same optimizer on the same batches, take the mean of the
losses of a batch, leave it on the device until it is looked at every LOG_EVERY steps, and
evaluate after every epoch and at the end. That it is the same work is checked: both must end
with the same metrics, bit for bit. The runner's share is all of `train`: events, heartbeat,
display and the checkpoint at the end, which the bare loop does not write.
"""

import io
import itertools
import math
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import hydra
import torch
from omegaconf import OmegaConf
from rich.console import Console
from torch import Tensor, nn
from torch.nn import functional as F

from bench.measure import Row, Spread, forget_peak, interleaved, memory, ratios
from runner.build import build
from runner.catalogue import CONF
from runner.display import display_on
from runner.rundir import RunDir
from runner.stop import StopSignal
from runner.train import train
from tasks.models.feedforward import cnn, mlp
from tasks.sampling import epoch_order
from tasks.vision.digits import digits
from tasks.vision.images import ImageSet, Original, Split, image_set

TIME_LIMIT, MEMORY_LIMIT = 1.05, 1.10
BATCH_SIZE, LOG_EVERY, EVALUATION_BATCH = 64, 20, 1024
MEMORY_ROUNDS = 5

Metrics = dict[str, float]
Training = Callable[[], Metrics]


@cache
def coloured() -> Original:
    """Noise in the shape of CIFAR-10: 50,000 images of 3 x 32 x 32 pixels, ten classes."""
    generator = torch.Generator().manual_seed(0)

    def split(count: int) -> Split:
        images = torch.randint(256, (count, 3, 32, 32), dtype=torch.uint8, generator=generator)
        return Split(images, torch.randint(10, (count,), generator=generator))

    return Original(split(50_000), split(512), num_classes=10)


@dataclass(frozen=True)
class Case:
    """One thing to train, described for the runner and for the bare loop."""

    overrides: tuple[str, ...]
    data: Callable[[], ImageSet]
    model: Callable[..., nn.Module]
    steps: int
    rounds: int


CASES = {
    "MLP on digits": Case(
        ("model=mlp",),
        lambda: image_set(digits(), seed=0, val_share=0.2),
        mlp,
        steps=540,
        rounds=30,
    ),
    "CNN on 3 x 32 x 32": Case(
        (
            "model=cnn",
            "task.data.original._target_=bench.loop.coloured",
            "task.data.val_share=0.01",
        ),
        lambda: image_set(coloured(), seed=0, val_share=0.01),
        cnn,
        steps=32,
        rounds=10,
    ),
}


def with_runner(case: Case, kept: ExitStack) -> Training:
    """The runner's loop, with its run directory."""
    experiment = build(config(case))
    folder = Path(kept.enter_context(tempfile.TemporaryDirectory()))
    run = RunDir.plan(folder, {"signature": "bench"}, "")
    events = kept.enter_context(run.attempt())
    stop = kept.enter_context(StopSignal())
    display = kept.enter_context(display_on(Console(file=io.StringIO())))
    return partial(train, experiment, run, events, display, stop)


@cache
def config(case: Case) -> dict[str, Any]:
    """The case's config, composed from conf/."""
    budget = f"steps={case.steps}", f"batch_size={BATCH_SIZE}", f"log_every={LOG_EVERY}"
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        composed = hydra.compose("config", ["task=digits", "device=cpu", *budget, *case.overrides])
    plain: Any = OmegaConf.to_container(composed, resolve=True)
    return plain


def with_torch(case: Case, _: ExitStack) -> Training:
    """The bare loop."""
    data = case.data()
    torch.manual_seed(0)
    model = case.model(data.shape, data.num_classes)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
    return partial(bare, data, *normalisation(case), model, optimizer, case.steps)


@cache
def normalisation(case: Case) -> tuple[Tensor, Tensor]:
    """Mean and deviation of each channel: to the bare loop they are known constants."""
    return case.data().scale


def bare(
    data: ImageSet,
    mean: Tensor,
    std: Tensor,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    steps: int,
) -> Metrics:
    """Train and evaluate with nothing but PyTorch."""
    images, labels = data.train.images, data.train.labels
    losses: list[Tensor] = []
    metrics: Metrics = {}
    model.train()
    for step, index in enumerate(shuffled(len(labels), steps), 1):
        inputs = (images[index] - mean) / std
        optimizer.zero_grad(set_to_none=True)
        loss = F.cross_entropy(model(inputs), labels[index], reduction="none").mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
        if step % LOG_EVERY == 0 or step == steps:
            metrics["train/loss"] = math.fsum(torch.stack(losses).tolist()) / len(losses)
            losses.clear()
        if step % -(-len(labels) // BATCH_SIZE) == 0 or step == steps:
            metrics |= evaluated(model, data.val, mean, std, "val")
    return metrics | evaluated(model, data.test, mean, std, "test")


def shuffled(count: int, steps: int) -> Iterator[Tensor]:
    epochs = (epoch_order(count, 0, epoch).split(BATCH_SIZE) for epoch in itertools.count())
    return itertools.islice(itertools.chain.from_iterable(epochs), steps)


@torch.no_grad()
def evaluated(model: nn.Module, split: Split, mean: Tensor, std: Tensor, name: str) -> Metrics:
    model.eval()
    parts = split.images.split(EVALUATION_BATCH)
    logits = torch.cat([model((part - mean) / std) for part in parts])
    model.train()
    correct = (logits.argmax(dim=-1) == split.labels).double().mean()
    nll = F.cross_entropy(logits, split.labels)
    return {f"{name}/accuracy": correct.item(), f"{name}/nll": nll.item()}


VARIANTS = {"runner": with_runner, "torch": with_torch}


def rows() -> list[Row]:
    """Time and peak memory of every case."""
    torch.set_num_threads(1)
    return [row for name in CASES for row in (*time_of(name), peak_memory_of(name))]


def time_of(name: str) -> tuple[Row, Row]:
    """Time of a training run as a ratio, and of a step of the bare loop."""
    case = CASES[name]
    results: dict[str, Metrics] = {}

    def prepared(variant: str) -> Callable[[], object]:
        kept.close()
        training = VARIANTS[variant](case, kept)
        return lambda: results.update({variant: training()})

    with ExitStack() as kept:
        seconds = interleaved({v: partial(prepared, v) for v in VARIANTS}, case.rounds)
    if results["runner"] != results["torch"]:
        raise AssertionError(f"{name}: not the same work: {results}")
    step = [value / case.steps * 1000 for value in seconds["torch"]]
    return (
        Row(f"{name}: time", ratios(seconds["runner"], seconds["torch"]), limit=TIME_LIMIT),
        Row(f"{name}: a step of the bare loop", Spread.of(step), "ms"),
    )


def peak_memory_of(name: str) -> Row:
    """Peak memory of a training run as a ratio; each run is a process of its own."""
    command = [sys.executable, "-m", "bench.loop", name]
    peaks = {
        variant: [int(subprocess.check_output([*command, variant])) for _ in range(MEMORY_ROUNDS)]
        for variant in VARIANTS
    }
    ratio = ratios(peaks["runner"], peaks["torch"])
    return Row(f"{name}: peak memory", ratio, limit=MEMORY_LIMIT)


def measure_memory(case: Case, variant: str) -> int:
    """Bytes that training adds at the most to what imports, data and untrained model take."""
    torch.set_num_threads(1)
    normalisation(case)
    with ExitStack() as kept:
        training = VARIANTS[variant](case, kept)
        before = memory("VmRSS")
        forget_peak()
        training()
    return memory("VmHWM") - before


if __name__ == "__main__":
    print(measure_memory(CASES[sys.argv[1]], sys.argv[2]))  # noqa: T201
