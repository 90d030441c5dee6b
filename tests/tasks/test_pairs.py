from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from objectives.errors import InputError
from tasks.models.transformer import Transformer, transformer
from tasks.nlp import logprobs
from tasks.nlp.logprobs import token_logprobs
from tasks.nlp.pairs import Pairs, synthetic_pairs

SPLITS = ("train", "val", "test")


def lead(pairs: Pairs) -> Tensor:
    """The known reward of the chosen responses less that of the rejected."""
    scores = torch.randn(16, generator=torch.Generator().manual_seed(0))
    sign = torch.where(pairs.chosen[:, 0] % 2 == 1, 1.0, -1.0)

    def reward(tokens: Tensor, mask: Tensor) -> Tensor:
        return sign * scores[tokens].masked_fill(~mask, 0.0).sum(dim=-1)

    return reward(pairs.chosen, pairs.chosen_mask) - reward(pairs.rejected, pairs.rejected_mask)


def test_chosen_responses_have_the_higher_reward() -> None:
    for split in SPLITS:
        difference = lead(getattr(synthetic_pairs(), split))
        assert (difference > -1e-5).all()
        assert (difference > 0.1).double().mean() > 0.9


@pytest.mark.parametrize("flip_rate", [0.25, 1.0])
def test_only_training_labels_are_flipped(flip_rate: float) -> None:
    data = synthetic_pairs(flip_rate=flip_rate)
    wrong = (lead(data.train) < -1e-5).double().mean().item()
    assert wrong == pytest.approx(flip_rate, abs=0.03)
    for split in ("val", "test"):
        assert (lead(getattr(data, split)) > -1e-5).all()


def test_flips_change_labels_and_nothing_else() -> None:
    clean, noisy = synthetic_pairs().train, synthetic_pairs(flip_rate=0.25).train
    same = (clean.chosen == noisy.chosen).all(dim=-1)
    assert torch.equal(noisy.rejected[~same], clean.chosen[~same])
    assert torch.equal(noisy.chosen[~same], clean.rejected[~same])
    assert 0.2 < (~same).double().mean() < 0.3


def test_training_pairs_have_the_margins_asked_for_in_equal_shares() -> None:
    plain, mixed = synthetic_pairs(), synthetic_pairs(margins=[[0, 1], [5, 10], [2, 2.5]])
    margins, shares = lead(mixed.train), []
    for least, most in ((0, 1), (5, 10), (2, 2.5)):
        shares.append(((margins > least - 1e-5) & (margins < most + 1e-5)).sum().item())
    assert shares == [683, 683, 682]  # of 2,048
    assert len(mixed.train.chosen.unique(dim=0)) > 2000
    for split in ("val", "test"):  # what is measured stays what it is
        assert torch.equal(getattr(mixed, split).chosen, getattr(plain, split).chosen)
    flipped = synthetic_pairs(margins=[[5, 10]], flip_rate=0.25)
    assert (lead(flipped.train) < -4.9).double().mean() == pytest.approx(0.25, abs=0.03)
    assert (lead(flipped.train).abs() > 4.9).all()


