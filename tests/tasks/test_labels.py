"""Label noise, imbalance and subsets: how many, which, and drawn from the generator alone."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Generator, Tensor

from objectives.errors import InputError
from tasks import labels as on

LABELS = torch.arange(600) % 3


def generator(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


@pytest.mark.parametrize("rate", [0.0, 0.25, 1.0])
def test_symmetric_noise_makes_exactly_its_share_wrong(rate: float) -> None:
    noisy = on.symmetric(LABELS, 3, generator(), rate=rate)
    wrong = noisy != LABELS
    assert wrong.sum() == rate * 600
    shifts = ((noisy - LABELS) % 3)[wrong].bincount(minlength=3)
    assert abs(shifts[1] - shifts[2]) <= 0.15 * wrong.sum()  # both other classes alike


def test_asymmetric_noise_takes_one_class_for_another() -> None:
    noisy = on.asymmetric(LABELS, 3, generator(), rate=0.5, pairs={0: 2})
    assert torch.equal(noisy[LABELS != 0], LABELS[LABELS != 0])
    assert noisy[LABELS == 0].bincount(minlength=3).tolist() == [100, 0, 100]


def test_asymmetric_noise_goes_in_a_circle_by_default() -> None:
    noisy = on.asymmetric(LABELS, 3, generator(), rate=1.0)
    assert torch.equal(noisy, (LABELS + 1) % 3)


@pytest.mark.parametrize(
    "draw",
    [
        lambda g: on.symmetric(LABELS, 3, g, rate=0.3),
        lambda g: on.asymmetric(LABELS, 3, g, rate=0.3),
        lambda g: on.kept(LABELS, 3, g, subset=60),
    ],
    ids=["symmetric", "asymmetric", "subset"],
)
def test_drawn_from_the_generator_alone(draw: Callable[[Generator], Tensor]) -> None:
    first = draw(generator(1))
    torch.rand(7)
    assert torch.equal(draw(generator(1)), first)
    assert not torch.equal(draw(generator(2)), first)


def test_exponential_shares_by_hand() -> None:
    # 100^(-k / 4): 1, 1 / sqrt(10), 0.1, 0.1 / sqrt(10), 0.01
    expected = torch.tensor([1, 0.316228, 0.1, 0.0316228, 0.01])
    torch.testing.assert_close(on.exponential(5, ratio=100.0), expected)


def test_step_shares() -> None:
    shares = on.step(5, ratio=10.0, minority=0.4)
    torch.testing.assert_close(shares, torch.tensor([1, 1, 1, 0.1, 0.1]))


def test_at_least_one_of_every_class_is_kept() -> None:
    index = on.kept(LABELS, 3, generator(), imbalance=partial(on.exponential, ratio=1e6))
    assert LABELS[index].bincount().tolist() == [200, 1, 1]
    assert torch.equal(index, index.sort().values)


@pytest.mark.parametrize("subset", [2, 601])
def test_a_subset_that_does_not_fit(subset: int) -> None:
    with pytest.raises(InputError, match=f"subset={subset} is not between 3, one of each class"):
        on.kept(LABELS, 3, generator(), subset=subset)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: on.symmetric(LABELS, 3, generator(), rate=1.5), "rate=1.5 is outside the domain"),
        (lambda: on.exponential(3, ratio=0.5), "ratio=0.5 is outside the domain of exponential"),
        (lambda: on.step(3, minority=-1.0), "minority=-1.0 is outside the domain of step"),
    ],
)
def test_domains(call: Callable[[], object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()


CLEAN, GIVEN = np.array([0, 1, 2, 0, 1]), np.array([0, 2, 2, 0, 0])


def write(file: Path, **columns: object) -> str:
    torch.save(columns, file)
    return str(file)


@pytest.fixture
def file(tmp_path: Path) -> str:
    return write(tmp_path / "human.pt", clean_label=CLEAN, worse_label=GIVEN)


@pytest.mark.parametrize("count", [5, 3])
def test_human_labels_of_the_whole_set_or_its_beginning(file: str, count: int) -> None:
    true = torch.from_numpy(CLEAN[:count])
    given = on.human(true, 3, generator(), file=file, column="worse_label")
    assert given.tolist() == GIVEN[:count].tolist()


@pytest.mark.parametrize(
    ("labels", "column", "message"),
    [
        ([0, 1, 1], "worse_label", "differs from the label of training example 2"),
        ([0, 1, 2, 0, 1, 0], "worse_label", "has 5 labels for 6 training examples"),
        ([0, 1, 2], "best_label", r"has no best_label \(it has clean_label, worse_label\)"),
    ],
)
def test_human_labels_of_another_set(
    file: str, labels: list[int], column: str, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        on.human(torch.tensor(labels), 3, generator(), file=file, column=column)


def test_human_labels_outside_the_classes(tmp_path: Path) -> None:
    file = write(tmp_path / "human.pt", clean_label=CLEAN, worse_label=CLEAN + 1)
    with pytest.raises(InputError, match="worse_label is not within 0 to 2"):
        on.human(torch.from_numpy(CLEAN), 3, generator(), file=file, column="worse_label")


class Evil:
    """Says something when it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("unpickled",)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04half a file", b"\x80\x02text"], ids=repr)
def test_damaged_file_of_labels(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "human.pt"
    file.write_bytes(content)
    with pytest.raises(InputError, match="is damaged, or no file of labels"):
        on.read_columns(file)


def test_nothing_but_arrays_is_made_of_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(InputError, match="is damaged, or no file of labels"):
        on.read_columns(Path(write(tmp_path / "human.pt", clean_label=Evil())))
    assert capsys.readouterr().out == ""


def test_missing_file_of_labels(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"human\.pt is missing: these are the human labels"):
        on.read_columns(tmp_path / "human.pt")


def test_a_file_of_something_else(tmp_path: Path) -> None:
    torch.save([1, 2], tmp_path / "human.pt")
    with pytest.raises(InputError, match="holds a list, expected arrays by name"):
        on.read_columns(tmp_path / "human.pt")
