"""Records: what a protocol's forward pass yields and an objective's arguments are named after.

A record is a frozen dataclass of tensors without optional fields. Values that follow from the
fields are properties, so an objective may ask for either. Field names are one vocabulary, the
same for every task: `...logprobs` is per token, `...logprob` is summed over a sequence, and
`index` is an example's position in the training set.
"""

from dataclasses import dataclass, fields

from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Record:
    """Base of all records."""


@dataclass(frozen=True)
class Labelled(Record):
    """Class scores and class labels."""

    logits: Float[Tensor, "batch classes"]
    labels: Int[Tensor, " batch"]
    index: Int[Tensor, " batch"]


@dataclass(frozen=True)
class Views(Record):
    """Embeddings of two augmented views of each example."""

    embeddings_1: Float[Tensor, "batch dim"]
    embeddings_2: Float[Tensor, "batch dim"]
    index: Int[Tensor, " batch"]


@dataclass(frozen=True)
class Predicted(Record):
    """A point prediction and its target, both in standardised units."""

    predictions: Float[Tensor, " batch"]
    targets: Float[Tensor, " batch"]
    index: Int[Tensor, " batch"]


@dataclass(frozen=True)
class Gaussian(Predicted):
    """A predicted normal distribution: its mean, the prediction, and the log of its variance."""

    log_variances: Float[Tensor, " batch"]


@dataclass(frozen=True)
class Quantiles(Record):
    """Predicted quantiles, one column a level, and the target, in standardised units."""

    quantiles: Float[Tensor, "batch levels"]
    targets: Float[Tensor, " batch"]
    index: Int[Tensor, " batch"]


@dataclass(frozen=True)
class Demonstration(Record):
    """Token log-probabilities of a response to be imitated, in nats; the mask is true on it."""

    chosen_logprobs: Float[Tensor, "batch time"]
    chosen_mask: Bool[Tensor, "batch time"]
    index: Int[Tensor, " batch"]


@dataclass(frozen=True)
class Preference(Record):
    """Token log-probabilities of a chosen and a rejected response, in nats.

    The masks are true on response tokens; the reference model carries no gradient.
    """

    chosen_logprobs: Float[Tensor, "batch time"]
    rejected_logprobs: Float[Tensor, "batch time"]
    ref_chosen_logprobs: Float[Tensor, "batch time"]
    ref_rejected_logprobs: Float[Tensor, "batch time"]
    chosen_mask: Bool[Tensor, "batch time"]
    rejected_mask: Bool[Tensor, "batch time"]
    index: Int[Tensor, " batch"]

    @property
    def chosen_logprob(self) -> Float[Tensor, " batch"]:
        return _masked_sum(self.chosen_logprobs, self.chosen_mask)

    @property
    def rejected_logprob(self) -> Float[Tensor, " batch"]:
        return _masked_sum(self.rejected_logprobs, self.rejected_mask)

    @property
    def chosen_mean_logprob(self) -> Float[Tensor, " batch"]:
        return self.chosen_logprob / _length(self.chosen_mask)

    @property
    def rejected_mean_logprob(self) -> Float[Tensor, " batch"]:
        return self.rejected_logprob / _length(self.rejected_mask)

    @property
    def ref_chosen_logprob(self) -> Float[Tensor, " batch"]:
        return _masked_sum(self.ref_chosen_logprobs, self.chosen_mask)

    @property
    def ref_rejected_logprob(self) -> Float[Tensor, " batch"]:
        return _masked_sum(self.ref_rejected_logprobs, self.rejected_mask)


@dataclass(frozen=True)
class Distilled(Record):
    """Class scores of a student and of a frozen teacher, and class labels."""

    student_logits: Float[Tensor, "batch classes"]
    teacher_logits: Float[Tensor, "batch classes"]
    labels: Int[Tensor, " batch"]
    index: Int[Tensor, " batch"]


@dataclass(frozen=True)
class Rewards(Record):
    """A model's rewards of a chosen and a rejected response, of any scale."""

    chosen_reward: Float[Tensor, " batch"]
    rejected_reward: Float[Tensor, " batch"]
    index: Int[Tensor, " batch"]


