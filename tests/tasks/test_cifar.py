"""CIFAR from its own batches: what is read, and what is refused."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from cifar_folder import write_batch

from objectives.errors import InputError
from tasks.vision.cifar import cifar10, cifar10_sheets, cifar100, read_batch
from tasks.vision.images import image_set

RANDOM = np.random.default_rng(0)


def batch(count: int, classes: int = 10) -> tuple[np.ndarray, np.ndarray]:
    return RANDOM.integers(0, 256, (count, 3, 32, 32), dtype=np.uint8), np.arange(count) % classes


def test_batches_in_their_order(tmp_path: Path) -> None:
    folder = tmp_path / "cifar-10-batches-py"
    parts = [batch(20), batch(20)]
    for number, part in enumerate(parts, start=1):
        write_batch(folder / f"data_batch_{number}", *part)
    write_batch(folder / "test_batch", *batch(10))
    data = cifar10(str(tmp_path))
    assert np.array_equal(data.train.images.numpy(), np.concatenate([p[0] for p in parts]))
    assert data.train.labels.tolist() == [*range(10), *range(10)] * 2
    assert (len(data.test), data.num_classes) == (10, 10)


def test_a_pixel_is_where_the_format_says(tmp_path: Path) -> None:
    # a row of 3,072: 1,024 of red, then green, then blue, each 32 rows of 32
    row = np.zeros((1, 3072), np.uint8)
    row[0, 1024 + 2 * 32 + 5] = 200
    (tmp_path / "b").write_bytes(pickle.dumps({"data": row, "labels": [3]}, protocol=2))
    images, labels = read_batch(tmp_path / "b", "labels", 10)
    assert images[0, 1, 2, 5] == 200
    assert images.sum() == 200
    assert labels.tolist() == [3]


def test_cifar100_has_fine_labels(tmp_path: Path) -> None:
    folder = tmp_path / "cifar-100-python"
    folder.mkdir()
    images, labels = batch(200, 100)
    content = {"data": images.reshape(200, -1), "coarse_labels": (labels // 5).tolist()}
    for name in ("train", "test"):
        (folder / name).write_bytes(pickle.dumps(content | {"fine_labels": labels.tolist()}))
    data = cifar100(str(tmp_path))
    assert data.num_classes == 100
    assert data.train.labels.tolist() == labels.tolist()


class Evil:
    """Says something when it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("unpickled",)


IMAGES, LABELS = batch(4)
ROWS = IMAGES.reshape(4, -1)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"data": ROWS, "labels": Evil()}, "it names __builtin__.print"),
        ({"data": ROWS}, "no batch with data and labels: KeyError"),
        ([1, 2], "is damaged, or no batch"),
        ({"data": ROWS[:, :-1], "labels": [0] * 4}, r"data are \(4, 3071\) uint8, expected"),
        ({"data": ROWS.astype(float), "labels": [0] * 4}, "float64, expected"),
        ({"data": ROWS, "labels": [0] * 3}, "3 labels for 4 images"),
        ({"data": ROWS[:0], "labels": []}, "0 labels for 0 images"),
        ({"data": ROWS, "labels": [0, 1, 2, 10]}, "label 10, expected 0 to 9"),
    ],
)
def test_bad_batches(
    tmp_path: Path, content: object, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "data_batch_1"
    file.write_bytes(pickle.dumps(content, protocol=2))
    with pytest.raises(InputError, match=message) as error:
        read_batch(file, "labels", 10)
    assert str(file) in str(error.value)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("kept", [0, 1, 100, -1])
def test_truncated_batches(tmp_path: Path, kept: int) -> None:
    file = tmp_path / "data_batch_1"
    write_batch(file, IMAGES, LABELS)
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(InputError, match="is damaged, or no batch"):
        read_batch(file, "labels", 10)


def test_a_folder_without_the_test_batch(tmp_path: Path) -> None:
    write_batch(tmp_path / "cifar-10-batches-py" / "data_batch_1", *batch(20))
    with pytest.raises(InputError, match="test_batch is missing, though other files"):
        cifar10(str(tmp_path))


def test_the_folder_of_real_images(data_folder: Path, cifar_data: Path) -> None:
    """Real pixels and their true labels, and with them the human labels of CIFAR-N."""
    data = cifar10(str(cifar_data))
    assert (len(data.train), len(data.test)) == (3000, 1000)
    # the first images of data_batch_1: a frog, two lorries, a deer, a car
    assert data.train.labels[:5].tolist() == [6, 9, 9, 4, 1]
    assert data.train.images[0, :, 0, 0].tolist() == [59, 62, 63]
    from functools import partial

    from tasks.labels import human

    file = str(data_folder / "cifar-n" / "data" / "CIFAR-10_human.pt")
    noisy = image_set(data, seed=0, noise=partial(human, file=file, column="worse_label"))
    clean = image_set(data, seed=0)
    wrong = (noisy.train.labels != clean.train.labels).double().mean().item()
    assert wrong == pytest.approx(0.402, abs=0.03)  # as its authors say
    assert torch.equal(noisy.test.labels, clean.test.labels)


def test_sheets_are_the_start_of_the_set(data_folder: Path, cifar_data: Path) -> None:
    sheets, batches = cifar10_sheets(str(data_folder)), cifar10(str(cifar_data))
    for split in ("train", "test"):  # the batches are made of them by code of their own
        found, expected = getattr(sheets, split), getattr(batches, split)
        assert torch.equal(found.images, expected.images)
        assert torch.equal(found.labels, expected.labels)


def test_sheets_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"there is no .*cifar10-convnetjs\.\nPut the PNG files"):
        cifar10_sheets(str(tmp_path))
