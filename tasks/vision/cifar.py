"""CIFAR-10 and CIFAR-100, from the sets' own python batches, or from PNG sheets."""

import codecs
import pickle
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from objectives.errors import InputError
from tasks.labels import read_columns
from tasks.origin import Origin
from tasks.vision.hub import pictures
from tasks.vision.images import Original, Split, split_of

SHAPE = (3, 32, 32)
CIFAR_10 = Origin(
    "CIFAR-10",
    "cifar-10-batches-py",
    "*_batch*",
    "Unpack cifar-10-python.tar.gz so that it is",
    "uoft-cs/cifar10",
    "task=digits",
)
CIFAR_100 = Origin(
    "CIFAR-100",
    "cifar-100-python",
    "t*",
    "Unpack cifar-100-python.tar.gz so that it is",
    "uoft-cs/cifar100",
    "task=digits",
)
SHEETS = Origin(
    "The start of CIFAR-10",
    "cifar10-convnetjs",
    "cifar10_batch_*.png",
    "Put the PNG files of demo/cifar10 in github.com/karpathy/convnetjs there",
    "",
    "task=digits",
)
_RECONSTRUCT: Any = np.empty(0).__reduce__()[0]
HARMLESS = {
    ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): codecs.encode,
    ("__builtin__", "bytes"): bytes,
}
"""All that a batch may name: arrays are made of it, and nothing else."""


@cache
def cifar10(data: str) -> Original:
    """Photographs of ten kinds of things, 32 x 32, 50,000 for training and 10,000 for test.

    Source:
        Krizhevsky 2009, Learning multiple layers of features from tiny images.
    """
    root = CIFAR_10.own_files(data)
    if root is None:
        return pictures(CIFAR_10.splits(data), CIFAR_10.name)
    train = sorted(root.glob("data_batch_*"))
    if not train:
        raise InputError(f"{root} has no data_batch_1 to data_batch_5.")
    return _read(train, [root / "test_batch"], "labels", 10)


@cache
def cifar100(data: str) -> Original:
    """The same with 100 kinds.

    Source:
        Krizhevsky 2009, Learning multiple layers of features from tiny images.
    """
    root = CIFAR_100.own_files(data)
    if root is None:
        return pictures(CIFAR_100.splits(data), CIFAR_100.name, label="fine_label")
    return _read([root / "train"], [root / "test"], "fine_labels", 100)


@cache
def cifar10_sheets(data: str) -> Original:
    """The first photographs of CIFAR-10, a row of a PNG file each; the last quarter is for test.

    Their labels are the true ones in the file of CIFAR-N, which is in the order of CIFAR-10.

    Raises:
        InputError: The sheets or the labels are not there.

    Source:
        Sheets: Karpathy 2014, ConvNetJS; labels: Wei et al. 2022, arXiv:2110.12088.
    """
    from PIL import Image

    root = SHEETS.own_files(data)
    if root is None:
        raise SHEETS.missing(data, "")
    sheets = sorted(root.glob(SHEETS.files), key=lambda file: (len(file.name), file.name))
    pixels = np.concatenate([np.asarray(Image.open(file).convert("RGB")) for file in sheets])
    images = pixels.reshape(-1, 32, 32, 3).transpose(0, 3, 1, 2)
    known = read_columns(Path(data) / "cifar-n" / "data" / "CIFAR-10_human.pt")
    labels = np.asarray(known["clean_label"][: len(images)])
    cut = len(images) * 3 // 4
    return Original(split_of(images[:cut], labels[:cut]), split_of(images[cut:], labels[cut:]), 10)


def _read(train: list[Path], test: list[Path], key: str, num_classes: int) -> Original:
    train_split, test_split = (_joined(files, key, num_classes) for files in (train, test))
    return Original(train_split, test_split, num_classes)


def _joined(files: list[Path], key: str, num_classes: int) -> Split:
    batches = [read_batch(file, key, num_classes) for file in files]
    images, labels = (np.concatenate(column) for column in zip(*batches, strict=True))
    return split_of(images, labels)


def read_batch(file: Path, key: str, num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Images [n, 3, 32, 32] and labels [n] of one batch file.

    Raises:
        InputError: The file is missing, damaged, or not a batch.
    """
    if not file.exists():
        raise InputError(f"{file} is missing, though other files of the set are there.")
    try:
        with file.open("rb") as stream:
            content = Harmless(stream, encoding="latin1").load()
        images, labels = np.asarray(content["data"]), np.asarray(content[key])
    except Exception as error:  # a damaged pickle may raise anything
        raise InputError(
            f"{file} is damaged, or no batch with data and {key}: {type(error).__name__}: {error}."
        ) from None
    if images.dtype != np.uint8 or images.ndim != 2 or images.shape[1] != np.prod(SHAPE):
        raise InputError(
            f"{file}: data are {images.shape} {images.dtype}, expected (n, 3072) uint8."
        )
    if labels.ndim != 1 or len(labels) != len(images) or not len(labels):
        raise InputError(f"{file}: {labels.size} {key} for {len(images)} images.")
    if labels.min() < 0 or labels.max() >= num_classes:
        raise InputError(f"{file}: label {labels.max()}, expected 0 to {num_classes - 1}.")
    return images.reshape(-1, *SHAPE), labels


class Harmless(pickle.Unpickler):
    """Makes arrays and plain values, and refuses everything else that a pickle can name."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in HARMLESS:
            raise pickle.UnpicklingError(f"it names {module}.{name}")
        return HARMLESS[module, name]
