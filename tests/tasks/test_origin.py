"""Sets in the hub's formats, in a folder or in the hub's own cache, and sets that are nowhere."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from objectives.errors import InputError
from tasks.origin import Origin, unreachable
from tasks.vision.cifar import cifar10
from tasks.vision.hub import pictures
from tasks.vision.idx import mnist

datasets = pytest.importorskip("datasets")
COUNT = 20


def drawn(number: int, shape: tuple[int, ...] = (8, 8, 3)) -> Image.Image:
    return Image.fromarray(np.full(shape, number, np.uint8))


def rows(count: int = COUNT, label: str = "label") -> "datasets.Dataset":
    classes = datasets.ClassLabel(names=[str(i) for i in range(10)])
    content = {"img": [drawn(i) for i in range(count)], label: [i % 10 for i in range(count)]}
    return datasets.Dataset.from_dict(
        content, datasets.Features({"img": datasets.Image(), label: classes})
    )


def write_parquet(folder: Path, **splits: "datasets.Dataset") -> None:
    """A repository of the hub: a parquet file a split, under data/."""
    (folder / "data").mkdir(parents=True)
    for name, content in splits.items():
        content.to_parquet(folder / "data" / f"{name}-00000-of-00001.parquet")


def test_parquet_as_the_hub_has_it(tmp_path: Path) -> None:
    write_parquet(tmp_path / "cifar10", train=rows(), test=rows(10))
    data = cifar10(str(tmp_path))
    assert (data.num_classes, len(data.test)) == (10, 10)
    assert data.train.images.shape == (COUNT, 3, 8, 8)
    assert data.train.images[:, 1, 2, 3].tolist() == list(range(COUNT))
    assert data.train.labels.tolist() == [i % 10 for i in range(COUNT)]


def test_a_folder_of_images_a_class(tmp_path: Path) -> None:
    for split in ("train", "test"):
        for name in ("cat", "dog"):
            place = tmp_path / "mnist" / split / name
            place.mkdir(parents=True)
            for number in range(3):
                grey = drawn(100 * (name == "dog") + number, (4, 5))
                grey.save(place / f"{number}.png")
    data = mnist(str(tmp_path))
    assert data.num_classes == 2
    assert data.train.images.shape == (6, 1, 4, 5)
    bright = data.train.images[:, 0, 0, 0] >= 100
    assert data.train.labels.tolist() == bright.long().tolist()


def test_the_label_may_have_another_name() -> None:
    splits = {"train": rows(label="fine_label"), "test": rows(10, label="fine_label")}
    assert pictures(splits, "set", label="fine_label").train.labels[3] == 3
    with pytest.raises(InputError, match=r"set has no column label .* \(its columns are img, fine"):
        pictures(splits, "set")


def test_a_split_that_is_not_there() -> None:
    with pytest.raises(InputError, match=r"set has no split test \(it has train\)"):
        pictures({"train": rows()}, "set")


def test_images_of_several_sizes() -> None:
    odd = rows(2).map(lambda _, i: {"img": drawn(0, (8, 8 + i, 3))}, with_indices=True)
    with pytest.raises(InputError, match="set, train: images of 2 sizes, expected one"):
        pictures({"train": odd, "test": rows(10)}, "set")


def test_images_without_a_label() -> None:
    classes = datasets.Features(
        {"img": datasets.Image(), "label": datasets.ClassLabel(names=["a"])}
    )
    hidden = datasets.Dataset.from_dict({"img": [drawn(0)], "label": [-1]}, classes)
    with pytest.raises(InputError, match="set, train: some images have no label"):
        pictures({"train": hidden, "test": hidden}, "set")


def test_a_damaged_folder(tmp_path: Path) -> None:
    write_parquet(tmp_path / "cifar10", train=rows(), test=rows(10))
    file = tmp_path / "cifar10" / "data" / "train-00000-of-00001.parquet"
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(InputError, match="cifar10 cannot be read as a data set: "):
        cifar10(str(tmp_path))


NOWHERE = Origin("Some Set", "some-set", "*.gz", "Put it there", "nobody/some_set", "task=digits")


def test_neither_here_nor_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(InputError) as error:
        NOWHERE.splits(str(tmp_path))
    assert str(error.value) == (
        f"Some Set is not here: there is no {tmp_path}/some-set, and the hub does not give "
        "nobody/some_set (127.0.0.1: Connection refused).\n"
        "Put it there, name another folder with data=PATH or the environment variable RUNNER_DATA, "
        "or start with task=digits, which needs no files."
    )


def test_own_files_count_only_where_there_are_some(tmp_path: Path) -> None:
    (tmp_path / "some-set").mkdir()
    assert NOWHERE.own_files(str(tmp_path)) is None
    (tmp_path / "some-set" / "a.gz").touch()
    assert NOWHERE.own_files(str(tmp_path)) == tmp_path / "some-set"


def test_whether_a_server_can_be_reached() -> None:
    import socket

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        assert unreachable(url) == ""
    assert unreachable(url) == "127.0.0.1: Connection refused"
