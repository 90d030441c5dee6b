"""A table: what comes next depends on the last token alone."""

from torch import Tensor, nn
from torch.nn import functional as F


class Table(nn.Module):
    """A score of each next token for each last one: [batch, time] to [batch, time, outputs].

    Scores start as standard normal, so that a policy does not start uniform.
    """

    def __init__(self, num_tokens: int, num_outputs: int):
        super().__init__()
        self.num_tokens = num_tokens
        self.head = nn.Linear(num_tokens, num_outputs, bias=False)
        nn.init.normal_(self.head.weight)

    def features(self, tokens: Tensor) -> Tensor:
        return F.one_hot(tokens, self.num_tokens).to(self.head.weight.dtype)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.features(tokens))

    def following(self, tokens: Tensor, past: list[list[Tensor]]) -> Tensor:
        """Scores of the token after the last one: [batch, outputs]; nothing before it counts."""
        return self(tokens[:, -1])