@pytest.mark.parametrize(
    ("margins", "message"),
    [
        ([[0, 1], [50, 60]], r"margins=\[\[50.*up to 15\.\d apart; name a wider range"),
        ([[2, 1]], r"margins=\[\[2\.0, 1\.0\]\] holds nothing"),
        ([[1, 1]], "holds nothing"),
        ([], r"margins=\[\] is outside the domain"),
        ([[1]], r"margins\[0\]\[1\]=\[1\] is outside the domain"),
        ([1, 2], r"margins\[0\]=1 is outside the domain"),
        ([[-1, 2]], r"margins\[0\]\[0\]=-1 is outside the domain"),
    ],
)
def test_margins_that_no_pairs_have(margins: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        synthetic_pairs(margins=margins)


def test_shapes_prompts_and_masks() -> None:
    data = synthetic_pairs(num_tokens=5, prompt_length=3, response_length=6)
    assert [len(getattr(data, split)) for split in SPLITS] == [2048, 512, 512]
    for split in SPLITS:
        pairs = getattr(data, split)
        assert torch.equal(pairs.chosen[:, :3], pairs.rejected[:, :3])  # one prompt
        for tokens, mask in (
            (pairs.chosen, pairs.chosen_mask),
            (pairs.rejected, pairs.rejected_mask),
        ):
            assert tokens.shape == mask.shape == (len(pairs), 9)
            assert set(tokens.unique().tolist()) == set(range(5))
            assert not mask[:, :3].any()
            assert set(mask.sum(dim=-1).tolist()) == {3, 4, 5, 6}
            assert (tokens[:, 3:][~mask[:, 3:]] == 0).all()
            ends = mask[:, 3:].int().diff(dim=-1)
            assert (ends <= 0).all()  # once over, a response does not begin again


def test_the_same_in_every_process() -> None:
    torch.manual_seed(123)
    again = synthetic_pairs.__wrapped__()
    assert torch.equal(again.train.chosen, synthetic_pairs().train.chosen)
    assert not torch.equal(again.train.chosen[:512], again.val.chosen)


class Bigrams(nn.Module):
    """Scores of the next token by the last one alone."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(4, 4, bias=False)

    def features(self, tokens: Tensor) -> Tensor:
        return one_hot(tokens, 4).float()

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.features(tokens))


def test_token_logprobs_are_of_each_token_after_the_first() -> None:
    model, tokens = Bigrams(), torch.tensor([[0, 3, 1, 1], [2, 2, 0, 3]])
    table = model.head.weight.detach().T.log_softmax(dim=-1).tolist()
    expected = [[table[a][b] for a, b in pairwise(row)] for row in tokens.tolist()]
    torch.testing.assert_close(token_logprobs(model, tokens).detach(), torch.tensor(expected))


def test_token_logprobs_are_those_that_are_asked_for(monkeypatch) -> None:
    torch.manual_seed(0)
    model, tokens = transformer(60, 12, 60, causal=True, width=16), torch.randint(60, (4, 12))
    mask = torch.zeros(4, 12, dtype=torch.bool)
    mask[0, 3:9], mask[1, 0], mask[2, [2, 5]] = True, True, True  # nothing stands before the first
    whole = token_logprobs(model, tokens).masked_fill(~mask[:, 1:], 0)
    read = []
    monkeypatch.setattr(
        model, "features", lambda t: read.append(t) or Transformer.features(model, t)
    )
    torch.testing.assert_close(token_logprobs(model, tokens, mask), whole)
    assert [part.shape[1] for part in read] == [8]  # what is behind the last one is not read
    nothing = token_logprobs(model, tokens, torch.zeros_like(mask))
    assert torch.equal(nothing, torch.zeros(4, 11))
    nothing.sum().backward()
    monkeypatch.setattr(logprobs, "MOST_PLACES", 24)  # two rows
    torch.testing.assert_close(logprobs.logprobs_of(model, tokens, mask), whole.detach())


def test_the_reference_is_the_model_before_training(built: Callable[..., Any]) -> None:
    experiment = built("pairs", "lr=0.01")
    learner, protocol = experiment.learner, experiment.learner.protocol
    batch = next(protocol.batches(learner.model, 0, 0))
    before = protocol(learner.model, batch)
    torch.testing.assert_close(before.ref_chosen_logprobs, before.chosen_logprobs)
    assert not before.ref_chosen_logprobs.requires_grad
    for _ in range(5):
        experiment.algorithm.update(batch)
    after = protocol(learner.model, batch)
    assert torch.equal(after.ref_chosen_logprobs, before.ref_chosen_logprobs)
    assert torch.equal(after.ref_rejected_logprobs, before.ref_rejected_logprobs)
    assert not torch.allclose(after.chosen_logprobs, before.chosen_logprobs)
    margin = (after.chosen_logprob - after.ref_chosen_logprob).mean() - (
        after.rejected_logprob - after.ref_rejected_logprob
    ).mean()
    assert margin > 0


def test_masks_are_of_the_tokens_that_have_logprobs(built: Callable[..., Any]) -> None:
    learner = built("pairs").learner
    batch = next(learner.protocol.batches(learner.model, 0, 0))
    record = learner.protocol(learner.model, batch)
    assert torch.equal(record.chosen_mask.sum(dim=-1), batch.chosen_mask.sum(dim=-1))
    alone = token_logprobs(learner.model, batch.rejected) * batch.rejected_mask[:, 1:]
    torch.testing.assert_close(record.rejected_logprobs, alone)
    torch.testing.assert_close(record.rejected_mask, batch.rejected_mask[:, 1:])


def test_evaluation_counts_rightly_ranked_pairs(built: Callable[..., Any]) -> None:
    experiment = built("pairs", "lr=0.01")
    learner, protocol = experiment.learner, experiment.learner.protocol
    for batch, _ in zip(protocol.batches(learner.model, 0, 0), range(4), strict=False):
        experiment.algorithm.update(batch)
    pairs, model = protocol.data.val, learner.model.eval()

    def log_ratio(tokens: Tensor, mask: Tensor) -> Tensor:
        ratios = token_logprobs(model, tokens) - token_logprobs(protocol.reference, tokens)
        return (ratios * mask[:, 1:]).sum(dim=-1)

    with torch.no_grad():
        metrics = protocol.evaluate(model, "val")
        margin = log_ratio(pairs.chosen, pairs.chosen_mask) - log_ratio(
            pairs.rejected, pairs.rejected_mask
        )
    assert metrics["ranking_accuracy"] == (margin > 0).double().mean().item()
    assert metrics["margin"] == pytest.approx(margin.mean().item(), rel=1e-4)


def test_token_logprobs_are_the_plain_ones_in_float32(monkeypatch) -> None:
    monkeypatch.setattr(logprobs, "MOST_SCORES", 60 * 7)  # seven positions at a time
    model, tokens = (
        transformer(60, 12, 60, causal=True, width=16, depth=1),
        torch.randint(60, (5, 12)),
    )
    plain = model(tokens[:, :-1]).log_softmax(dim=-1).gather(2, tokens[:, 1:, None]).squeeze(2)
    torch.testing.assert_close(token_logprobs(model, tokens), plain, rtol=0, atol=1e-6)


def test_token_logprobs_in_parts_are_the_same(monkeypatch) -> None:
    torch.manual_seed(0)
    model = transformer(50, 12, 50, causal=True, width=16, depth=1).double()
    tokens = torch.randint(50, (5, 12))
    found = []
    for most in (2**22, 50 * 7):  # as a whole, and seven positions at a time
        monkeypatch.setattr(logprobs, "MOST_SCORES", most)
        model.zero_grad()
        values = token_logprobs(model, tokens)
        values.square().sum().backward()
        found.append([values, *(parameter.grad.clone() for parameter in model.parameters())])
    for whole, parts in zip(*found, strict=True):
        torch.testing.assert_close(parts, whole, rtol=1e-12, atol=1e-12)
