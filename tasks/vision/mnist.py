"""MNIST and its like, from the set's own IDX files."""

import gzip
import zlib
from functools import cache
from pathlib import Path

import numpy as np

from objectives.errors import InputError
from tasks.vision.images import ImageSet, split_of, split_off_validation

IDX_UINT8 = 0x08


@cache
def mnist(data: str, folder: str = "mnist") -> ImageSet:
    """The set from `<data>/<folder>/{train,t10k}-{images-idx3,labels-idx1}-ubyte.gz`.

    A tenth of the training files is held out for validation; the t10k files are the test split.

    Args:
        data: The folder that holds the data sets' own folders.
        folder: The set's folder in it.

    Raises:
        InputError: A file is missing, damaged or not what its name says.

    Source:
        LeCun, Cortes & Burges 1998, The MNIST database of handwritten digits.
    """
    root = Path(data) / folder
    images, labels = _pair(root, "train")
    train, val = split_off_validation(images, labels, share=0.1, num_classes=10)
    return ImageSet(train, val, split_of(*_pair(root, "t10k")), num_classes=10)


def _pair(root: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    images = read_idx(root / f"{split}-images-idx3-ubyte.gz", dimensions=3)
    labels_file = root / f"{split}-labels-idx1-ubyte.gz"
    labels = read_idx(labels_file, dimensions=1)
    if len(images) != len(labels):
        raise InputError(f"{labels_file}: {len(labels)} labels for {len(images)} images.")
    if labels.max() > 9:
        raise InputError(f"{labels_file}: label {labels.max()}, expected 0 to 9.")
    return images[:, None], labels


def read_idx(file: Path, dimensions: int) -> np.ndarray:
    """An array from a gzip-compressed IDX file of unsigned bytes.

    Raises:
        InputError: The file is missing, damaged, or holds something else.
    """
    if not file.exists():
        raise InputError(
            f"{file} is missing. Put the set's own .gz files into {file.parent}, name another "
            "folder with data=PATH or the environment variable RUNNER_DATA, or start with "
            "task=digits, which needs no files."
        )
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
