"""A policy that learns from its own responses, beside trl's GRPOTrainer: tokens a second.

Both sort 32 digits, by GRPO with a KL to the reference, from the same untrained weights: a
transformer of width 64 and depth 2, ours and the same one as transformers' GPT-2, which is
checked. Nothing is right yet, so all responses are worth 0 and stay as long as they are. A step
draws eight responses to each of 32 prompts, of 33 tokens at most, and takes one step of the
optimizer on all of them, in float32, one thread; both step in turn. Tokens are those up to a
response's end. Sampling is the drawing alone; training is all else of a step: rewards,
log-probabilities of the reference, loss, gradient, optimizer, and what is noted down of it. Ours
also asks the policy that drew for its log-probabilities, which trl takes from the first pass.

The objective's share is its forward and backward pass, from a step's record to the gradient of
the record, in the time of such a step after the drawing.
"""

import importlib.util
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import hydra
import torch
from omegaconf import OmegaConf

from bench.grpo_trainer import grpo_trainer
from bench.measure import Row, Spread, interleaved, left_out, ratios
from runner.build import Experiment, build
from runner.catalogue import CONF
from tasks.nlp import pairs
from tasks.nlp.logprobs import token_logprobs

STEPS, WARMUPS, ROUNDS = 48, 2, 30
PROMPTS, GROUP, DIGITS, LR, KL_BETA = 32, 8, 32, 1e-3, 0.04
SHARE_LIMIT, CLOSE = 0.05, 1e-5
CONFIG = (
    "task=verify", "objective=grpo", "device=cpu", f"difficulty={DIGITS}", f"prompts={PROMPTS}",
    f"group_size={GROUP}", f"batch_size={PROMPTS * GROUP}", f"lr={LR}", f"kl_beta={KL_BETA}",
)  # fmt: skip


class Step(NamedTuple):
    """Of one step, tokens a second."""

    sampling: float
    training: float
    whole_step: float


class Stopwatch:
    """Seconds spent in a function since it was last asked."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any, **named: Any) -> Any:
            start = time.perf_counter()
            result = function(*arguments, **named)
            self.seconds += time.perf_counter() - start
            return result

        return timed

    def step(self, seconds: float, tokens: float) -> Step:
        """Of so many seconds, with so many tokens."""
        drawing, self.seconds = self.seconds, 0.0
        return Step(tokens / drawing, tokens / (seconds - drawing), tokens / seconds)


class Ours:
    """The runner's GRPO, a step at a time."""

    def __init__(self) -> None:
        self.experiment, self.watch, self.epoch = experiment(), Stopwatch(), 0
        pairs.sampled = self.watch.around(pairs.sampled)

    def step(self) -> Step:
        learner = self.experiment.learner
        start, tokens = time.perf_counter(), 0
        for batch in learner.protocol.batches(learner.model, self.epoch, 0):
            self.experiment.algorithm.update(batch)
            tokens += int(batch.mask.sum())  # type: ignore[attr-defined]
        self.epoch += 1
        return self.watch.step(time.perf_counter() - start, tokens)


def experiment() -> Experiment:
    """A policy that has learned nothing yet."""
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        config: Any = OmegaConf.to_container(hydra.compose("config", [*CONFIG]), resolve=True)
    made = build(config)
    made.learner.model.train()
    return made


def rows() -> list[Row]:
    """Tokens a second of both, their ratios, and the objective's share."""
    torch.set_num_threads(1)
    return [*beside_trl(), *share()]


def beside_trl() -> list[Row]:
    if importlib.util.find_spec("trl") is None:
        ours = Ours()
        alone = [ours.step() for _ in range(WARMUPS + STEPS)]
        return [*speeds("ours", columns(alone)), left_out("trl")]
    steps = steps_in_turn(Ours())
    ours, others = columns([one for one, _ in steps]), columns([other for _, other in steps])
    compared = [
        Row(
            f"{what.replace('_', ' ')}, ours / trl: tokens a second",
            ratios(ours[what], others[what]),
            at_least=1.0,
        )
        for what in ours
    ]
    return [*compared, *speeds("ours", ours), *speeds("trl", others)]


def columns(steps: list[Step]) -> dict[str, list[float]]:
    """What is said of the steps after the first ones, by name."""
    values = zip(*steps[WARMUPS:], strict=True)
    return {name: list(column) for name, column in zip(Step._fields, values, strict=True)}


def speeds(whose: str, found: dict[str, list[float]]) -> list[Row]:
    return [
        Row(f"{what.replace('_', ' ')}, {whose}: tokens", Spread.of(found[what]), "/s")
        for what in found
    ]


def steps_in_turn(ours: Ours) -> list[tuple[Step, Step]]:
    """A step of trl's trainer, one of ours, and so on."""
    from transformers import TrainerCallback

    watch, steps = Stopwatch(), list[tuple[Step, Step]]()

    class InTurn(TrainerCallback):
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            self.start, watch.seconds = time.perf_counter(), 0.0

        def on_step_end(self, *_: Any, **__: Any) -> None:
            seconds = time.perf_counter() - self.start
            theirs = watch.step(seconds, tokens_of(trainer))
            steps.append((ours.step(), theirs))

    model: Any = ours.experiment.learner.model
    data = ours.experiment.learner.protocol.data  # type: ignore[attr-defined]
    with tempfile.TemporaryDirectory() as folder:
        trainer = grpo_trainer(
            model, data, Path(folder), InTurn(), learning_rate=LR, beta=KL_BETA,
            max_steps=WARMUPS + STEPS, num_generations=GROUP,
            per_device_train_batch_size=PROMPTS * GROUP,
        )  # fmt: skip
        same_model(model, trainer.model, data.train.chosen[:8])
        trainer._generate_single_turn = watch.around(trainer._generate_single_turn)
        trainer.train()
    return steps


def tokens_of(trainer: Any) -> int:
    """Of the responses of the step."""
    return int(trainer._buffered_inputs[0]["completion_mask"].sum())


def same_model(ours: Any, theirs: Any, tokens: torch.Tensor) -> None:
    with torch.no_grad():
        logits = theirs(tokens[:, :-1]).logits
        other = logits.log_softmax(-1).gather(2, tokens[:, 1:, None]).squeeze(2)
        off = (token_logprobs(ours, tokens) - other).abs().max().item()
    if off > CLOSE:
        raise AssertionError(f"not the same model: log-probabilities are {off:.2g} apart")


def share() -> list[Row]:
    """The objective's part of a step after the drawing."""
    made = experiment()
    learner = made.learner
    batch = next(iter(learner.protocol.batches(learner.model, 0, 0)))
    record: Any = learner.protocol(learner.model, batch)

    def objective() -> None:
        logprobs = record.token_logprobs.detach().requires_grad_()
        learner.objective(replace(record, token_logprobs=logprobs))[0].mean().backward()

    def step() -> None:
        made.algorithm.update(batch)

    variants = {"objective": lambda: objective, "step": lambda: step}
    seconds = interleaved(variants, ROUNDS, warmups=3)
    part = ratios(seconds["objective"], seconds["step"])
    return [
        Row("the objective's share of a step", part, "", SHARE_LIMIT),
        Row("a step, the drawing left out", Spread.of([1000 * s for s in seconds["step"]]), "ms"),
    ]
