"""Transformers over tokens: one body, read position by position or as a whole."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from objectives.domains import Count, Share, checked
from objectives.errors import InputError

PADDING = 0
"""The token that fills a sequence up where it is read as a whole."""


class Past:
    """Keys and values of what a block has read, in rooms that double when they are full."""

    def __init__(self) -> None:
        self.length, self.rooms = 0, list[Tensor]()

    def extended(self, *new: Tensor) -> list[Tensor]:
        """All keys and values, those of more positions included: [batch, heads, time, size]."""
        before, self.length = self.length, self.length + new[0].shape[2]
        if not self.rooms or self.length > self.rooms[0].shape[2]:
            known = [room[:, :, :before] for room in self.rooms] or [t[:, :, :0] for t in new]
            self.rooms = [
                torch.cat([old, t.new_empty(*t.shape[:2], 2 * self.length - before, t.shape[3])], 2)
                for old, t in zip(known, new, strict=True)
            ]
        for room, t in zip(self.rooms, new, strict=True):
            room[:, :, before : self.length] = t
        return [room[:, :, : self.length] for room in self.rooms]


class Block(nn.Module):
    """Pre-norm attention and perceptron, each added to what came in."""

    def __init__(self, width: int, heads: int, dropout: float, causal: bool):
        super().__init__()
        self.heads, self.causal = heads, causal
        self.attention_norm, self.mlp_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.projection = nn.Linear(width, 3 * width)
        self.output = nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, states: Tensor, mask: Tensor | None, past: Past | None = None) -> Tensor:
        """Say more of each position; `past` has keys and values of those before, and grows."""
        parts = self.projection(self.attention_norm(states)).unflatten(-1, (3, self.heads, -1))
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        alone = past is None or past.length == 0
        if past is not None:
            key, value = past.extended(key, value)
        # no dropout of attention weights: it has no fused kernel on the CPU
        attended = F.scaled_dot_product_attention(
            query, key, value, attn_mask=mask, is_causal=self.causal and alone
        )
        states = states + self.dropout(self.output(attended.transpose(1, 2).flatten(2)))
        return states + self.dropout(self.mlp(self.mlp_norm(states)))


class Transformer(nn.Module):
    """A causal transformer: tokens [batch, time] to scores of each next one [batch, time, ...]."""

    causal = True

    def __init__(
        self,
        num_tokens: int,
        context: int,
        num_outputs: int,
        *,
        width: int = 64,
        depth: int = 2,
        heads: int = 4,
        dropout: float = 0.0,
    ):
        if width % heads:
            raise InputError(f"heads={heads} does not divide width={width}.")
        super().__init__()
        self.tokens, self.positions = nn.Embedding(num_tokens, width), nn.Embedding(context, width)
        for table in (self.tokens, self.positions):
            nn.init.normal_(table.weight, std=0.02)
        self.dropout = nn.Dropout(dropout)
        blocks = (Block(width, heads, dropout, self.causal) for _ in range(depth))
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, num_outputs)

    def features(self, tokens: Tensor) -> Tensor:
        return self.states(tokens, None)

    def states(self, tokens: Tensor, mask: Tensor | None) -> Tensor:
        """What the last block says of each position: [batch, time, width]."""
        places = torch.arange(tokens.shape[1], device=tokens.device)
        states = self.dropout(self.tokens(tokens) + self.positions(places))
        for block in self.blocks:
            states = block(states, mask)
        return self.norm(states)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.features(tokens))

    def following(self, tokens: Tensor, past: list[Past]) -> Tensor:
        """Scores of the token after the last one: [batch, ...].

        Args:
            tokens: All tokens at first, then one at a time: [batch, time].
            past: What was computed before, at first an empty list; it grows.
        """
        if not past:
            past += [Past() for _ in self.blocks]
        places = past[0].length + torch.arange(tokens.shape[1], device=tokens.device)
        states = self.dropout(self.tokens(tokens) + self.positions(places))
        for block, own in zip(self.blocks, past, strict=True):
            states = block(states, None, own)
        return self.head(self.norm(states[:, -1]))


class PooledTransformer(Transformer):
    """A transformer that sees all of a sequence: tokens [batch, time] to scores [batch, ...].

    Padding is not attended to; the features are the mean over the other positions.
    """

    causal = False

    def features(self, tokens: Tensor) -> Tensor:
        written = tokens != PADDING
        states = self.states(tokens, written[:, None, None])
        total = (states * written[..., None]).sum(dim=1)
        return total / written.sum(dim=1, keepdim=True)


@checked
def transformer(
    num_tokens: int,
    context: int,
    num_outputs: int,
    causal: bool,
    *,
    width: Count = 64,
    depth: Count = 2,
    heads: Count = 4,
    dropout: Share = 0.0,
) -> Transformer:
    """The transformer that a task asks for: next-token scores, or one score vector a sequence."""
    kind = Transformer if causal else PooledTransformer
    return kind(
        num_tokens, context, num_outputs, width=width, depth=depth, heads=heads, dropout=dropout
    )
