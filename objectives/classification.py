"""Classification with trusted labels."""

from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F


def cross_entropy(
    logits: Float[Tensor, "batch classes"], labels: Int[Tensor, " batch"]
) -> Float[Tensor, " batch"]:
    """Cross-entropy of the softmax with the labels.

    log sum_j exp(f_j) - f_y

    Args:
        logits: Class scores f, unnormalised.
        labels: Class indices y.

    Returns:
        Loss per example, in nats; log(classes) where all scores are equal.

    Source:
        Good 1952, Rational Decisions, J. R. Stat. Soc. B 14(1) (the logarithmic score).
    """
    return F.cross_entropy(logits, labels, reduction="none")
