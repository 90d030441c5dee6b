"""MNIST and its like, from the sets' own IDX files."""

import gzip
import zlib
from functools import cache
from pathlib import Path

import numpy as np

from objectives.errors import InputError
from tasks.origin import Origin
from tasks.vision.hub import pictures
from tasks.vision.images import Original, Split, split_of

IDX_UINT8 = 0x08
CLASSES = 10

HOW = (
    "Put train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz and the two t10k files there, "
    "as their authors publish them"
)
MNIST = Origin("MNIST", "mnist", "*.gz", HOW, "ylecun/mnist", "task=digits")
FASHION_MNIST = Origin(
    "Fashion-MNIST", "fashion-mnist", "*.gz", HOW, "zalando-datasets/fashion_mnist", "task=digits"
)


@cache
def mnist(data: str) -> Original:
    """Handwritten digits, 28 x 28, 60,000 for training and 10,000 for test.

    Source:
        LeCun, Cortes & Burges 1998, The MNIST database of handwritten digits.
    """
    return read(MNIST, data)


@cache
def fashion_mnist(data: str) -> Original:
    """Clothes in the format of MNIST.

    Source:
        Xiao, Rasul & Vollgraf 2017, arXiv:1708.07747.
    """
    return read(FASHION_MNIST, data)


def read(origin: Origin, data: str) -> Original:
    """A set from `{train,t10k}-{images-idx3,labels-idx1}-ubyte.gz`, else in the hub's format.

    Raises:
        InputError: A file is missing, damaged or not what its name says.
    """
    root = origin.own_files(data)
    if root is None:
        return pictures(origin.splits(data), origin.name)
    return Original(_pair(root, "train"), _pair(root, "t10k"), CLASSES)


def _pair(root: Path, split: str) -> Split:
    images = read_idx(root / f"{split}-images-idx3-ubyte.gz", dimensions=3)
    labels_file = root / f"{split}-labels-idx1-ubyte.gz"
    labels = read_idx(labels_file, dimensions=1)
    if len(images) != len(labels):
        raise InputError(f"{labels_file}: {len(labels)} labels for {len(images)} images.")
    if labels.max() >= CLASSES:
        raise InputError(f"{labels_file}: label {labels.max()}, expected 0 to {CLASSES - 1}.")
    return split_of(images, labels)


def read_idx(file: Path, dimensions: int) -> np.ndarray:
    """An array from a gzip-compressed IDX file of unsigned bytes.

    Raises:
        InputError: The file is missing, damaged, or holds something else.
    """
    if not file.exists():
        raise InputError(f"{file} is missing, though other files of the set are there.")
    try:
        content = gzip.decompress(file.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{file} is damaged: {error}; expected a gzip-compressed file.") from None
    header = 4 + 4 * dimensions
    if len(content) < header or tuple(content[:4]) != (0, 0, IDX_UINT8, dimensions):
        raise InputError(f"{file} is no IDX file of unsigned bytes in {dimensions} dimension(s).")
    shape = tuple(np.frombuffer(content, ">u4", dimensions, offset=4).tolist())
    if len(content) - header != np.prod(shape) or not all(shape):
        raise InputError(
            f"{file} is damaged: its header promises {shape}, it holds {len(content) - header} "
            "bytes of data."
        )
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape).copy()
