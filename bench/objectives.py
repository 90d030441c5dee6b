"""Objectives beside the nearest loss of a library: time and peak memory of a pass.

Forward and backward pass of the mean, from a record to the gradient of what a model gave for it,
in float32, one thread; ratios are ours to the library's. Ours is called as in a run, through the
binder, and makes the metrics that a run shows. Those of torch give a value an example too, and
nothing else. Those of trl are its trainers' own methods, called on a stand-in for the trainer,
with what they note down for the log. That both are the same loss is checked, by value and
gradient; where they are not, the row says so and has no target: no library here has a loss like
that objective, and the nearest does other work. A target of 1.05 allows for noise. Time is that of
the processor; memory is what a pass adds at its peak.

Scores are of 1,024 examples and 1,000 classes, but of 128 for sinkd; thresholds nine, of 200,000
examples; numbers 500,000, rewards 200,000; images 256 of 3 x 32 x 32; transitions 50,000 of six
actions; pairs are 256 of two responses of 512 tokens, half of them said; responses 512 of up to
512 tokens, in groups of 8, but 64 of gigpo. Losses of embeddings have their own section, and so has
ldr. Where ours is another formula it may do more: the distances of all pairs (ccdcov_fair_reg,
sinkd), an order (pld), groups of steps (gigpo), more networks than two critics (a2pr).

Of DPOTrainer's time and memory, most is what it notes down.
"""

import ctypes
import importlib.util
import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from bench.counterparts import CASES, Case, Side, learned
from bench.measure import Row, cost_of, interleaved, left_out, ratios, tell, told
from objectives.objective import bind, check

SMALL, ROUNDS, ROUND_SECONDS, MEMORY_ROUNDS = 16, 15, 0.05, 3
LIMIT, CLOSE = 1.05, 1e-5
M_MMAP_THRESHOLD, MMAPPED = -3, 2**16
"""Where memory is measured each tensor gets pages of its own: a heap's holes are up to chance."""


def sides(case: Case, size: int) -> dict[str, Side]:
    """Both losses of one batch."""
    torch.manual_seed(0)
    record, objective = case.record(size), bind(check(case.objective), {})
    ours = Side(lambda: objective(record)[0].mean(), learned(record))
    return {"ours": ours, "theirs": case.theirs(record)}


def a_pass(side: Side) -> Tensor:
    """Forward and backward pass."""
    for leaf in side.leaves:
        leaf.grad = None
    loss = side.loss()
    loss.backward()
    return loss.detach()


def agree(name: str, case: Case) -> None:
    """Both have the same value and gradient.

    Raises:
        AssertionError: They have not.
    """
    found = {}
    for whose, side in sides(case, case.size).items():
        value = a_pass(side)
        found[whose] = value, torch.cat([leaf.grad.flatten() for leaf in side.leaves])
    ours, theirs = ((value, gradient) for value, gradient in found.values())
    off = (case.scale * ours[1] - theirs[1]).abs().max() / theirs[1].abs().max()
    if not case.surrogate:
        off = torch.maximum(off, (case.scale * ours[0] / theirs[0] - 1).abs())
    if not off <= CLOSE:
        raise AssertionError(f"{name} is not {case.title}: {off.item():.2g} apart")


def rows() -> list[Row]:
    """Ratios of time and memory of each objective."""
    torch.set_num_threads(1)
    missing = {case.title.split()[0] for case in CASES.values()} - set(libraries())
    seconds = {name: times(case) for name, case in available().items()}
    megabytes = memories()
    return [
        *(row for name in available() for row in of(name, seconds[name], megabytes[name])),
        *map(left_out, sorted(missing)),
    ]


def libraries() -> list[str]:
    names = {case.title.split()[0] for case in CASES.values()}
    return [name for name in names if importlib.util.find_spec(name)]


def available() -> dict[str, Case]:
    """The cases whose library is installed."""
    known = libraries()
    return {name: case for name, case in CASES.items() if case.title.split()[0] in known}


def of(name: str, seconds: dict[str, list[float]], megabytes: dict[str, list[float]]) -> list[Row]:
    """The rows of one objective."""
    case = CASES[name]
    if not case.unlike:
        agree(name, case)
    limit = None if case.unlike else LIMIT
    what = f"{name} / {case.title}" + (f" ({case.unlike})" if case.unlike else "")
    return [
        Row(f"{what}: {kind}", ratios(values["ours"], values["theirs"]), "×", limit)
        for kind, values in (("time", seconds), ("memory", megabytes))
    ]


def times(case: Case) -> dict[str, list[float]]:
    """Seconds of a round of passes, as many as take long enough to be measured."""
    both = sides(case, case.size)
    count = max(1, round(ROUND_SECONDS / max(map(duration, both.values()))))

    def passes(side: Side) -> None:
        for _ in range(count):
            a_pass(side)

    def prepared(side: Side) -> Callable[[], None]:
        a_pass(side)  # the allocator settles on what this loss needs
        return partial(passes, side)

    variants = {whose: partial(prepared, side) for whose, side in both.items()}
    return interleaved(variants, ROUNDS, clock=time.process_time)


def duration(side: Side) -> float:
    """Seconds of a pass, the best of a few."""
    return min(interleaved({"": lambda: lambda: a_pass(side)}, 5, clock=time.process_time)[""])


def memories() -> dict[str, dict[str, list[float]]]:
    """Megabytes of a pass, of each case and side, measured in a process of its own."""
    found: dict[str, dict[str, list[float]]] = {}
    for megabytes, whose, *name in told("bench.objectives"):
        of_case = found.setdefault(" ".join(name), {"ours": [], "theirs": []})
        of_case[whose].append(float(megabytes))
    return found


def tell_memories() -> None:
    """For `memories` to read."""
    torch.set_num_threads(1)
    ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, MMAPPED)
    for name, case in available().items():
        for side in sides(case, SMALL).values():
            a_pass(side)
        for whose, side in list(sides(case, case.size).items()) * MEMORY_ROUNDS:
            for leaf in side.leaves:
                leaf.grad = None
            tell(cost_of(partial(a_pass, side)).megabytes, whose, name)


if __name__ == "__main__":
    tell_memories()
