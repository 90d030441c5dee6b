"""Records: what a protocol's forward pass yields and an objective's arguments are named after.

A record is a frozen dataclass of tensors without optional fields. Values that follow from the
fields are properties, so an objective may ask for either. Field names are one vocabulary, the
same for every task: `...logprobs` is per token, `...logprob` is summed over a sequence, and
`index` is an example's position in the training set.
"""

from objectives.records.base import Record, field_names
from objectives.records.control import GuidedTransitions, Rollout, Transitions
from objectives.records.embeddings import Embedded, Mixed, Views
from objectives.records.examples import (
    Attributed,
    Bagged,
    Gaussian,
    Labelled,
    Ordinal,
    Predicted,
    Quantiles,
)
from objectives.records.generation import Denoised, DenoisingSteps, Flow, RewardedFlow
from objectives.records.language import (
    BaselinedResponses,
    Demonstration,
    Episodes,
    JudgedPreference,
    Preference,
    Responses,
    Rewards,
    SelfPlay,
)
from objectives.records.students import Distilled, Mutual

__all__ = [
    "Attributed",
    "Bagged",
    "BaselinedResponses",
    "Demonstration",
    "Denoised",
    "DenoisingSteps",
    "Distilled",
    "Embedded",
    "Episodes",
    "Flow",
    "Gaussian",
    "GuidedTransitions",
    "JudgedPreference",
    "Labelled",
    "Mixed",
    "Mutual",
    "Ordinal",
    "Predicted",
    "Preference",
    "Quantiles",
    "Record",
    "Responses",
    "RewardedFlow",
    "Rewards",
    "Rollout",
    "SelfPlay",
    "Transitions",
    "Views",
    "field_names",
]
