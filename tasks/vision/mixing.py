"""Mixtures of images, or of what a model makes of them, beside the images themselves."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Gt, Interval
from torch import Tensor, nn
from torch.distributions import Beta

from objectives.domains import Count, checked
from objectives.records import Mixed
from tasks.sampling import ClassBalanced, MakeSampler
from tasks.vision.augmentation import Augment, Shape
from tasks.vision.classification import Images
from tasks.vision.images import ImageSet
from tasks.vision.retrieval import Retrieval


@dataclass(frozen=True)
class MixedImages(Images):
    """Images, for each another one of the batch, and its own share in the mixture of both."""

    partners: Tensor
    shares: Tensor


Mix = Callable[[nn.Module, MixedImages, Tensor], Tensor]
"""From the model, a batch and its embeddings to the embeddings of its mixtures."""


def inputs(model: nn.Module, batch: MixedImages, embedded: Tensor) -> Tensor:
    """Images are mixed."""
    return model(_blend(batch.inputs, batch))


def features(model: nn.Module, batch: MixedImages, embedded: Tensor) -> Tensor:
    """Features are mixed: what is in front of the head, which must not be linear to matter."""
    return model.head(_blend(model.features(batch.inputs), batch))  # type: ignore[operator]


def embeddings(model: nn.Module, batch: MixedImages, embedded: Tensor) -> Tensor:
    """Embeddings are mixed."""
    return _blend(embedded, batch)


class MixedRetrieval(Retrieval):
    """Retrieval with a mixture of every image and one of another class, drawn from the batch.

    Where a batch has one class alone, images of that are mixed. Partners and shares are drawn
    from torch's global generator.

    Args:
        mix: What is mixed: `inputs`, `features` or `embeddings`.
        mixup_alpha: Both parameters of the beta distribution of an image's share.

    Source:
        Venkataramanan et al. 2022, arXiv:2106.04990.
    """

    record = Mixed

    @checked
    def __init__(
        self,
        data: ImageSet,
        batch_size: int,
        seed: int,
        device: torch.device,
        augmentation: Callable[[Shape], Augment],
        mix: Mix,
        mixup_alpha: Annotated[float, Gt(0)] = 2.0,
        embedding_dim: Count = 64,
        held_out_classes: Annotated[float, Interval(gt=0, lt=1)] = 0.5,
        sampler: MakeSampler = ClassBalanced,
    ):
        super().__init__(
            data,
            batch_size,
            seed,
            device,
            augmentation,
            embedding_dim,
            held_out_classes,
            sampler=sampler,
        )
        self.mix = mix
        alpha = torch.tensor(mixup_alpha)
        self.share = Beta(alpha, alpha)

    def batches(self, model: nn.Module, epoch: int, start: int) -> Iterator[MixedImages]:
        for batch in super().batches(model, epoch, start):
            shares = self.share.sample((len(batch),)).to(self.device)
            partners = _partners(batch.labels.cpu()).to(self.device)
            yield MixedImages(batch.inputs, batch.labels, batch.index, partners, shares)

    def __call__(self, model: nn.Module, batch: Images) -> Mixed:
        assert isinstance(batch, MixedImages)
        embeddings = model(batch.inputs)
        mixed = self.mix(model, batch, embeddings)
        labels, index = (
            torch.stack([column, column[batch.partners]], dim=1)
            for column in (batch.labels, batch.index)
        )
        return Mixed(embeddings, batch.labels, batch.index, mixed, labels, index, batch.shares)


def _partners(labels: Tensor) -> Tensor:
    """For each example another one of the batch, of another class where there is one."""
    other = labels[:, None] != labels
    other |= ~other.any(dim=1, keepdim=True)
    return other.float().multinomial(1).squeeze(1)


def _blend(values: Tensor, batch: MixedImages) -> Tensor:
    shares = batch.shares.to(values.dtype).view(-1, *(1,) * (values.ndim - 1))
    return shares * values + (1 - shares) * values[batch.partners]
