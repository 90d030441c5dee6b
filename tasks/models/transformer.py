"""Causal transformers over tokens."""

import torch
from torch import Tensor, nn


class Transformer(nn.Module):
    """A pre-norm causal transformer: tokens [batch, time] to next-token scores."""

    mask: Tensor

    def __init__(
        self,
        num_tokens: int,
        context: int,
        *,
        width: int = 64,
        depth: int = 2,
        heads: int = 4,
        dropout: float = 0.0,
    ):
        super().__init__()
        self.tokens = nn.Embedding(num_tokens, width)
        self.positions = nn.Embedding(context, width)
        layer = nn.TransformerEncoderLayer(
            width, heads, 4 * width, dropout, "gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, depth, nn.LayerNorm(width), False)
        self.head = nn.Linear(width, num_tokens)
        mask = nn.Transformer.generate_square_subsequent_mask(context)
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, tokens: Tensor) -> Tensor:
        time = tokens.shape[1]
        embedded = self.tokens(tokens) + self.positions(torch.arange(time, device=tokens.device))
        return self.head(self.layers(embedded, mask=self.mask[:time, :time], is_causal=True))
