"""What losses of all pairs in a batch share: unit vectors, and blocks of rows."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import Function

from objectives.errors import InputError

BLOCK = 2**20
"""Entries of a matrix of pairs that are held at once: 4 MB in float32, near the size of a cache."""

Rows = Callable[[Tensor, Tensor], tuple[Tensor, ...]]
"""From some rows of a matrix of similarities, and their positions, to columns: one value a row."""


def unit(embeddings: Tensor) -> Tensor:
    """Rows of length 1; one of zeros stays so, at similarity 0 to all, its gradient finite."""
    length = torch.linalg.vector_norm(embeddings, dim=-1, keepdim=True)
    return embeddings / length.masked_fill(length == 0, 1.0)


def by_rows(compute: Rows, left: Tensor, right: Tensor) -> tuple[Tensor, ...]:
    """What each row of `left @ right.T` comes to, without ever holding the whole of a large one.

    Args:
        compute: Called again in the backward pass, where there is more than one block; what else
            it uses than the similarities has no gradient.
        left: Vectors, a row each.
        right: Vectors, a column each.

    Raises:
        InputError: What `compute` uses beside them is to have a gradient, and there are blocks.
    """
    rows = torch.arange(len(left), device=left.device)
    blocks = rows.split(max(1, BLOCK // max(len(right), 1)))
    if len(blocks) == 1:
        return compute(left @ right.T, rows)
    columns: tuple[Tensor, ...] = _Blocks.apply(compute, blocks, left, right)
    return columns


class _Blocks(Function):
    """Rows block by block; the gradient makes each block's similarities anew."""

    @staticmethod
    def forward(
        ctx: Any, compute: Rows, blocks: tuple[Tensor, ...], left: Tensor, right: Tensor
    ) -> tuple[Tensor, ...]:
        ctx.compute, ctx.blocks = compute, blocks
        ctx.save_for_backward(left, right)
        ctx.set_materialize_grads(False)
        kind = left.device.type
        ctx.autocast = torch.autocast(
            kind, torch.get_autocast_dtype(kind), torch.is_autocast_enabled(kind)
        )
        left, right = left.detach(), right.detach()
        with torch.enable_grad():  # what has a gradient now would lose it
            columns: tuple[Tensor, ...] = ()
            for rows in blocks:
                values = compute(left[rows] @ right.T, rows)
                if any(value.requires_grad for value in values):
                    raise InputError(
                        f"of {len(left):,} embeddings at once no setting can be learned with them; "
                        "take a smaller batch_size."
                    )
                columns = columns or tuple(value.new_empty(len(left)) for value in values)
                for column, value in zip(columns, values, strict=True):
                    column[rows] = value
        return columns

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Any, ...]:
        left, right = ctx.saved_tensors
        of_left, of_right = torch.zeros_like(left), torch.zeros_like(right)
        for rows in ctx.blocks:
            part = [gradient if gradient is None else gradient[rows] for gradient in gradients]
            with ctx.autocast:
                slope = _slope(ctx.compute, left[rows] @ right.T, rows, part)
                of_left[rows] = (slope @ right).to(left.dtype)
                of_right += slope.T @ left[rows]
        return None, None, of_left, of_right


def _slope(
    compute: Rows, similarity: Tensor, rows: Tensor, gradients: list[Tensor | None]
) -> Tensor:
    """The gradient of some rows' similarities, itself with a gradient where they have one."""
    again = similarity.requires_grad
    with torch.enable_grad():
        columns = zip(compute(similarity.requires_grad_(), rows), gradients, strict=True)
        parts = [(c * g).sum() for c, g in columns if g is not None and c.requires_grad]
        (slope,) = torch.autograd.grad(torch.stack(parts).sum(), similarity, create_graph=again)
    return slope


def log_one_plus(exponents: Tensor, counted: Tensor) -> Tensor:
    """log(1 + sum exp) over those entries of each row that count; 0 where there are none."""
    least = torch.finfo(exponents.dtype).min / 2
    total = exponents.masked_fill(~counted, least).logsumexp(dim=-1)
    return torch.logaddexp(total, torch.zeros_like(total))


def distances(similarity: Tensor) -> Tensor:
    """Euclidean distances of unit vectors from their similarity; 0, with a finite slope, at 1."""
    squared = torch.rsub(similarity, 2, alpha=2)
    least = 4 * torch.finfo(squared.dtype).eps  # below is rounding, and the root's slope endless
    return squared * squared.clamp_min(least).rsqrt()
