"""What losses of all pairs in a batch share: unit vectors, and blocks of rows."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

BLOCK = 2**20
"""Entries of a matrix of pairs that are held at once: 4 MB in float32, near the size of a cache."""

Rows = Callable[[Tensor], tuple[Tensor, ...]]


def unit(embeddings: Tensor) -> Tensor:
    """Rows of length 1; one of zeros stays so, at similarity 0 to all, its gradient finite."""
    length = torch.linalg.vector_norm(embeddings, dim=-1, keepdim=True)
    return embeddings / length.masked_fill(length == 0, 1.0)


def by_rows(compute: Rows, embeddings: Tensor) -> tuple[Tensor, ...]:
    """What each row of a matrix of pairs comes to, without ever holding the whole of a large one.

    Args:
        compute: From positions of rows to one value for each of them, or several. Called again in
            the backward pass, where there is more than one block.
        embeddings: Its columns; as many rows are taken at once as fit into a block.
    """
    count = len(embeddings)
    rows = torch.arange(count, device=embeddings.device)
    blocks = rows.split(max(1, BLOCK // max(count, 1)))
    if len(blocks) == 1:
        return compute(rows)
    parts = [
        checkpoint(compute, block, use_reentrant=False, preserve_rng_state=False)
        for block in blocks
    ]
    return tuple(torch.cat(column) for column in zip(*parts, strict=True))


def log_one_plus(exponents: Tensor, counted: Tensor) -> Tensor:
    """log(1 + sum exp) over those entries of each row that count; 0 where there are none."""
    least = torch.finfo(exponents.dtype).min / 2
    total = exponents.masked_fill(~counted, least).logsumexp(dim=-1)
    return torch.logaddexp(total, torch.zeros_like(total))


def distances(similarity: Tensor) -> Tensor:
    """Euclidean distances of unit vectors from their similarity; 0, with a finite slope, at 1."""
    squared = 2 - 2 * similarity
    least = 4 * torch.finfo(squared.dtype).eps  # below is rounding, and the root's slope endless
    return squared * squared.clamp_min(least).rsqrt()
