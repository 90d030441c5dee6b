"""`runner task=charlm` beside a character model written down in plain PyTorch.

Both train a causal transformer of the same shape on the same text: as many steps, windows a batch
and characters a window, AdamW with the same settings, warm-up and half a cosine, gradients clipped.
The baseline is the usual recipe in one file: windows drawn at random, embedding and output weights
shared, attention by one fused call. Bits per character are those of the test split, every
character of it predicted once; a value is one seed's. As many steps as the baseline makes in about
five minutes on one core, on tinyshakespeare where RUNNER_DATA has it, else on the embedded text.
"""

import io
import math
import os
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hydra
import torch
from omegaconf import OmegaConf
from rich.console import Console
from torch import Tensor, nn
from torch.nn import functional as F

from bench.measure import Row, Spread
from runner.build import build
from runner.catalogue import CONF
from runner.display import display_on
from runner.rundir import RunDir
from runner.stop import StopSignal
from runner.train import train
from tasks.nlp.characters import EMBEDDED, Characters, characters

WIDTH, DEPTH, HEADS, CONTEXT, BATCH = 128, 2, 4, 64, 16
PEAK, WARMUP, DECAY, CLIP = 0.003, 0.05, 0.01, 1.0
STEPS, SEEDS = 8000, 1
SHAKESPEARE = "tinyshakespeare/input.txt"


@dataclass(frozen=True)
class Case:
    """A text and how long to train on it."""

    data: str
    file: str
    steps: int


def config(case: Case, seed: int) -> dict[str, Any]:
    """The runner's config, composed from conf/."""
    what = "task=charlm", f"data={case.data}", f"task.data.file={case.file}"
    size = f"task.data.context={CONTEXT}", f"model.width={WIDTH}", f"model.depth={DEPTH}"
    step = f"batch_size={BATCH}", f"lr={PEAK}", f"weight_decay={DECAY}", f"clip={CLIP}"
    budget = f"steps={case.steps}", f"warmup={WARMUP}", f"seed={seed}", "device=cpu"
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        composed = hydra.compose("config", [*what, *size, f"model.heads={HEADS}", *step, *budget])
    plain: Any = OmegaConf.to_container(composed, resolve=True)
    return plain


def with_runner(case: Case, seed: int) -> float:
    """Bits per character on the test split after a run of the runner."""
    experiment = build(config(case, seed))
    with ExitStack() as kept:
        folder = Path(kept.enter_context(tempfile.TemporaryDirectory()))
        run = RunDir.plan(folder, {"signature": "bench"}, "")
        events = kept.enter_context(run.attempt())
        stop = kept.enter_context(StopSignal())
        display = kept.enter_context(display_on(Console(file=io.StringIO())))
        return train(experiment, run, events, display, stop)["test/bpc"]


class Layer(nn.Module):
    """Attention and perceptron, each on the normalised stream and added to it."""

    def __init__(self) -> None:
        super().__init__()
        self.before = nn.ModuleList([nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)])
        self.qkv, self.mix = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.wide, self.narrow = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        rows, time_, _ = x.shape
        heads = [
            part.view(rows, time_, HEADS, -1).transpose(1, 2)
            for part in self.qkv(self.before[0](x)).split(WIDTH, dim=2)
        ]
        seen = F.scaled_dot_product_attention(*heads, is_causal=True)
        x = x + self.mix(seen.transpose(1, 2).reshape(rows, time_, WIDTH))
        return x + self.narrow(F.gelu(self.wide(self.before[1](x))))


class Plain(nn.Module):
    """The baseline's model: small initial weights, output weights shared with the embedding."""

    def __init__(self, num_tokens: int):
        super().__init__()
        self.embedding, self.place = nn.Embedding(num_tokens, WIDTH), nn.Embedding(CONTEXT, WIDTH)
        self.layers = nn.Sequential(*(Layer() for _ in range(DEPTH)), nn.LayerNorm(WIDTH))
        for name, weight in self.named_parameters():
            if weight.dim() == 2:
                residual = name.endswith(("mix.weight", "narrow.weight"))
                nn.init.normal_(weight, std=0.02 / math.sqrt(2 * DEPTH) if residual else 0.02)
            elif name.endswith("bias"):
                nn.init.zeros_(weight)

    def forward(self, tokens: Tensor) -> Tensor:
        places = self.place.weight[: tokens.shape[1]]
        return self.layers(self.embedding(tokens) + places) @ self.embedding.weight.T


def with_torch(case: Case, seed: int) -> float:
    """Bits per character on the test split after the plain loop."""
    data = characters(case.data, case.file, CONTEXT)
    torch.manual_seed(seed)
    model = Plain(data.num_tokens)
    optimizer = torch.optim.AdamW(model.parameters(), lr=PEAK, weight_decay=DECAY)
    for step in range(case.steps):
        for group in optimizer.param_groups:
            group["lr"] = PEAK * rate(step / case.steps)
        starts = torch.randint(data.ends[0] - CONTEXT, (BATCH, 1)) + torch.arange(CONTEXT)
        scores = model(data.tokens[starts])
        loss = F.cross_entropy(scores.flatten(0, 1), data.tokens[starts + 1].flatten())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
    return bits(model, data)


def rate(done: float) -> float:
    """The share of the peak learning rate after a share of the steps."""
    if done < WARMUP:
        return done / WARMUP
    return 0.5 * (1 + math.cos(math.pi * (done - WARMUP) / (1 - WARMUP)))


@torch.no_grad()
def bits(model: nn.Module, data: Characters) -> float:
    """Bits per character of the test split, window by window."""
    _, start, end = data.ends
    nats = 0.0
    for first in range(start, end, CONTEXT):
        last = min(first + CONTEXT, end)
        scores = model(data.tokens[None, first - 1 : last - 1])[0]
        nats += F.cross_entropy(scores, data.tokens[first:last], reduction="sum").item()
    return nats / (end - start) / math.log(2)


VARIANTS: dict[str, Callable[[Case, int], float]] = {"runner": with_runner, "torch": with_torch}


def rows() -> list[Row]:
    """Bits per character of both."""
    torch.set_num_threads(1)
    folder = os.environ.get("RUNNER_DATA", "data")
    file = SHAKESPEARE if (Path(folder) / SHAKESPEARE).exists() else EMBEDDED
    case = Case(folder, file, STEPS)
    what = f"{file}, {STEPS} steps of {BATCH} x {CONTEXT}"
    return [
        Row(f"{what}, {name}: test", Spread.of([run(case, seed) for seed in range(SEEDS)]), "bpc")
        for name, run in VARIANTS.items()
    ]
