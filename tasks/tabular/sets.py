"""The tables themselves: embedded in scikit-learn, from files, or made up."""

from functools import cache
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge, Gt, Lt

from objectives.domains import Count, Share, checked
from objectives.errors import InputError
from tasks.origin import Origin, unreachable
from tasks.tabular.tables import Columns, Original

TEST_ROWS = 2000
"""Test rows of what is made up: enough for a metric's own error to be small."""

ADULT = Origin(
    name="the Adult census table",
    folder="adult",
    files="adult.data",
    how="Put adult.data and adult.test from the UCI repository there",
    hub="adult of OpenML",
    instead="task=breast_cancer",
)
OPENML = "https://www.openml.org"

NUMBERS = (
    "age", "fnlwgt", "education-num", "capital-gain", "capital-loss", "hours-per-week"
)  # fmt: skip
NAMES = (
    "age", "workclass", "fnlwgt", "education", "education-num", "marital-status", "occupation",
    "relationship", "race", "sex", "capital-gain", "capital-loss", "hours-per-week",
    "native-country",
)  # fmt: skip
LABELS = ("<=50K", ">50K")


@cache
def breast_cancer() -> Original:
    """569 tumours by 30 measures of their cells, malignant being class 1; a fifth for test.

    Source:
        Street, Wolberg & Mangasarian 1993, UCI Breast Cancer Wisconsin (Diagnostic); embedded in
        scikit-learn.
    """
    from sklearn.datasets import load_breast_cancer

    data = load_breast_cancer()
    columns = {name: data.data[:, i] for i, name in enumerate(data.feature_names.tolist())}
    return held_out(columns, 1 - data.target.astype(np.int64), share=0.2)


@cache
def adult(data: str) -> Original:
    """Whether one of 48,842 people earns more than 50,000 dollars a year, by 14 columns.

    From `<data>/adult/adult.data` and `adult.test`, the published split; from OpenML where they are
    absent, with a third for test. A value that is unknown, "?", is a category of its own.

    Args:
        data: The folder that holds the data sets' own folders.

    Raises:
        InputError: The set is not there, or a line does not fit such a table.

    Source:
        Becker & Kohavi 1996, UCI Adult.
    """
    folder = ADULT.own_files(data)
    if folder is None:
        return _openml(data)
    train, test = (read_adult(folder / name) for name in ("adult.data", "adult.test"))
    return Original(*train, *test, num_classes=2)


@checked
def madelon(
    *,
    seed: int,
    size: Annotated[int, Ge(20)] = 1000,
    dim: Annotated[int, Ge(4)] = 20,
    informative: Annotated[int, Ge(2)] = 4,
    positive_share: Annotated[float, Gt(0), Lt(1)] = 0.5,
    flipped: Share = 0.0,
) -> Original:
    """Two classes of normal clusters at the corners of a hypercube; new ones for every seed.

    Args:
        seed: Decides all.
        size: Training and validation rows; 2,000 test rows come on top.
        dim: Features.
        informative: Features that mean something: dimension of the hypercube.
        positive_share: Share of class 1, in all splits.
        flipped: Share of the rows whose label is drawn anew.

    Raises:
        InputError: There are more informative features than features.

    Source:
        Guyon 2003, Design of experiments for the NIPS 2003 variable selection benchmark.
    """
    from sklearn.datasets import make_classification

    if informative > dim:
        raise InputError(f"informative={informative} is more than the {dim} features.")
    features, labels = make_classification(
        size + TEST_ROWS,
        dim,
        n_informative=informative,
        n_redundant=0,
        weights=[1 - positive_share],
        flip_y=flipped,
        random_state=seed,
    )
    return _first_for_training(size, {str(i): c for i, c in enumerate(features.T)}, labels)


