"""Augmentations of a whole batch on its device, by kornia.

Each function returns one for images of a shape: uint8 [n, channels, height, width] in, new images
in the same range, as uint8 or as float, out. All draw from torch's global generator.
"""

from collections.abc import Callable
from typing import Annotated, Any

from annotated_types import Ge, Interval
from torch import Tensor

from objectives.domains import Share, checked
from objectives.errors import InputError
from tasks.vision.images import WHITE

Augment = Callable[[Tensor], Tensor]
Shape = tuple[int, ...]


@checked
def none(shape: Shape) -> Augment:
    """The images as they are."""
    return lambda images: images


@checked
def crop_flip(shape: Shape, *, padding: Annotated[int, Ge(0)] = 4, flip: Share = 0.5) -> Augment:
    """A crop at a random place of the image padded by zeros, and a horizontal flip."""
    kornia = _kornia()
    return _sequence(
        kornia.RandomCrop(shape[1:], padding=padding, cropping_mode="slice"),
        kornia.RandomHorizontalFlip(p=flip),
    )


@checked
def affine(
    shape: Shape,
    *,
    rotation: Annotated[float, Interval(ge=0, le=180)] = 15.0,
    shift: Annotated[float, Interval(ge=0, lt=1)] = 0.15,
    zoom: Annotated[float, Interval(ge=0, lt=1)] = 0.15,
) -> Augment:
    """Rotation (up to degrees), shift (up to shares of the width) and zoom (1 +- share)."""
    steps = _kornia().RandomAffine(
        rotation, (shift, shift), (1 - zoom, 1 + zoom), padding_mode="border", p=1.0
    )
    return _sequence(steps)


@checked
def simclr(
    shape: Shape,
    *,
    smallest_crop: Annotated[float, Interval(gt=0, le=1)] = 0.2,
    jitter: Share = 0.5,
    gray: Share = 0.2,
) -> Augment:
    """SimCLR's for small images: resized crop, flip, colour jitter, grey; no blur.

    Args:
        smallest_crop: Least share of the area that a crop keeps.
        jitter: Strength s of the colour jitter: 0.8 s for brightness, contrast and saturation,
            0.2 s for hue.
        gray: Probability of a grey image.

    Source:
        Chen et al. 2020, arXiv:2002.05709, appendix B.9.
    """
    if shape[0] != 3:
        raise InputError(f"augmentation simclr is for colour images, not {shape[0]} channel(s).")
    kornia, strength = _kornia(), 0.8 * jitter
    return _sequence(
        kornia.RandomResizedCrop(shape[1:], scale=(smallest_crop, 1.0)),
        kornia.RandomHorizontalFlip(),
        kornia.ColorJitter(strength, strength, strength, 0.2 * jitter, p=0.8),
        kornia.RandomGrayscale(p=gray),
    )


def _sequence(*steps: Any) -> Augment:
    sequence = _kornia().ImageSequential(*steps)
    return lambda images: sequence(images.float() / WHITE) * WHITE


def _kornia() -> Any:
    try:
        import kornia.augmentation
    except ImportError:
        raise InputError("augmentations need kornia: pip install 'runner[vision]'") from None
    return kornia.augmentation
