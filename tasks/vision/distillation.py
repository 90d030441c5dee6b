"""Learning from a teacher: the same images seen by student and teacher."""

from collections.abc import Callable
from functools import partial

import torch
from torch import nn

from objectives.errors import InputError
from objectives.objective import fill
from objectives.records import Distilled, Mutual
from tasks.models.peers import Peers
from tasks.sampling import MakeSampler, Shuffled
from tasks.vision.augmentation import Augment, Shape
from tasks.vision.classification import Classification, Images
from tasks.vision.images import ImageSet


class Distillation(Classification):
    """Class scores of the model, the student, and of a teacher; evaluated as classification.

    Args:
        teacher: A trained model of the same images; it learns no more.

    Raises:
        InputError: The teacher has other classes or does not take these images.
    """

    record = Distilled

    def __init__(
        self,
        data: ImageSet,
        batch_size: int,
        seed: int,
        device: torch.device,
        augmentation: Callable[[Shape], Augment],
        teacher: nn.Module,
        sampler: MakeSampler = Shuffled,
    ):
        super().__init__(data, batch_size, seed, device, augmentation, sampler)
        self.teacher = teacher
        self._check_teacher()

    def __call__(self, model: nn.Module, batch: Images) -> Distilled:
        with torch.no_grad():
            teacher_logits = self.teacher(batch.inputs)
        return Distilled(model(batch.inputs), teacher_logits, batch.labels, batch.index)

    @torch.no_grad()
    def _check_teacher(self) -> None:
        wanted = (1, self.data.num_classes)
        try:
            given = tuple(self.teacher(self.data.normalized(self.data.val.images[:1])).shape)
        except RuntimeError as error:
            said = str(error).splitlines()[0]
            raise InputError(f"the teacher does not take this task's images: {said}") from None
        if given != wanted:
            raise InputError(
                f"the teacher gives scores of shape {given} for one image, expected {wanted}: it "
                "was made for other classes."
            )


class MutualLearning(Classification):
    """Class scores of the model, the student, and of a peer that is trained with it.

    Evaluated as classification by the student, and by the peer's accuracy.

    Args:
        peer: Makes the peer, a model of the same images.
    """

    record = Mutual

    def __init__(
        self,
        data: ImageSet,
        batch_size: int,
        seed: int,
        device: torch.device,
        augmentation: Callable[[Shape], Augment],
        peer: "partial[nn.Module]",
        sampler: MakeSampler = Shuffled,
    ):
        super().__init__(data, batch_size, seed, device, augmentation, sampler)
        self.peer = peer

    def trained(self, model: nn.Module) -> Peers:
        return Peers(model, fill(self.peer, self.facts)())

    def __call__(self, model: nn.Module, batch: Images) -> Mutual:
        assert isinstance(model, Peers)
        student, peer = model(batch.inputs), model.peer(batch.inputs)
        return Mutual(student, peer, batch.labels, batch.index)

    def evaluate(self, model: nn.Module, split: str) -> dict[str, float]:
        assert isinstance(model, Peers)
        of_peer = super().evaluate(model.peer, split)
        return super().evaluate(model, split) | {"peer_accuracy": of_peer["accuracy"]}
