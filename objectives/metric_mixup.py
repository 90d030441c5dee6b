"""Mixup for metric learning: pairs of an embedding and a mixture of two, positive by a share.

The task mixes, be it inputs, features or embeddings. A mixture v of examples j and k by shares
y_v and 1 - y_v is a positive of anchor a by y_av = y_v * [label_j = label_a] + (1 - y_v) *
[label_k = label_a], and a negative by the rest. It counts for the anchors to which it is a
positive by some share, and of which it was not mixed.
"""

from typing import Annotated

from annotated_types import Ge, Gt
from jaxtyping import Float, Int
from torch import Tensor

from objectives.domains import Scalar
from objectives.metric import (
    PAIRS,
    Cosine,
    contrastive_pair,
    ms_loss,
    share_of_mean,
    sum_and_count,
)
from objectives.objective import declare
from objectives.pairs import by_rows, distances, log_one_plus, unit


@declare(coupled=PAIRS)
def metrix(
    embeddings: Float[Tensor, "batch dim"],
    labels: Int[Tensor, " batch"],
    index: Int[Tensor, " batch"],
    mixed_embeddings: Float[Tensor, "mixtures dim"],
    mixed_labels: Int[Tensor, "mixtures 2"],
    mixed_index: Int[Tensor, "mixtures 2"],
    mixed_shares: Float[Tensor, " mixtures"],
    *,
    alpha: Annotated[Scalar, Gt(0)] = 2.0,
    beta: Annotated[Scalar, Gt(0)] = 40.0,
    lam: Cosine = 0.5,
    epsilon: Annotated[Scalar, Ge(0)] = 0.1,
    weight: Annotated[Scalar, Ge(0)] = 0.4,
) -> tuple[Float[Tensor, " batch"], dict[str, Tensor]]:
    """Metrix of the multi-similarity loss.

    ms_loss + weight * ( 1/alpha * log(1 + sum_v y_av * exp(-alpha * (s_av - lam)))
                       + 1/beta * log(1 + sum_v (1 - y_av) * exp(beta * (s_av - lam))) )

    Args:
        embeddings: Embeddings, of any length.
        labels: Classes.
        index: Which example each is.
        mixed_embeddings: Embeddings of mixtures v, of any length.
        mixed_labels: The two classes of each.
        mixed_index: The two examples of each.
        mixed_shares: The first one's share.
        alpha: As in `ms_loss`.
        beta: As in `ms_loss`.
        lam: As in `ms_loss`.
        epsilon: Margin of the mining of the pairs that are not mixed.
        weight: Of the mixtures.

    Returns:
        Loss per anchor, in units of similarity, ms_loss at weight = 0; and the mean of the
        mixtures' part, before it is weighted, with the metrics of `ms_loss`.

    Source:
        Venkataramanan et al. 2022, arXiv:2106.04990.
    """
    vectors, mixtures = unit(embeddings), unit(mixed_embeddings)

    def of_rows(similarity: Tensor, rows: Tensor) -> tuple[Tensor, ...]:
        lead = similarity - lam
        shares, mixed = _relations(
            labels[rows], index[rows], mixed_labels, mixed_index, mixed_shares
        )
        negative = mixed & (shares < 1)
        as_positives = log_one_plus(_log(shares, mixed) - alpha * lead, mixed) / alpha
        as_negatives = log_one_plus(_log(1 - shares, negative) + beta * lead, negative) / beta
        return (as_positives + as_negatives,)

    clean, metrics = ms_loss(embeddings, labels, alpha=alpha, beta=beta, lam=lam, epsilon=epsilon)
    (of_mixtures,) = by_rows(of_rows, vectors, mixtures)
    return clean + weight * of_mixtures, {**metrics, "mixtures_loss": of_mixtures.detach().mean()}


@declare(coupled=PAIRS)
def metrix_contrastive(
    embeddings: Float[Tensor, "batch dim"],
    labels: Int[Tensor, " batch"],
    index: Int[Tensor, " batch"],
    mixed_embeddings: Float[Tensor, "mixtures dim"],
    mixed_labels: Int[Tensor, "mixtures 2"],
    mixed_index: Int[Tensor, "mixtures 2"],
    mixed_shares: Float[Tensor, " mixtures"],
    *,
    neg_margin: Annotated[Scalar, Gt(0)] = 0.5,
    weight: Annotated[Scalar, Ge(0)] = 0.4,
) -> tuple[Float[Tensor, " batch"], dict[str, Tensor]]:
    """Metrix of the contrastive loss.

    contrastive_pair + weight * ( mean of y_av * d_av
                                + mean of (1 - y_av) * relu(neg_margin - d_av) )

    Each mean is over its terms above 0; d = Euclidean distance of unit vectors.

    Args:
        embeddings: Embeddings, of any length.
        labels: Classes.
        index: Which example each is.
        mixed_embeddings: Embeddings of mixtures v, of any length.
        mixed_labels: The two classes of each.
        mixed_index: The two examples of each.
        mixed_shares: The first one's share.
        neg_margin: Distance to which negatives are pushed, at most 2.
        weight: Of the mixtures.

    Returns:
        Loss per anchor, in units of distance, `contrastive_pair` at weight = 0; and the mean of
        the mixtures' part, before it is weighted.

    Source:
        Venkataramanan et al. 2022, arXiv:2106.04990, whose formula has similarities in the place
        of distances; the distances and means are of the code billpsomas/Metrix_ICLR22.
    """
    vectors, mixtures = unit(embeddings), unit(mixed_embeddings)

    def of_rows(similarity: Tensor, rows: Tensor) -> tuple[Tensor, ...]:
        distance = distances(similarity)
        shares, mixed = _relations(
            labels[rows], index[rows], mixed_labels, mixed_index, mixed_shares
        )
        return (
            *sum_and_count(shares * distance, mixed),
            *sum_and_count((1 - shares) * (neg_margin - distance), mixed),
        )

    clean = contrastive_pair(embeddings, labels, neg_margin=neg_margin)
    of_positives, positives, of_negatives, negatives = by_rows(of_rows, vectors, mixtures)
    of_mixtures = share_of_mean(of_positives, positives) + share_of_mean(of_negatives, negatives)
    return clean + weight * of_mixtures, {"mixtures_loss": of_mixtures.detach().mean()}


def _relations(
    labels: Tensor,
    index: Tensor,
    mixed_labels: Tensor,
    mixed_index: Tensor,
    mixed_shares: Tensor,
) -> tuple[Tensor, Tensor]:
    """By which share each mixture is a positive of each anchor, and whether the pair counts."""
    first, second = (labels[:, None] == column for column in mixed_labels.unbind(dim=1))
    shares = mixed_shares * first + (1 - mixed_shares) * second
    own = (index[:, None, None] == mixed_index).any(dim=2)
    return shares, (shares > 0) & ~own


def _log(shares: Tensor, counted: Tensor) -> Tensor:
    return shares.masked_fill(~counted, 1.0).log()
