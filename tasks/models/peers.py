"""A model and another one that learns beside it."""

from torch import Tensor, nn


class Peers(nn.Module):
    """A student and its peer; used as a model, it is the student."""

    def __init__(self, student: nn.Module, peer: nn.Module):
        super().__init__()
        self.student, self.peer = student, peer

    def forward(self, inputs: Tensor) -> Tensor:
        return self.student(inputs)
