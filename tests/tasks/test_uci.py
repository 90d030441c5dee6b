import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from objectives.errors import InputError
from tasks.regression.tables import Table
from tasks.regression.uci import read_rows, uci

ROWS = 60


def write_set(root: Path, table: str = "concrete", splits: int = 2) -> np.ndarray:
    """Write a table of the target between two features and one constant, and its splits."""
    folder = root / "UCI_Datasets" / table / "data"
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    rows = generator.normal(5.0, 3.0, (ROWS, 4))
    rows[:, 3] = 7.25
    np.savetxt(folder / "data.txt", rows)
    np.savetxt(folder / "index_features.txt", [0, 2, 3], "%d")
    np.savetxt(folder / "index_target.txt", [1], "%d")
    for split in range(splits):
        order = generator.permutation(ROWS)
        np.savetxt(folder / f"index_train_{split}.txt", order[10:], "%d")
        np.savetxt(folder / f"index_test_{split}.txt", order[:10], "%d")
    return rows


def indices(root: Path, part: str, split: int = 0, table: str = "concrete") -> np.ndarray:
    file = root / "UCI_Datasets" / table / "data" / f"index_{part}_{split}.txt"
    return np.loadtxt(file).astype(int)


def restored(table: Table, rows: np.ndarray) -> np.ndarray:
    """The targets of the splits in their own units, in order of size."""
    held = torch.cat([table.train.targets, table.val.targets]).double().numpy()
    return np.sort(held * table.scale + _mean(table, rows))


def _mean(table: Table, rows: np.ndarray) -> float:
    """The mean by which the targets were centred, from the largest of all training rows."""
    held = torch.cat([table.train.targets, table.val.targets])
    return float(rows.max() - held.max().item() * table.scale)


def test_reads_the_published_split(tmp_path: Path) -> None:
    rows = write_set(tmp_path)
    first, second = (uci(str(tmp_path), "concrete", split) for split in (0, 1))
    assert (len(first.train), len(first.val), len(first.test)) == (45, 5, 10)
    assert first.train.features.shape == (45, 3)
    for split, table in enumerate((first, second)):
        training = rows[indices(tmp_path, "train", split), 1]
        assert restored(table, training) == pytest.approx(np.sort(training), abs=1e-4)
        test = rows[indices(tmp_path, "test", split), 1]
        own = table.test.targets.double().numpy() * table.scale + _mean(table, training)
        assert own == pytest.approx(test, abs=1e-4)


def test_standardised_by_the_rows_that_are_trained_on(tmp_path: Path) -> None:
    rows = write_set(tmp_path)
    table = uci(str(tmp_path))
    for column in (table.train.features[:, :2], table.train.targets):
        torch.testing.assert_close(column.mean(0), torch.zeros_like(column[0]), rtol=0, atol=1e-5)
        spread = column.std(0, correction=0)
        torch.testing.assert_close(spread, torch.ones_like(spread), rtol=1e-5, atol=0)
    # the training rows by their place in the file: those neither tested nor held out
    targets = rows[indices(tmp_path, "train"), 1]
    assert table.scale != pytest.approx(targets.std())
    assert table.scale != pytest.approx(rows[:, 1].std())
    assert table.val.targets.mean().abs() > 1e-3


def test_features_are_the_named_columns_and_stay_with_their_target(tmp_path: Path) -> None:
    rows = write_set(tmp_path)
    test = uci(str(tmp_path)).test
    chosen = indices(tmp_path, "test")
    for ours, column in ((0, 0), (1, 2)):
        own = rows[chosen, column]
        correlation = np.corrcoef(test.features[:, ours].numpy(), own)[0, 1]
        assert correlation == pytest.approx(1.0, abs=1e-6)
    assert np.corrcoef(test.targets.numpy(), rows[chosen, 1])[0, 1] == pytest.approx(1.0, abs=1e-6)


def test_a_constant_feature_is_zero(tmp_path: Path) -> None:
    write_set(tmp_path)
    table = uci(str(tmp_path))
    for split in (table.train, table.val, table.test):
        assert torch.equal(split.features[:, 2], torch.zeros(len(split)))


def test_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        uci(str(tmp_path))
    assert f"there is no {tmp_path / 'UCI_Datasets'}" in str(error.value)
    assert "RUNNER_DATA" in str(error.value)
    assert "task=diabetes or task=friedman" in str(error.value)


def test_unknown_table(tmp_path: Path) -> None:
    write_set(tmp_path)
    write_set(tmp_path, "yacht")
    with pytest.raises(InputError) as error:
        uci(str(tmp_path), "concret")
    assert str(error.value) == (
        f"table=concret is not in {tmp_path / 'UCI_Datasets'}. Did you mean table=concrete?\n"
        "There are: concrete, yacht."
    )


@pytest.mark.parametrize("split", [2, -1, "0", 0.0, "../1"])
def test_unknown_split(tmp_path: Path, split: int) -> None:
    write_set(tmp_path)
    with pytest.raises(InputError) as error:
        uci(str(tmp_path), "concrete", split)
    assert str(error.value) == f"split={split} does not exist: concrete has the splits 0 to 1."


