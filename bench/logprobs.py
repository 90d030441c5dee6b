"""Log-probabilities of tokens under a large vocabulary, beside those taken of all scores at once.

Forward and backward pass of `token_logprobs` on 4 sequences of 256 tokens, a transformer of width
64 and a vocabulary of 150,000 in float32, one thread; beside it log_softmax(scores) gathered at
the tokens, as it is usually written. A pass is measured in a process of its own: its memory is
what it adds at its peak to model and tokens. That both say the same is checked on sequences that
are shorter.
"""

import sys
from collections.abc import Callable

import torch
from torch import Tensor, nn

from bench.measure import Cost, Row, Spread, cost_of, ratios, tell, told
from tasks.models.transformer import Transformer
from tasks.nlp.logprobs import token_logprobs

VOCABULARY, WIDTH, BATCH, LENGTH = 150_000, 64, 4, 256
SHORT = 2, 64
ROUNDS = 3
MEMORY_LIMIT, CLOSE = 0.5, 1e-6


def plain(model: nn.Module, tokens: Tensor) -> Tensor:
    """All scores, normalised, and of them those of the tokens."""
    logprobs = model(tokens[:, :-1]).log_softmax(dim=-1)
    return logprobs.gather(2, tokens[:, 1:, None]).squeeze(2)


FORMS: dict[str, Callable[[nn.Module, Tensor], Tensor]] = {"ours": token_logprobs, "plain": plain}


def model_and_tokens(batch: int, length: int) -> tuple[nn.Module, Tensor]:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = Transformer(VOCABULARY, length, VOCABULARY, width=WIDTH)
    return model, torch.randint(VOCABULARY, (batch, length + 1))


def a_pass(form: str) -> Callable[[], None]:
    """Forward and backward pass."""
    model, tokens = model_and_tokens(BATCH, LENGTH)
    return lambda: FORMS[form](model, tokens).mean().backward()


def difference() -> float:
    """The largest between both forms."""
    model, tokens = model_and_tokens(*SHORT)
    with torch.no_grad():
        ours, other = (form(model, tokens) for form in FORMS.values())
    return (ours - other).abs().max().item()


def rows() -> list[Row]:
    """Time and peak memory of both, and their ratio."""
    off = difference()
    if off > CLOSE:
        raise AssertionError(f"token_logprobs is {off:.2g} off")
    costs = {form: [measured(form) for _ in range(ROUNDS)] for form in FORMS}
    seconds, megabytes = ({f: [cost[i] for cost in costs[f]] for f in FORMS} for i in range(2))
    memory = ratios(megabytes["ours"], megabytes["plain"])
    return [
        Row("a pass / plain: time", ratios(seconds["ours"], seconds["plain"])),
        Row("a pass / plain: memory", memory, "×", MEMORY_LIMIT),
        Row("a pass", Spread.of(seconds["ours"]), "s"),
        Row("a pass: memory", Spread.of(megabytes["ours"]), "MB"),
        Row("plain: memory", Spread.of(megabytes["plain"]), "MB"),
        Row(f"largest difference, {SHORT[0]} x {SHORT[1]} tokens", Spread.of([off]), "nats", CLOSE),
    ]


def measured(form: str) -> Cost:
    ((seconds, megabytes),) = told("bench.logprobs", form)
    return Cost(float(seconds), float(megabytes))


if __name__ == "__main__":
    tell(*cost_of(a_pass(sys.argv[1])))