@checked
def gerrymander(*, seed: int, size: Count = 1000, bias: Annotated[float, Ge(0)] = 2.0) -> Original:
    """Labels that favour two subgroups of four: one attribute alone does not tell which.

    log odds of class 1 = x1 + bias where the attributes a and b are the same, x1 - bias where
    they differ; x1 and x2 are normal, a and b fair coins. New for every seed.

    Args:
        seed: Decides all.
        size: Training and validation rows; 2,000 test rows come on top.
        bias: Half of what lies between the subgroups, in log-odds.

    Source:
        Kearns et al. 2018, arXiv:1711.05144 (fairness gerrymandering).
    """
    generator = np.random.default_rng(seed)
    x1, x2 = generator.normal(size=(2, size + TEST_ROWS))
    a, b = generator.integers(2, size=(2, size + TEST_ROWS))
    log_odds = x1 + bias * (2 * (a == b) - 1)
    labels = generator.random(size + TEST_ROWS) < 1 / (1 + np.exp(-log_odds))
    words = {"a": np.array(["no", "yes"])[a], "b": np.array(["no", "yes"])[b]}
    columns = {"x1": x1, "x2": x2, **words}
    return _first_for_training(size, columns, labels)


def held_out(columns: Columns, labels: np.ndarray, share: float) -> Original:
    """A table with a stratified share of its rows for test, the same always."""
    from sklearn.model_selection import train_test_split

    train, test = train_test_split(
        np.arange(len(labels)), test_size=share, stratify=labels, random_state=0
    )
    return _original(columns, labels, train, test)


def read_adult(file: Path) -> tuple[Columns, np.ndarray]:
    """Columns and labels of one of the set's two files.

    Raises:
        InputError: The file is missing, or a line does not fit.
    """
    try:
        lines = enumerate(file.read_text().splitlines(), 1)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file} cannot be read: {error}.") from None
    filled = ((number, line) for number, line in lines if line and not line.startswith("|"))
    rows = [_words(file, number, line) for number, line in filled]
    if not rows:
        raise InputError(f"{file} is empty.")
    table = np.array(rows)
    columns = {name: table[:, i] for i, name in enumerate(NAMES)}
    numbers = {name: columns[name].astype(float) for name in NUMBERS}
    return columns | numbers, np.array([LABELS.index(row[-1]) for row in rows])


def _words(file: Path, number: int, line: str) -> list[str]:
    words = [word.strip() for word in line.rstrip(".").split(",")]
    if len(words) != len(NAMES) + 1:
        raise InputError(
            f"{file}, line {number}: {len(words)} values, expected {len(NAMES) + 1}: an attribute "
            "or the label is missing."
        )
    if words[-1] not in LABELS:
        raise InputError(f"{file}, line {number}: {words[-1]!r} is none of {', '.join(LABELS)}.")
    for name in NUMBERS:
        if not words[NAMES.index(name)].isdecimal():
            raise InputError(
                f"{file}, line {number}: {name} is {words[NAMES.index(name)]!r}, no number."
            )
    return words


def _openml(data: str) -> Original:
    from sklearn.datasets import fetch_openml

    if reason := unreachable(OPENML):
        raise ADULT.missing(data, reason)
    try:
        frame: Any = fetch_openml("adult", version=2, as_frame=True).frame
    except Exception as error:  # of the network, of a cache that is damaged, of a set that changed
        raise ADULT.missing(data, str(error)) from None
    labels = (frame["class"].astype(str) == LABELS[1]).to_numpy().astype(np.int64)
    words = {name: frame[name].astype(str).replace("nan", "?").to_numpy(str) for name in NAMES}
    numbers = {name: frame[name].to_numpy(float) for name in NUMBERS}
    return held_out(words | numbers, labels, share=1 / 3)


def _first_for_training(size: int, columns: Columns, labels: np.ndarray) -> Original:
    rows = np.arange(len(labels))
    return _original(columns, labels.astype(np.int64), rows[:size], rows[size:])


def _original(
    columns: Columns, labels: np.ndarray, train: np.ndarray, test: np.ndarray
) -> Original:
    parts = [({n: c[rows] for n, c in columns.items()}, labels[rows]) for rows in (train, test)]
    return Original(*parts[0], *parts[1], num_classes=2)
