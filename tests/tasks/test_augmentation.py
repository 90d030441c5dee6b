"""Augmentations: what they may and may not change."""

from collections.abc import Callable

import pytest
import torch

from objectives.errors import InputError
from tasks.vision.augmentation import affine, crop_flip, none, simclr

pytest.importorskip("kornia")

SHAPE = (3, 32, 32)
PICTURES = torch.randint(256, (16, *SHAPE), generator=torch.Generator().manual_seed(0)).byte()

each = pytest.mark.parametrize("make", [crop_flip, affine, simclr], ids=lambda make: make.__name__)


@each
def test_shape_range_and_reproducibility(make: Callable[..., Callable]) -> None:
    augment = make(SHAPE)
    torch.manual_seed(1)
    first = augment(PICTURES)
    assert first.shape == PICTURES.shape
    assert 0 <= first.min() < 20
    assert 235 < first.max() <= 255.001
    torch.manual_seed(1)
    assert torch.equal(augment(PICTURES), first)
    assert not torch.equal(augment(PICTURES), first)


@each
def test_every_image_is_changed_in_its_own_way(make: Callable[..., Callable]) -> None:
    copies = make(SHAPE)(PICTURES[:1].expand(8, -1, -1, -1))
    assert len(copies.flatten(1).unique(dim=0)) >= 7


def test_none() -> None:
    assert none(SHAPE)(PICTURES) is PICTURES


def test_crop_and_flip_move_pixels_and_invent_none() -> None:
    moved = crop_flip(SHAPE, padding=3, flip=0.0)(PICTURES).round().byte()
    padded = torch.nn.functional.pad(PICTURES, (3, 3, 3, 3))
    for image, source in zip(moved, padded, strict=True):
        windows = source.unfold(1, 32, 1).unfold(2, 32, 1)  # [3, 7, 7, 32, 32]
        assert (windows == image[:, None, None]).all(dim=(0, 3, 4)).any()


def test_a_certain_flip() -> None:
    flipped = crop_flip(SHAPE, padding=0, flip=1.0)(PICTURES)
    torch.testing.assert_close(flipped, PICTURES.flip(3).float())


def test_nothing_changes_at_zero_limits() -> None:
    same = affine(SHAPE, rotation=0.0, shift=0.0, zoom=0.0)(PICTURES)
    torch.testing.assert_close(same, PICTURES.float(), rtol=0, atol=0.1)


def test_a_shift_is_a_share_of_the_width() -> None:
    ramp = (torch.arange(32) * 7).byte().expand(300, *SHAPE)  # brighter by 7 a pixel
    shifts = affine(SHAPE, rotation=0.0, shift=0.25, zoom=0.0)(ramp)[:, 0, 16, 16] / 7 - 16
    assert shifts.abs().max().item() == pytest.approx(8, abs=0.2)


def test_some_images_become_grey() -> None:
    always = simclr(SHAPE, gray=1.0)(PICTURES)
    assert (always.max(dim=1).values - always.min(dim=1).values).max() < 0.01


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: simclr((1, 8, 8)), "simclr is for colour images, not 1 channel"),
        (lambda: affine(SHAPE, zoom=1.0), "zoom=1.0 is outside the domain of affine"),
        (lambda: crop_flip(SHAPE, padding=-1), "padding=-1 is outside the domain of crop_flip"),
    ],
)
def test_domains(call: Callable[[], object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()
