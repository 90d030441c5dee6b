"""Examples with a label, a number or a bag to be predicted."""

from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor

from objectives.records.base import Record


@dataclass(frozen=True)
class Labelled(Record):
    """Class scores and class labels."""

    logits: Float[Tensor, "batch classes"]
    labels: Int[Tensor, " batch"]
    index: Int[Tensor, " batch"]


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
class Bagged(Predicted):
    """Predictions of examples whose target is known as the mean of their bag alone."""

    bags: Int[Tensor, " batch"]
