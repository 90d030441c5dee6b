"""Handwritten digits that scikit-learn carries: 1,797 real images of 8 x 8 pixels."""

from functools import cache

import numpy as np

from tasks.vision.images import Original, split_of

GREYS = 16
"""The set's pixels count from 0 to 16."""


@cache
def digits() -> Original:
    """The set with a stratified fifth for test, the same always.

    Source:
        Alpaydin & Kaynak 1998, UCI Optical Recognition of Handwritten Digits (its test set).
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    data, target = load_digits(return_X_y=True)
    images = (data.reshape(-1, 1, 8, 8) * (255 / GREYS)).astype(np.uint8)
    train, test = train_test_split(
        np.arange(len(target)), test_size=0.2, stratify=target, random_state=0
    )
    train_split, test_split = (split_of(images[index], target[index]) for index in (train, test))
    return Original(train_split, test_split, num_classes=10)
