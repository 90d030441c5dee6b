"""Objectives beside the nearest loss of a library: time and peak memory of a pass.

Forward and backward pass of the mean, from a record to the gradient of what a model gave for it,
in float32, one thread; ratios are ours to the library's. Ours is called as in a run, through the
binder, and makes the metrics that a run shows. Those of torch give a value an example too, and
nothing else. Those of trl are its trainers' own methods, called on a stand-in for the trainer,
with what they note down for the log. That both are the same loss is checked, by value and
gradient; where they are not, the row says so and has no target. A target of 1.05 allows for noise.
Memory is what a pass adds at its peak in a process of its own, after one of a small batch.

Scores are of 1,024 examples and 1,000 classes; numbers 200,000; images 256 of 3 x 32 x 32; pairs
are 256 of two responses of 512 tokens, half of them said; responses 512 of up to 512 tokens, in
groups of 8. Losses of embeddings have their own section, and so has ldr. No library here has a
loss like the other objectives.

Where ours takes more: huber and quantile take tensors for delta and levels, so that a grid of them
can be trained as one, which torch's single pass does not; kd counts the agreement, and dr_grpo
measures the KL, that a run shows; kornia's focal_loss keeps no log-probabilities for backward. Of
DPOTrainer's time and memory, most is what it notes down.
"""

import ctypes
import importlib.util
import sys
from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor

from bench.counterparts import CASES, Case, learned
from bench.measure import Row, Spread, cost_apart, interleaved, left_out, print_cost, ratios
from bench.trl_losses import Side
from objectives.objective import bind, check

SMALL, ROUNDS, ROUND_SECONDS = 16, 25, 0.05
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
    missing = {library for case in CASES.values() if not there(library := case.title.split()[0])}
    return [
        *(row for name, case in CASES.items() if there(case.title.split()[0]) for row in of(name)),
        *map(left_out, sorted(missing)),
    ]


def there(library: str) -> bool:
    return importlib.util.find_spec(library) is not None


def of(name: str) -> Iterator[Row]:
    """The rows of one objective."""
    case = CASES[name]
    if not case.unlike:
        agree(name, case)
    limit = None if case.unlike else LIMIT
    what = f"{name} / {case.title}" + (f" ({case.unlike})" if case.unlike else "")
    seconds = times(case)
    yield Row(f"{what}: time", ratios(seconds["ours"], seconds["theirs"]), "×", limit)
    costs = [cost_apart("bench.objectives", name, whose) for whose in ("ours", "theirs")]
    ours, theirs = (cost.megabytes for cost in costs if cost)
    yield Row(f"{what}: memory", Spread.of([ours / theirs]), "×", limit)


def times(case: Case) -> dict[str, list[float]]:
    """Seconds of a round of passes, as many as take long enough to be measured."""
    both = sides(case, case.size)
    count = max(1, round(ROUND_SECONDS / duration(both["theirs"])))

    def passes(side: Side) -> None:
        for _ in range(count):
            a_pass(side)

    def prepared(side: Side) -> Callable[[], None]:
        a_pass(side)  # the allocator settles on what this loss needs
        return partial(passes, side)

    return interleaved({whose: partial(prepared, side) for whose, side in both.items()}, ROUNDS)


def duration(side: Side) -> float:
    """Seconds of a pass, the best of a few."""
    return min(interleaved({"": lambda: lambda: a_pass(side)}, 5)[""])


def warm(name: str, whose: str) -> Callable[[], Tensor]:
    """A pass of a full batch, after one of a small one."""
    torch.set_num_threads(1)
    ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, MMAPPED)
    a_pass(sides(CASES[name], SMALL)[whose])
    side = sides(CASES[name], CASES[name].size)[whose]
    return partial(a_pass, side)


if __name__ == "__main__":
    print_cost(warm(*sys.argv[1:]))
