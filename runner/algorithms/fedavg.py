"""Federated averaging: clients descend on their own, a server averages what became of it."""

from collections.abc import Iterable, Sequence
from typing import Annotated, Any

import torch
from annotated_types import Gt
from torch import Tensor

from objectives.domains import Count
from objectives.errors import InputError
from runner.algorithms.descent import Descent
from runner.learner import Learner
from tasks.federated import Clients
from tasks.protocol import Batch


class FedAvg(Descent):
    """The clients of a round descend from the server's weights; their changes are averaged.

    w <- w + server_lr * mean over the round's clients n of (w_n - w),

    w_n after the local steps of the configured optimizer, which begins anew with every client
    (the papers have plain SGD: optimizer=sgd momentum=0). All clients count alike, as in FedAU's
    paper; McMahan et al. weight each by its number of examples. The statistics of batch norm are
    averaged, too.

    Args:
        learner: What learns, on the batches of sampler=clients.
        server_lr: Length of the server's step; 1 gives the mean of the clients' weights.

    Raises:
        InputError: The batches are not those of clients.

    Source:
        McMahan et al. 2017, arXiv:1602.05629.
    """

    def __init__(self, learner: Learner, *, server_lr: Annotated[float, Gt(0)] = 1.0):
        super().__init__(learner)
        self.server_lr = server_lr
        self.clients = clients_of(learner, type(self).__name__.lower())
        self.owner = torch.from_numpy(self.clients.owner).to(learner.device)

    def update(self, batch: Batch) -> dict[str, Tensor]:
        there = self._there(batch)
        weights, statistics = Averaged(self.learner.parameters), Averaged(self._statistics())
        shown = []
        for share, work in zip(self.shares(there), batch.parts(len(there)), strict=True):
            for part in (weights, statistics):
                part.restart()
            shown += self._descend(work)
            weights.add(share)
            statistics.add(1 / len(there))
        weights.finish(self.server_lr)
        statistics.finish(1.0)
        return means(shown)

    def shares(self, there: Sequence[int]) -> list[float]:
        """What the change of each client of a round counts; the round is over after the call."""
        return [1 / len(there)] * len(there)

    def _there(self, batch: Any) -> list[int]:
        """The clients whose local batches a batch holds, in order."""
        each = self.clients.local_steps * self.clients.batch_size
        clients: list[int] = self.owner[batch.index[::each]].tolist()
        return clients

    def _descend(self, work: Batch) -> list[dict[str, Tensor]]:
        """One client's steps, by an optimizer that has seen nothing yet."""
        self._forget()
        shown = [super(FedAvg, self).update(p) for p in work.parts(self.clients.local_steps)]
        self._forget()
        return shown

    def _forget(self) -> None:
        self.learner.optimizer.state.clear()
        for group in self.learner.optimizer.param_groups:
            group.pop("step", None)  # where pytorch_optimizer counts

    def _statistics(self) -> list[Tensor]:
        return [buffer for buffer in self.learner.model.buffers() if buffer.is_floating_point()]


class FedAU(FedAvg):
    """Federated averaging that is fair to clients which are there seldom, nobody knows how seldom.

    w <- w + server_lr / N * sum over the round's clients n of omega_n * (w_n - w),

    omega_n the mean of the intervals, in rounds, between the times at which client n took part so
    far, 1 before the first: an estimate of 1 / p_n. An interval that reaches the cutoff ends
    there. N counts all clients that have examples; where everybody is always there it is FedAvg.

    Args:
        learner: What learns, on the batches of sampler=clients.
        server_lr: Length of the server's step.
        cutoff: Longest interval K; a small one keeps the estimate of a rare client from varying
            much, at the price of a bias.

    Raises:
        InputError: The batches are not those of clients.

    Source:
        Wang & Ji 2024, arXiv:2306.03401; code IBM/fedau.
    """

    def __init__(
        self,
        learner: Learner,
        *,
        server_lr: Annotated[float, Gt(0)] = 1.0,
        cutoff: Count = 100_000,
    ):
        super().__init__(learner, server_lr=server_lr)
        self.cutoff = cutoff
        self.waiting, self.intervals, self.rounds = torch.zeros(
            3, len(self.clients.present), dtype=torch.long
        )

    def shares(self, there: Sequence[int]) -> list[float]:
        omega = torch.where(self.intervals > 0, self.rounds / self.intervals.clamp_min(1), 1.0)
        self._count(torch.tensor(there))
        shares: list[float] = (omega[there] / int(self.clients.present.sum())).tolist()
        return shares

    def _count(self, there: Tensor) -> None:
        """End the intervals of those who are there, and of those who were away too long."""
        self.waiting += 1
        over = self.waiting >= self.cutoff
        over[there] = True
        self.rounds += self.waiting * over
        self.intervals += over
        self.waiting *= ~over

    def state_dict(self) -> dict[str, Any]:
        return {
            "waiting": self.waiting,
            "intervals": self.intervals,
            "rounds": self.rounds,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.waiting, self.intervals, self.rounds = (
            state[name].clone() for name in ("waiting", "intervals", "rounds")
        )


class Averaged:
    """Tensors that every client of a round changes, each from where the server has them."""

    def __init__(self, tensors: Iterable[Tensor]):
        self.tensors = list(tensors)
        self.start = [tensor.detach().clone() for tensor in self.tensors]
        self.change = [torch.zeros_like(tensor) for tensor in self.start]

    @torch.no_grad()
    def restart(self) -> None:
        """Set them back to the server's."""
        for tensor, start in zip(self.tensors, self.start, strict=True):
            tensor.copy_(start)

    @torch.no_grad()
    def add(self, share: float) -> None:
        """Count what a client has changed."""
        for tensor, start, change in zip(self.tensors, self.start, self.change, strict=True):
            change += share * (tensor - start)

    @torch.no_grad()
    def finish(self, rate: float) -> None:
        """Take the server's step."""
        for tensor, start, change in zip(self.tensors, self.start, self.change, strict=True):
            tensor.copy_(start + rate * change)


def clients_of(learner: Learner, asker: str) -> Clients:
    """The sampler that shared the examples out.

    Raises:
        InputError: There is none.
    """
    sampler = getattr(learner.protocol, "sampler", None)
    if not isinstance(sampler, Clients):
        raise InputError(
            f"{asker} needs the local batches of clients: add sampler=clients, on a task that "
            "classifies."
        )
    return sampler


def means(shown: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of each metric over the steps that have it."""
    names = dict.fromkeys(name for metrics in shown for name in metrics)
    return {n: torch.stack([m[n] for m in shown if n in m]).mean() for n in names}
