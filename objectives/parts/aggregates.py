"""From the losses of tokens to one of each response."""

from objectives.parts import Mask, Tokens, Values, total


def per_response(losses: Tokens, mask: Mask) -> Values:
    """The mean of each response's tokens: all responses count alike; 0 of an empty one."""
    return total(losses, mask) / mask.sum(dim=1).clamp_min(1)


def per_token(losses: Tokens, mask: Mask) -> Values:
    """The sum of each response's tokens, over the mean length: all tokens count alike."""
    return total(losses, mask) * len(mask) / mask.sum().clamp_min(1)


def per_budget(losses: Tokens, mask: Mask) -> Values:
    """The sum of each response's tokens, over the longest length that there may be."""
    return total(losses, mask) / mask.shape[1]
