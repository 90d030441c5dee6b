"""Rounds of a policy's own episodes in a text world."""

from typing import ClassVar

from torch import nn
from torch.nn import functional as F

from objectives.records import Episodes, Record
from tasks.nlp.rounds import ResponseBatch, RewardedResponses
from tasks.nlp.worlds import arrivals


class Turns(RewardedResponses):
    """As of other responses, and the room in which each word was written, and what came of it."""

    record: ClassVar[type[Record]] = Episodes

    def __call__(self, model: nn.Module, batch: ResponseBatch) -> Episodes:
        came = arrivals(batch.tokens).to(batch.rewards)
        return Episodes(
            **self._columns(model, batch),
            anchors=batch.tokens[:, :-1],
            starts=batch.mask[:, 1:],
            step_rewards=F.pad(came[:, 2:], (0, 1)),  # the room comes behind the word
        )
