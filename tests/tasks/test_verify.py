"""Puzzles, sampling with and without what was computed before, rounds of responses."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from objectives.errors import InputError
from tasks.models.table import Table
from tasks.models.transformer import Transformer
from tasks.nlp import sampling
from tasks.nlp.logprobs import token_logprobs
from tasks.nlp.pairs import given
from tasks.nlp.puzzles import ALPHABET, END, addition, brackets, puzzles, sorting, text
from tasks.nlp.rounds import best_of
from tasks.nlp.sampling import OPEN, nucleus, opened, sampled, written

PUZZLES = {"addition": addition, "sorting": sorting, "brackets": brackets}


@pytest.mark.parametrize(
    ("name", "prompt", "answer"),
    [
        ("addition", "07+45=", "52"),
        ("addition", "99+99=", "198"),
        ("sorting", "3143>", "1334"),
        ("brackets", "([>", "])"),
    ],
)
def test_answers_by_hand(name: str, prompt: str, answer: str) -> None:
    assert PUZZLES[name]().answer(prompt) == answer


@pytest.mark.parametrize("name", PUZZLES)
def test_the_right_answer_is_worth_one_and_anything_else_nothing(name: str) -> None:
    data = puzzles(PUZZLES[name], difficulty=3)
    prompts, judge = given(data.test), data.judge
    for pairs in (data.train, data.val, data.test):
        assert (judge.reward(pairs.chosen, pairs.chosen_mask) == 1).all()
        assert (judge.reward(pairs.rejected, pairs.rejected_mask) == 0).all()
    unended = data.test.chosen.where(data.test.chosen != END, 0)
    assert (judge.reward(unended, written(unended, prompts, END)) == 0).all()
    more = data.test.chosen.clone()
    more[(prompts == OPEN) & (more == 0)] = 5  # after the end nothing counts
    assert (judge.reward(more, written(more, prompts, END)) == 1).all()
    assert judge.preference(data.test.chosen, data.test.rejected, data.test.chosen_mask).min() == 1


def test_no_prompt_is_in_two_splits_and_harder_ones_are_longer() -> None:
    easy, hard = (puzzles(addition, difficulty=digits) for digits in (1, 3))
    rows = [tuple(row.tolist()) for s in (easy.train, easy.val, easy.test) for row in given(s)]
    assert len(set(rows)) == len(rows) == 100
    short, long = ((given(data.train)[0] != OPEN).sum() for data in (easy, hard))
    assert long == short + 4
    assert text(hard.train.chosen[0].tolist()).count("+") == 1
    assert hard.num_tokens == len(set(ALPHABET))


def model() -> Transformer:
    torch.manual_seed(0)
    return Transformer(11, 12, 11, width=16, heads=2).eval()


def test_what_follows_is_the_same_with_what_was_computed_before() -> None:
    language, tokens = (
        model(),
        torch.randint(11, (3, 9), generator=torch.Generator().manual_seed(1)),
    )
    whole, past = language(tokens), []
    with torch.no_grad():
        found = [language.following(tokens[:, :4], past)]
        found += [language.following(tokens[:, i : i + 1], past) for i in range(4, 9)]
    for number, scores in enumerate(found, 3):
        torch.testing.assert_close(scores, whole[:, number])


def plainly(language: Transformer, prompts: Tensor, length: int) -> Tensor:
    tokens = prompts
    for _ in range(length):
        tokens = torch.cat([tokens, language(tokens)[:, -1].argmax(-1, keepdim=True)], dim=1)
    return tokens


def greedily(language: Transformer, prompts: Tensor) -> tuple[Tensor, Tensor]:
    """The likeliest responses to prompts of one length, and where they are."""
    start = int((prompts[0] != OPEN).sum())
    tokens = plainly(language, prompts[:, :start], prompts.shape[1] - start)
    return tokens, written(tokens, prompts, END)


def test_greedy_sampling_is_the_likeliest_token_again_and_again() -> None:
    language, prompts = model(), torch.randint(11, (5, 3))
    asked = F.pad(prompts, (0, 6), value=OPEN)
    greedy = sampled(language, asked, None, temperature=0)
    assert torch.equal(greedy, plainly(language, prompts, 6))
    nearly = sampled(language, asked, torch.Generator().manual_seed(0), temperature=1e-4)
    assert torch.equal(nearly, greedy)
    assert torch.equal(sampled(language, asked, torch.Generator(), top_p=1e-6), greedy)


def test_prompts_of_any_length_are_answered_as_if_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    language, lengths = model(), (2, 7, 4, 11, 12, 4)
    prompts = torch.full((len(lengths), 12), OPEN)
    for row, length in zip(prompts, lengths, strict=True):
        row[:length] = torch.randint(1, 11, (length,))
    rows = zip(prompts[:, None], lengths, strict=True)
    alone = [plainly(language, row[:, :n], 12 - n) for row, n in rows]
    found = sampled(language, prompts, None, temperature=0)
    assert torch.equal(found, torch.cat(alone))
    assert torch.equal(opened(found, prompts == OPEN), prompts)
    monkeypatch.setattr(sampling, "AT_ONCE", 24)  # two rows
    assert torch.equal(sampled(language, prompts, None, temperature=0), found)


def test_nothing_is_written_when_all_have_ended() -> None:
    table = Table(4, 4)
    with torch.no_grad():
        table.head.weight.zero_()[[2, END, 3, 3], [0, 2, END, 3]] = 9.0  # 0, 2, END, 3, 3 ...
    asked = torch.tensor([[0] + [OPEN] * 6, [0, 0, 2] + [OPEN] * 4])
    tokens = sampled(table, asked, None, end=END, temperature=0)
    assert tokens.tolist() == [[0, 2, END, 3, 0, 0, 0], [0, 0, 2, END, 0, 0, 0]]
    assert sampled(table, asked, None, temperature=0)[0].tolist() == [0, 2, END, 3, 3, 3, 3]


def test_samples_have_the_models_probabilities() -> None:
    table = Table(4, 4)
    prompts = torch.zeros(20_000, 1, dtype=torch.long)
    asked = F.pad(prompts, (0, 1), value=OPEN)
    tokens = sampled(table, asked, torch.Generator().manual_seed(0), temperature=2.0)
    expected = (table(prompts[:1])[0, -1] / 2).softmax(-1) * len(prompts)
    counts = tokens[:, 1].bincount(minlength=4)
    statistic = ((counts - expected) ** 2 / expected).sum().item()
    assert statistic < 16.27  # chi-square of 3 degrees of freedom, at 0.001


def test_scores_that_are_not_finite_give_a_token_and_the_loss_says_so(built) -> None:
    experiment = built("verify", "objective=grpo", "batch_size=16", "initial=null")
    learner = experiment.learner
    learner.model.head.weight.data.fill_(math.nan)
    batch = next(learner.protocol.batches(learner.model, 0, 0))
    assert batch.tokens.max() < len(ALPHABET)
    assert experiment.algorithm.update(batch)["loss"].isnan()


def test_the_nucleus_is_the_fewest_that_reach_its_share() -> None:
    p = torch.tensor([[0.1, 0.5, 0.15, 0.25]])
    assert nucleus(p, 0.5).nonzero()[:, 1].tolist() == [1]
    assert nucleus(p, 0.51).nonzero()[:, 1].tolist() == [1, 3]
    assert nucleus(p, 0.8).nonzero()[:, 1].tolist() == [1, 2, 3]
    assert torch.equal(nucleus(p, 1.0), p)


def test_a_response_is_written_up_to_its_end() -> None:
    tokens = torch.tensor([[END, 5, END, 7], [END, 5, 6, 7], [5, END, END, END]])
    expected = [[False, True, True, False], [False, True, True, True], [False, True, False, False]]
    prompts = opened(tokens, torch.tensor([False, True, False, False]).expand(3, 4))
    assert prompts.tolist() == [[END] + [OPEN] * 3, [END] + [OPEN] * 3, [5] + [OPEN] * 3]
    assert written(tokens, prompts, END).tolist() == expected
    assert written(tokens, prompts, None).sum() == 9


def test_the_best_of_some() -> None:
    # 3 of 8 right: 1 - C(5, 4) / C(8, 4) = 1 - 5 / 70
    rewards = torch.tensor([[0.0, 1, 0, 1, 0, 0, 1, 0], [0.0] * 8, [1.0] * 8])
    assert best_of(rewards, 4).tolist() == pytest.approx([1 - 5 / 70, 0, 1])
    assert best_of(torch.tensor([[3.0, 1.0, 2.0]]), 2).item() == pytest.approx((2 + 3 + 3) / 3)


def test_a_round_is_of_whole_groups_of_the_policys_own(built) -> None:
    learner = built("verify", "objective=grpo", "batch_size=16").learner
    protocol, policy = learner.protocol, learner.model
    batches = list(protocol.batches(policy, 0, 0))
    assert [len(batch) for batch in batches] == [16, 16]
    start = int((given(protocol.data.train)[0] != OPEN).sum())
    for batch in batches:
        assert batch.group.bincount()[batch.group.unique()].tolist() == [4] * 4
        for number in batch.group.unique():
            assert batch.tokens[batch.group == number][:, :start].unique(dim=0).shape[0] == 1
        said = batch.mask[:, 1:]
        torch.testing.assert_close(
            batch.old_token_logprobs[said], token_logprobs(policy, batch.tokens)[said]
        )
        record = protocol(policy, batch)
        torch.testing.assert_close(record.ref_token_logprobs, batch.old_token_logprobs)
        assert torch.equal(batch.rewards, protocol.data.judge.reward(batch.tokens, batch.mask))
    others = next(protocol.batches(policy, 1, 0))
    assert not torch.equal(others.tokens, batches[0].tokens)


def test_the_baseline_is_the_likeliest_responses_reward(built) -> None:
    learner = built("verify", "objective=remax", "batch_size=16").learner
    protocol, policy = learner.protocol, learner.model
    judge = protocol.data.judge
    batch = next(protocol.batches(policy, 0, 0))
    likeliest, mask = greedily(policy, opened(batch.tokens, batch.mask))
    expected = judge.reward(likeliest, mask)
    assert torch.equal(protocol(policy, batch).greedy_rewards, expected)


def test_what_is_said_of_a_policy(built) -> None:
    learner = built("verify", "objective=grpo", "batch_size=16").learner
    found = learner.protocol.evaluate(learner.model.eval(), "val")
    assert found.keys() == {
        "accuracy",
        "reward",
        "pass_at_4",
        "kl",
        "entropy",
        "length",
    }
    assert found["kl"] == pytest.approx(0, abs=1e-6)
    assert 0 < found["entropy"] < math.log(len(ALPHABET)) + 0.5
    assert 1 <= found["length"] <= 3


@pytest.mark.parametrize(("task", "name"), [("agent", "pass_at_4"), ("pairs", "best_of_4")])
def test_the_best_of_four_passes_where_rewards_are_right_or_wrong(
    built, task: str, name: str
) -> None:
    learner = built(task, "objective=grpo", "batch_size=16", "initial=null").learner
    found = learner.protocol.evaluate(learner.model.eval(), "val")
    assert found[name] > found["reward"]
    assert not {"pass_at_4", "best_of_4"} - {name} & found.keys()


@pytest.mark.parametrize("objective", ["sft", "dpo", "grpo"])
def test_answers_are_judged_whatever_a_policy_learned_from(built, objective: str) -> None:
    learner = built("verify", f"objective={objective}", "batch_size=16").learner
    protocol, policy = learner.protocol, learner.model
    found = protocol.evaluate(policy.eval(), "val")
    judge = protocol.data.judge
    right = judge.reward(*greedily(policy, given(protocol.data.val))).mean()
    assert found["accuracy"] == right.item()
    assert 0 <= found["reward"] <= 1


def test_the_kl_is_of_what_was_written(built) -> None:
    learner = built("verify", "objective=dpo", "batch_size=16").learner
    protocol, policy = learner.protocol, learner.model.eval()
    policy.head.bias.data[END] += 3.0
    prompts = given(protocol.data.val)
    own = sampled(policy, prompts, torch.Generator().manual_seed(0))
    mask = written(own, prompts, END)[:, 1:]
    assert mask.sum() < (prompts == OPEN).sum()  # some end early
    ratios = token_logprobs(policy, own) - token_logprobs(protocol.reference, own)
    expected = ratios[mask].sum() / len(own)
    assert protocol.evaluate(policy, "val")["kl"] == pytest.approx(expected.item(), rel=1e-5)


def test_bad_input(built) -> None:
    with pytest.raises(InputError, match="batch_size=10 holds no whole groups"):
        built("verify", "objective=grpo", "batch_size=10")
    with pytest.raises(InputError, match="difficulty=0 is outside the domain of puzzles"):
        built("verify", "difficulty=0")
    with pytest.raises(InputError, match=r"top_p=0\.0 is outside the domain"):
        built("verify", "top_p=0.0")
