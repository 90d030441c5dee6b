"""Deep metric learning: embeddings of one class near, of two classes far.

All pairs of a batch are compared. An example whose class nobody else in the batch has gives no
positive pair, and a batch of one class no negative one: their terms are 0.
"""

from typing import Annotated

import torch
from annotated_types import Ge, Gt, Interval
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from objectives.domains import Scalar
from objectives.objective import declare
from objectives.pairs import by_rows, distances, log_one_plus, unit

PAIRS = "the batch makes up the pairs"

Cosine = Annotated[Scalar, Interval(ge=-1, le=1)]


@declare(coupled=PAIRS)
def contrastive_pair(
    embeddings: Float[Tensor, "batch dim"],
    labels: Int[Tensor, " batch"],
    *,
    pos_margin: Annotated[Scalar, Ge(0)] = 0.0,
    neg_margin: Annotated[Scalar, Gt(0)] = 1.0,
) -> Float[Tensor, " batch"]:
    """Contrastive loss of pairs.

    mean of relu(d_ap - pos_margin) + mean of relu(neg_margin - d_an), each over its pairs above 0,
    d = Euclidean distance of unit vectors

    Args:
        embeddings: Embeddings, of any length.
        labels: Classes.
        pos_margin: Distance to which positives are drawn.
        neg_margin: Distance to which negatives are pushed, at most 2.

    Returns:
        Loss per anchor, in units of distance; neg_margin where all embeddings agree and
        pos_margin = 0.

    Source:
        Hadsell, Chopra & LeCun 2006, CVPR, whose distances are squared; this is the form that
        pytorch-metric-learning has made the usual one.
    """
    vectors = unit(embeddings)

    def of_rows(similarity: Tensor, rows: Tensor) -> tuple[Tensor, ...]:
        distance = distances(similarity)
        positive, negative = _pairs(labels, rows)
        return (
            *sum_and_count(distance - pos_margin, positive),
            *sum_and_count(neg_margin - distance, negative),
        )

    of_positives, positives, of_negatives, negatives = by_rows(of_rows, vectors, vectors)
    return share_of_mean(of_positives, positives) + share_of_mean(of_negatives, negatives)


@declare(coupled=PAIRS)
def triplet(
    embeddings: Float[Tensor, "batch dim"],
    labels: Int[Tensor, " batch"],
    *,
    margin: Annotated[Scalar, Ge(0)] = 0.2,
) -> tuple[Float[Tensor, " batch"], dict[str, Tensor]]:
    """Triplet loss of all triplets.

    mean of relu(d_ap - d_an + margin) over the triplets above 0, d = Euclidean distance of unit
    vectors

    An anchor's negatives are sorted once: those nearer than d_ap + margin are then a prefix, whose
    sum is looked up. So a batch costs n^2 log n instead of the n^3 of its triplets.

    Args:
        embeddings: Embeddings, of any length.
        labels: Classes.
        margin: Required lead of the positive, in units of distance.

    Returns:
        Loss per anchor, in units of distance; margin where all embeddings agree. And how many
        triplets are above 0, for each anchor.

    Source:
        Schroff, Kalenichenko & Philbin 2015, arXiv:1503.03832, whose distances are squared; the
        mean over what is not 0 is that of Hermans, Beyer & Leibe 2017, arXiv:1703.07737.
    """
    vectors = unit(embeddings)

    def of_rows(similarity: Tensor, rows: Tensor) -> tuple[Tensor, ...]:
        distance = distances(similarity)
        positive, negative = _pairs(labels, rows)
        nearest = torch.where(negative, distance, torch.inf).sort(dim=1).values
        sums = F.pad(torch.where(nearest.isinf(), 0.0, nearest).cumsum(dim=1), (1, 0))
        first = positive.to(torch.uint8).topk(int(positive.sum(dim=1).max()), dim=1)
        reach = distance.gather(1, first.indices) + margin
        within = torch.searchsorted(nearest.detach(), reach.detach()) * first.values
        hinges = within * reach - sums.gather(1, within)
        return hinges.sum(dim=1), within.sum(dim=1)

    sums, counts = by_rows(of_rows, vectors, vectors)
    return share_of_mean(sums, counts), {"active_triplets": counts.to(sums.dtype).mean()}


