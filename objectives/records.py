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
class Denoised(Record):
    """The noise in noised examples, and what a model takes for it."""

    predicted_noise: Float[Tensor, " batch *shape"]
    noise: Float[Tensor, " batch *shape"]
    index: Int[Tensor, " batch"]


@dataclass(frozen=True)
class Flow(Record):
    """The velocity that a model gives to examples on straight lines from data to noise.

    At a time of 0 an example is `clean`, at 1 it is `noise`; its own velocity is their difference.
    """

    velocity: Float[Tensor, " batch *shape"]
    clean: Float[Tensor, " batch *shape"]
    noise: Float[Tensor, " batch *shape"]
    times: Float[Tensor, " batch"]
    index: Int[Tensor, " batch"]


@dataclass(frozen=True)
class RewardedFlow(Flow):
    """Flow on samples of a model's own, and how much better each is than the others.

    `old_velocity` is of the model when it drew them, `ref_velocity` of the reference.
    """

    old_velocity: Float[Tensor, " batch *shape"]
    ref_velocity: Float[Tensor, " batch *shape"]
    advantages: Float[Tensor, " batch"]


@dataclass(frozen=True)
class DenoisingSteps(Record):
    """Random steps from noise to samples, and what the samples are worth beside the others.

    Log-probabilities are of a step's outcome, all dimensions together, in nats: under the current
    model, and under the one that took the step.
    """

    logprob: Float[Tensor, " batch"]
    old_logprob: Float[Tensor, " batch"]
    advantages: Float[Tensor, " batch"]
    index: Int[Tensor, " batch"]


@dataclass(frozen=True)
class Transitions(Record):
    """Transitions of others, and what two critics and a policy say of them.

    `values_1` and `values_2` are the critics' of the action taken, `targets` what they should be,
    constants. `policy_values` are the first critic's of the policy's own actions, with a gradient
    for the policy alone. Values are discounted sums of scaled rewards, actions lie in [-1, 1].
    """

    values_1: Float[Tensor, " batch"]
    values_2: Float[Tensor, " batch"]
    targets: Float[Tensor, " batch"]
    actions: Float[Tensor, "batch dims"]
    policy_actions: Float[Tensor, "batch dims"]
    policy_values: Float[Tensor, " batch"]
    index: Int[Tensor, " batch"]


@dataclass(frozen=True)
class GuidedTransitions(Transitions):
    """Transitions beside actions that a generative model of the data has in the policy's place.

    `state_values` are a third critic's, of the state alone, `state_targets` what they should be.
    `reconstructions` are the model's of the actions taken, its latent variables normal with
    `latent_means` and `latent_stds`. `generated_values` are the first critic's, a constant.
    """

    generated_actions: Float[Tensor, "batch dims"]
    generated_values: Float[Tensor, " batch"]
    state_values: Float[Tensor, " batch"]
    state_targets: Float[Tensor, " batch"]
    reconstructions: Float[Tensor, "batch dims"]
    latent_means: Float[Tensor, "batch latent"]
    latent_stds: Float[Tensor, "batch latent"]


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


@dataclass(frozen=True)
class Responses(Record):
    """A policy's responses, several to a prompt, and what they are worth.

    Log-probabilities of tokens, in nats, are under the policy, the one that drew them, and the
    reference; the mask is true on the response. Responses of the same group have one prompt.
    """

    token_logprobs: Float[Tensor, "batch time"]
    old_token_logprobs: Float[Tensor, "batch time"]
    ref_token_logprobs: Float[Tensor, "batch time"]
    mask: Bool[Tensor, "batch time"]
    rewards: Float[Tensor, " batch"]
    group: Int[Tensor, " batch"]
    index: Int[Tensor, " batch"]


@dataclass(frozen=True)
class BaselinedResponses(Responses):
    """The same, and what the most likely response to each one's prompt is worth."""

    greedy_rewards: Float[Tensor, " batch"]


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