def edit(name: str, change: Callable[[list[str]], list[str]]) -> Callable[[Path], None]:
    """A change of the lines of one file."""

    def apply(folder: Path) -> None:
        file = folder / name
        file.write_text("\n".join(change(file.read_text().splitlines())) + "\n")

    return apply


def line(number: int, text: str) -> Callable[[list[str]], list[str]]:
    return lambda lines: [*lines[: number - 1], text, *lines[number:]]


DAMAGES = {
    "no data": (lambda folder: (folder / "data.txt").write_text("\n"), "data.txt is empty"),
    "not text": (
        lambda folder: (folder / "data.txt").write_bytes(b"\x1f\x8b\xff\xfe"),
        "data.txt cannot be read: 'utf-8' codec can't decode",
    ),
    "no test rows": (
        lambda folder: (folder / "index_test_0.txt").unlink(),
        "index_test_0.txt cannot be read: .*No such file",
    ),
    "a word": (
        edit("data.txt", line(7, "1 2 abc 4")),
        "data.txt, line 7: could not convert string to float: 'abc'",
    ),
    "a gap": (edit("data.txt", line(9, "1 2 nan 4")), "data.txt, line 9: a number is missing"),
    "a short row": (edit("data.txt", line(5, "1 2 3")), "data.txt, line 5: 3 numbers, expected 4"),
    "a row after an empty line": (
        edit("data.txt", lambda lines: ["", *lines[:10], "1 2"]),
        "data.txt, line 12: 2 numbers, expected 4",
    ),
    "cut off": (
        edit("data.txt", lambda lines: lines[:20]),
        r"index_train_0.txt, line \d+: \d+, but data.txt has rows 0 to 19",
    ),
    "a row too far": (
        edit("index_train_0.txt", line(3, "60")),
        "index_train_0.txt, line 3: 60, but data.txt has rows 0 to 59",
    ),
    "a row below": (edit("index_test_0.txt", line(1, "-1")), "index_test_0.txt, line 1: -1, but"),
    "half a row": (edit("index_test_0.txt", line(2, "1.5")), "index_test_0.txt, line 2: 1.5, but"),
    "a column too far": (
        edit("index_features.txt", line(2, "4")),
        "index_features.txt, line 2: 4, but data.txt has columns 0 to 3",
    ),
    "a column twice": (
        edit("index_features.txt", line(2, "0")),
        "index_features.txt names one of the columns twice",
    ),
    "a target among the features": (
        edit("index_target.txt", line(1, "2")),
        "index_target.txt: expected one column, no feature",
    ),
    "two targets": (
        edit("index_target.txt", lambda lines: [*lines, "3"]),
        "index_target.txt: expected one column",
    ),
    "a constant target": (
        lambda folder: [
            (folder / f"index_{name}.txt").write_text(text)
            for name, text in (("target", "3\n"), ("features", "0\n1\n"))
        ],
        "the target is constant: there is nothing to predict",
    ),
    "nine training rows": (
        edit("index_train_0.txt", lambda lines: lines[:9]),
        "index_train_0.txt: 9 rows, expected at least 10",
    ),
}


@pytest.mark.parametrize(("damage", "message"), DAMAGES.values(), ids=DAMAGES.keys())
def test_damaged(tmp_path: Path, damage: Callable[[Path], None], message: str) -> None:
    write_set(tmp_path)
    damage(tmp_path / "UCI_Datasets" / "concrete" / "data")
    with pytest.raises(InputError, match=message):
        uci(str(tmp_path))


def test_overlapping_rows(tmp_path: Path) -> None:
    write_set(tmp_path)
    shared = indices(tmp_path, "train")[4]
    folder = tmp_path / "UCI_Datasets" / "concrete" / "data"
    edit("index_test_0.txt", line(1, str(shared)))(folder)
    with pytest.raises(InputError) as error:
        uci(str(tmp_path))
    assert str(error.value) == (
        f"{folder / 'index_test_0.txt'}: row {shared} is a training row too (1 such rows)."
    )


def test_rows_between_tabs_and_trailing_blanks(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("1.5 \t2e1 \t\n\n-3\t4   \n")
    assert read_rows(file).tolist() == [[1.5, 20.0], [-3.0, 4.0]]


@pytest.mark.parametrize(
    ("table", "count", "dim"),
    [("bostonHousing", 506, 13), ("concrete", 1030, 8), ("energy", 768, 8), ("yacht", 308, 6)],
)
def test_the_real_tables(table: str, count: int, dim: int) -> None:
    folder = os.environ.get("RUNNER_DATA")
    if not folder or not (Path(folder) / "UCI_Datasets").is_dir():
        pytest.skip("the environment variable RUNNER_DATA names no folder with UCI_Datasets/")
    for split in (0, 19):
        data = uci(folder, table, split)
        assert len(data.train) + len(data.val) + len(data.test) == count
        assert len(data.test) == pytest.approx(count / 10, abs=1)
        assert data.train.features.shape[1] == dim


def test_the_real_strength_of_concrete() -> None:
    folder = os.environ.get("RUNNER_DATA")
    if not folder or not (Path(folder) / "UCI_Datasets").is_dir():
        pytest.skip("the environment variable RUNNER_DATA names no folder with UCI_Datasets/")
    assert uci(folder).scale == pytest.approx(16.7, rel=0.02)  # MPa, as published