@declare(coupled=PAIRS)
def ms_loss(
    embeddings: Float[Tensor, "batch dim"],
    labels: Int[Tensor, " batch"],
    *,
    alpha: Annotated[Scalar, Gt(0)] = 2.0,
    beta: Annotated[Scalar, Gt(0)] = 40.0,
    lam: Cosine = 0.5,
    epsilon: Annotated[Scalar, Ge(0)] = 0.1,
) -> tuple[Float[Tensor, " batch"], dict[str, Tensor]]:
    """Multi-similarity loss.

    1/alpha * log(1 + sum_p exp(-alpha * (s_ap - lam)))
        + 1/beta * log(1 + sum_n exp(beta * (s_an - lam)))

    over the positives with s_ap - epsilon < max_n s_an and the negatives with
    s_an + epsilon > min_p s_ap alone; s = cosine similarity. An anchor without positives or
    without negatives mines nothing.

    Args:
        embeddings: Embeddings, of any length.
        labels: Classes.
        alpha: Sharpness of the positives' weights, per unit of similarity.
        beta: Sharpness of the negatives' weights, per unit of similarity.
        lam: Similarity that divides them (the paper's lambda).
        epsilon: Margin of the mining, in units of similarity; at 2 every pair is taken.

    Returns:
        Loss per anchor, in units of similarity, 0 where nothing is mined; for alpha, beta ->
        infinity relu(lam - min_p s_ap) + relu(max_n s_an - lam). And the number of positives and
        negatives mined, for each anchor.

    Source:
        Wang et al. 2019, arXiv:1904.06627; the code MalongTech/research-ms-loss also leaves out
        positives at a similarity of 1 and fails where an anchor has none.
    """
    vectors = unit(embeddings)

    def of_rows(similarity: Tensor, rows: Tensor) -> tuple[Tensor, ...]:
        positive, negative = _mined(similarity.detach(), *_pairs(labels, rows), epsilon)
        loss = (
            log_one_plus(-alpha * (similarity - lam), positive) / alpha
            + log_one_plus(beta * (similarity - lam), negative) / beta
        )
        return loss, positive.sum(dim=1), negative.sum(dim=1)

    loss, positives, negatives = by_rows(of_rows, vectors, vectors)
    return loss, {
        "mined_positives": positives.to(loss.dtype).mean(),
        "mined_negatives": negatives.to(loss.dtype).mean(),
    }


def _pairs(labels: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Which columns are positives of each row, and which negatives."""
    same = labels[rows, None] == labels
    return same.scatter(1, rows[:, None], False), ~same


def _mined(
    similarity: Tensor, positive: Tensor, negative: Tensor, epsilon: float | Tensor
) -> tuple[Tensor, Tensor]:
    """The positives farther than some negative, and the negatives nearer than some positive."""
    least = similarity.masked_fill(~positive, torch.inf).amin(dim=1, keepdim=True)
    most = similarity.masked_fill(~negative, -torch.inf).amax(dim=1, keepdim=True)
    return positive & (similarity - epsilon < most), negative & (similarity + epsilon > least)


def sum_and_count(terms: Tensor, counted: Tensor) -> tuple[Tensor, Tensor]:
    """Of each row, over the terms that count and are above 0."""
    counted = counted & (terms.detach() > 0)
    return torch.where(counted, terms, 0.0).sum(dim=1), counted.sum(dim=1)


def share_of_mean(sums: Tensor, counts: Tensor) -> Tensor:
    """Each row's part in the mean of all terms, such that the rows' mean is that mean."""
    return sums * len(sums) / counts.sum().clamp_min(1)
