"""Image sets in the Hugging Face hub's formats: parquet, or a folder of images a class."""

from typing import Any

import numpy as np

from objectives.errors import InputError
from tasks.vision.images import Original, Split, split_of


def pictures(splits: Any, name: str, label: str = "label") -> Original:
    """A `datasets.DatasetDict` with splits train and test as an image set.

    Args:
        splits: The set.
        name: What messages call it.
        label: The column of class labels.

    Raises:
        InputError: A split or column is missing, or images or labels are not as expected.
    """
    for split in ("train", "test"):
        if split not in splits:
            raise InputError(f"{name} has no split {split} (it has {', '.join(splits)}).")
    names = getattr(splits["train"].features.get(label), "names", None)
    if names is None:
        raise InputError(
            f"{name} has no column {label} of class labels "
            f"(its columns are {', '.join(splits['train'].features)})."
        )
    train, test = (_split(splits[s], f"{name}, {s}", label) for s in ("train", "test"))
    return Original(train, test, len(names))


def _split(rows: Any, name: str, label: str) -> Split:
    column = next((c for c, f in rows.features.items() if type(f).__name__ == "Image"), None)
    if column is None or not len(rows):
        raise InputError(f"{name}: no images.")
    mode = "L" if rows[0][column].mode in {"1", "L", "I", "I;16"} else "RGB"
    images = [np.asarray(image.convert(mode)) for image in rows[column]]
    sizes = {image.shape for image in images}
    if len(sizes) > 1:
        raise InputError(f"{name}: images of {len(sizes)} sizes, expected one.")
    labels = np.asarray(rows[label])
    if labels.min() < 0:
        raise InputError(f"{name}: some images have no {label}.")
    stacked = np.stack(images)
    return split_of(stacked if mode == "L" else stacked.transpose(0, 3, 1, 2).copy(), labels)
