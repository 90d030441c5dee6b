"""Contrastive objectives on two views of each example."""

from typing import Annotated

import torch
from annotated_types import Gt
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from objectives.domains import Scalar
from objectives.objective import declare


@declare(coupled="the other examples of the batch are the negatives")
def info_nce(
    embeddings_1: Float[Tensor, "batch dim"],
    embeddings_2: Float[Tensor, "batch dim"],
    *,
    tau: Annotated[Scalar, Gt(0)] = 0.1,
) -> tuple[Float[Tensor, " anchors"], dict[str, Tensor]]:
    """InfoNCE in SimCLR's symmetric form (NT-Xent).

    -log( exp(s_ip / tau) / sum_{k != i} exp(s_ik / tau) ),  s = cosine similarity,
    p = the other view of i; the 2 * batch - 2 other embeddings are the negatives.

    Args:
        embeddings_1: First view, of any length.
        embeddings_2: Second view, row by row of the same examples.
        tau: Temperature, in units of cosine similarity; tau -> 0 is a hinge on the hardest
            negative: tau * loss -> relu(max_k s_ik - s_ip).

    Returns:
        Loss per anchor (2 * batch), in nats, log(2 * batch - 1) where all embeddings agree; and
        the mean similarity of positives and of negatives, and the share of anchors whose
        positive is their nearest embedding.

    Source:
        van den Oord, Li & Vinyals 2018, arXiv:1807.03748; Chen et al. 2020, arXiv:2002.05709.
    """
    anchors = F.normalize(torch.cat([embeddings_1, embeddings_2]), dim=-1)
    pairs = len(embeddings_1)
    similarity = anchors @ anchors.T
    itself = torch.eye(2 * pairs, dtype=torch.bool, device=anchors.device)
    positive = torch.arange(2 * pairs, device=anchors.device).roll(pairs)
    others = (similarity / tau).masked_fill(itself, -torch.inf)
    loss = F.cross_entropy(others, positive, reduction="none")
    return loss, _similarities(similarity.detach(), others.detach(), positive)


def _similarities(similarity: Tensor, others: Tensor, positive: Tensor) -> dict[str, Tensor]:
    of_positives = similarity.gather(1, positive[:, None]).sum()
    anchors = len(similarity)
    negatives = similarity.sum() - similarity.diagonal().sum() - of_positives
    return {
        "positive_similarity": of_positives / anchors,
        "negative_similarity": negatives / max(anchors * (anchors - 2), 1),
        "contrastive_accuracy": (others.argmax(dim=-1) == positive).float().mean(),
    }
