"""A house to be walked through, and episodes of a policy in it."""

import random

import pytest
import torch
from torch import Tensor, nn

from objectives.errors import InputError
from tasks.nlp.logprobs import token_logprobs
from tasks.nlp.pairs import given
from tasks.nlp.worlds import STEPS, arrivals, distances, house, text, ways, words

ROOMS = 3
FIRST = 1 + ROOMS**2
WORDS = range(FIRST, FIRST + len(STEPS))


class Stubborn(nn.Module):
    """Always says the same."""

    def __init__(self, word: int):
        super().__init__()
        self.word = word

    def following(self, tokens: Tensor, past: list[list[Tensor]]) -> Tensor:
        scores = torch.zeros(len(tokens), FIRST + len(STEPS))
        scores[:, self.word] = 1
        return scores


def test_ways_lead_next_door_and_back_and_everywhere() -> None:
    leads = ways(ROOMS, random.Random(0))
    for word, back in ((0, 1), (1, 0), (2, 3), (3, 2)):
        down, right = list(STEPS.values())[word]
        for room in range(1, FIRST):
            other = leads[FIRST + word][room]
            if other != room:
                assert other == room + ROOMS * down + right
                assert leads[FIRST + back][other] == room
    assert leads[0] == leads[1] == list(range(FIRST + len(STEPS)))  # no words: nowhere
    assert distances(leads, 1, WORDS).keys() == set(range(1, FIRST))


def test_distances_by_hand() -> None:
    # a b / c d: doors a-b, b-d, d-c alone; words ^ v < > are 5 to 8
    leads = [list(range(9)) for _ in range(9)]
    for word, here, there in ((8, 1, 2), (7, 2, 1), (6, 2, 4), (5, 4, 2), (7, 4, 3), (8, 3, 4)):
        leads[word][here] = there
    assert distances(leads, 1, range(5, 9)) == {1: 0, 2: 1, 4: 2, 3: 3}


def test_episodes_go_from_room_to_room() -> None:
    data = house(rooms=ROOMS, turns=8)
    for pairs in (data.train, data.val, data.test):
        said, rooms = pairs.chosen[:, 2::2], pairs.chosen[:, 1::2]
        led = data.judge.leads[said, rooms[:, :-1]]
        assert torch.equal(led[said > 0], rooms[:, 1:][said > 0])
        assert torch.equal(words(pairs.chosen), pairs.chosen_mask)
    splits = data.train, data.val, data.test
    prompts = [{tuple(row[:2].tolist()) for row in split.chosen} for split in splits]
    assert sum(map(len, prompts)) == len(set.union(*prompts)) == 9 * 8


def test_a_guide_who_never_errs_takes_the_shortest_way() -> None:
    data = house(rooms=ROOMS, turns=8, lost=0.0)
    leads = data.judge.leads.tolist()
    for row, mask in zip(data.train.chosen, data.train.chosen_mask, strict=True):
        goal, start = row[:2].tolist()
        assert mask.sum() == distances(leads, goal, WORDS)[start]
    assert data.judge.reward(data.train.chosen, data.train.chosen_mask).min() == 1


def test_rewards_and_masks_by_hand() -> None:
    data = house(rooms=ROOMS, turns=3)
    word = WORDS[0]
    # goal 5 from room 2; comes there with its second word; the goal's number among what is said
    came = torch.tensor([[5, 2, word, 2, word, 5, 0, 0], [5, 2, 5, 2, 5, 2, 5, 2]])
    assert arrivals(came).tolist() == [[False] * 5 + [True] + [False] * 2, [False] * 8]
    mask = words(came)
    assert mask[0].tolist() == [False, False, True, False, True, False, False, False]
    assert mask[1].nonzero().flatten().tolist() == [2, 4, 6]
    assert data.judge.reward(came, mask).tolist() == [1, 0]
    assert data.judge.shown(came, mask) == {"success": 0.5, "turns": 2.5}
    assert text(came[0].tolist(), ROOMS) == "eb^b^e··"


def test_a_model_and_the_house_speak_in_turns() -> None:
    data = house(rooms=ROOMS, turns=8)
    leads, down = data.judge.leads, WORDS[1]
    found, mask = data.responses(Stubborn(down), given(data.test), None, temperature=0)
    assert torch.equal(mask, words(found))
    assert found.shape == data.test.chosen.shape
    for row in found.tolist():
        goal, room = row[:2]
        for place in range(2, len(row), 2):
            expected = [0, 0] if room == goal else [down, room := leads[down][room].item()]
            assert row[place : place + 2] == expected


def test_an_episode_as_a_record(built) -> None:
    learner = built("agent", "objective=gigpo", "batch_size=16").learner
    protocol, policy = learner.protocol, learner.model
    batch = next(protocol.batches(policy, 0, 0))
    record = protocol(policy, batch)
    said = batch.mask[:, 1:]
    torch.testing.assert_close(
        batch.old_token_logprobs[said], token_logprobs(policy, batch.tokens)[said]
    )
    assert torch.equal(record.step_rewards.sum(dim=1), record.rewards)
    assert torch.equal(record.anchors[:, 1], batch.tokens[:, 1])  # the first word's room
    assert torch.equal(record.starts, record.mask)
    for row in range(len(batch)):
        last = record.mask[row].nonzero().max()
        assert record.step_rewards[row, last] == record.rewards[row]


def test_sampled_episodes_are_as_probable_as_the_model_says() -> None:
    """Words that were drawn with what was computed before are those of one pass over the whole."""
    from tasks.models.transformer import Transformer

    data = house(rooms=ROOMS, turns=4)
    torch.manual_seed(0)
    model = Transformer(data.num_tokens, 10, data.num_tokens, width=16, depth=2, heads=2)
    for parameter in model.parameters():
        parameter.data *= 5
    found, mask = data.responses(model, given(data.test), None, temperature=0)
    likeliest = model(found[:, :-1]).argmax(dim=-1)
    said = mask[:, 1:]
    assert torch.equal(likeliest[said], found[:, 1:][said])


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("rooms=1", "rooms=1 is outside the domain of house"),
        ("rooms=8", "rooms=8 is outside the domain of house"),
        ("turns=0", "turns=0 is outside the domain of house"),
        ("lost=1.5", r"lost=1\.5 is outside the domain of house"),
    ],
)
def test_houses_that_cannot_be(built, setting: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        built("agent", setting)
