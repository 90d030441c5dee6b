"""A small `cifar-10-batches-py` of real images, from the first 4,000 as PNG sheets.

    python tests/tasks/cifar_folder.py DATA FOLDER

reads DATA/cifar10-convnetjs/*.png (a row is an image) with the true labels that come with
CIFAR-N, and writes FOLDER/cifar-10-batches-py as the set's authors do: 3,000 images in five
batches, in order, and 1,000 for test.
"""

import pickle
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from tasks.labels import read_columns

TRAIN, BATCHES = 3000, 5
SHEETS = 4


def images(folder: Path) -> np.ndarray:
    """The images [n, 3, 32, 32] of the sheets."""
    sheets = [np.asarray(Image.open(folder / f"cifar10_batch_{i}.png")) for i in range(SHEETS)]
    return np.concatenate(sheets).reshape(-1, 32, 32, 3).transpose(0, 3, 1, 2)


def write_batch(file: Path, pictures: np.ndarray, labels: np.ndarray) -> None:
    """One batch, as the set's authors write it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    content = {"data": pictures.reshape(len(pictures), -1), "labels": labels.tolist()}
    file.write_bytes(pickle.dumps(content, protocol=2))


def write_folder(data: Path, folder: Path) -> None:
    """The whole folder."""
    pictures = images(data / "cifar10-convnetjs")
    columns = read_columns(data / "cifar-n" / "data" / "CIFAR-10_human.pt")
    labels = torch.as_tensor(columns["clean_label"]).numpy()[: len(pictures)]
    place = folder / "cifar-10-batches-py"
    for number, part in enumerate(np.split(np.arange(TRAIN), BATCHES), start=1):
        write_batch(place / f"data_batch_{number}", pictures[part], labels[part])
    write_batch(place / "test_batch", pictures[TRAIN:], labels[TRAIN:])


if __name__ == "__main__":
    write_folder(Path(sys.argv[1]), Path(sys.argv[2]))