@dataclass(frozen=True)
class JudgedPreference(Preference):
    """A preference, and the rewards that a frozen reward model gives both responses."""

    chosen_reward: Float[Tensor, " batch"]
    rejected_reward: Float[Tensor, " batch"]


@dataclass(frozen=True)
class Rollout(Record):
    """Steps of an on-policy rollout, replayed under the current policy.

    `advantages` and `returns` are those of the policy that acted; `values` are the current
    critic's. Log-probabilities and entropies are in nats, returns in the environment's reward.
    """

    logprobs: Float[Tensor, " batch"]
    old_logprobs: Float[Tensor, " batch"]
    advantages: Float[Tensor, " batch"]
    returns: Float[Tensor, " batch"]
    values: Float[Tensor, " batch"]
    entropies: Float[Tensor, " batch"]


@dataclass(frozen=True)
class Attributed(Labelled):
    """Class scores and labels of examples that have protected attributes.

    A number is one column, standardised, and so is a category of two, as 0 and 1; a category of
    more is one column a value, of 0 and sqrt(1/2), so that two values are one apart.
    """

    attributes: Float[Tensor, "batch columns"]

    @property
    def predictions(self) -> Float[Tensor, " batch"]:
        """Probability of the last class: the outcome that a decision grants."""
        return self.logits.softmax(dim=-1)[:, -1]


@dataclass(frozen=True)
class Ordinal(Record):
    """Log-odds of an ordered class being at most each threshold, and the class.

    `coefficients` are the weights by which the model's head makes the log-odds from its features.
    """

    cumulative_logits: Float[Tensor, "batch thresholds"]
    labels: Int[Tensor, " batch"]
    coefficients: Float[Tensor, "thresholds features"]
    index: Int[Tensor, " batch"]


@dataclass(frozen=True)
class Bagged(Predicted):
    """Predictions of examples whose target is known as the mean of their bag alone."""

    bags: Int[Tensor, " batch"]


@dataclass(frozen=True)
class Embedded(Record):
    """Embeddings and class labels."""

    embeddings: Float[Tensor, "batch dim"]
    labels: Int[Tensor, " batch"]
    index: Int[Tensor, " batch"]


@dataclass(frozen=True)
class Mixed(Embedded):
    """Embeddings and those of mixtures of two examples each; `mixed_shares` are the first one's."""

    mixed_embeddings: Float[Tensor, "mixtures dim"]
    mixed_labels: Int[Tensor, "mixtures 2"]
    mixed_index: Int[Tensor, "mixtures 2"]
    mixed_shares: Float[Tensor, " mixtures"]


@dataclass(frozen=True)
class Mutual(Record):
    """Class scores of a student and of a peer that learns beside it, and class labels."""

    student_logits: Float[Tensor, "batch classes"]
    peer_logits: Float[Tensor, "batch classes"]
    labels: Int[Tensor, " batch"]
    index: Int[Tensor, " batch"]


@dataclass(frozen=True)
class SelfPlay(Preference):
    """Two responses of the policy as it was when a round of self-play began, and what it says.

    An oracle has judged them; the policy of the round's beginning carries no gradient.
    """

    old_chosen_logprobs: Float[Tensor, "batch time"]
    old_rejected_logprobs: Float[Tensor, "batch time"]

    @property
    def old_chosen_logprob(self) -> Float[Tensor, " batch"]:
        return _masked_sum(self.old_chosen_logprobs, self.chosen_mask)

    @property
    def old_rejected_logprob(self) -> Float[Tensor, " batch"]:
        return _masked_sum(self.old_rejected_logprobs, self.rejected_mask)


def field_names(record: type[Record]) -> set[str]:
    """Everything that an objective may ask of this record by name: fields and properties."""
    derived = {
        name
        for cls in record.__mro__
        for name, value in vars(cls).items()
        if isinstance(value, property)
    }
    return {field.name for field in fields(record)} | derived


def _masked_sum(values: Tensor, mask: Tensor) -> Tensor:
    return values.masked_fill(~mask, 0.0).sum(dim=-1)


def _length(mask: Tensor) -> Tensor:
    """Tokens of each response; 1 of an empty one, whose mean is 0."""
    return mask.sum(dim=-1).clamp_min(1)
