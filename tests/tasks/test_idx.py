import gzip
import os
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from objectives.errors import InputError
from tasks.vision.idx import fashion_mnist, mnist, read_idx
from tasks.vision.images import image_set


def write_idx(file: Path, array: np.ndarray) -> bytes:
    """Write an IDX file as its authors do; returns it uncompressed."""
    header = struct.pack(">BBBB", 0, 0, 8, array.ndim) + struct.pack(
        f">{array.ndim}I", *array.shape
    )
    content = header + array.astype(np.uint8).tobytes()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(gzip.compress(content))
    return content


def write_set(folder: Path, train: int = 200, test: int = 20) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    arrays = {}
    for split, count in (("train", train), ("t10k", test)):
        arrays[f"{split}-images-idx3"] = generator.integers(0, 256, (count, 4, 5))
        arrays[f"{split}-labels-idx1"] = np.arange(count) % 10
    for name, array in arrays.items():
        write_idx(folder / f"{name}-ubyte.gz", array)
    return arrays


def test_reads_what_was_written(tmp_path: Path) -> None:
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    write_idx(tmp_path / "a.gz", array)
    read = read_idx(tmp_path / "a.gz", dimensions=3)
    assert read.dtype == np.uint8
    assert np.array_equal(read, array)
    read[0] = 0  # writable, as torch wants it


def test_a_small_set(tmp_path: Path) -> None:
    arrays = write_set(tmp_path / "mnist")
    data = mnist(str(tmp_path))
    assert data.num_classes == 10
    for split, name in ((data.train, "train"), (data.test, "t10k")):
        assert split.images.dtype == torch.uint8
        assert np.array_equal(split.images[:, 0].numpy(), arrays[f"{name}-images-idx3"])
        assert np.array_equal(split.labels.numpy(), arrays[f"{name}-labels-idx1"])
    assert data.train.labels.dtype == torch.int64


def test_fashion_mnist_has_a_folder_of_its_own(tmp_path: Path) -> None:
    write_set(tmp_path / "fashion-mnist")
    assert len(fashion_mnist(str(tmp_path)).test) == 20


def test_a_missing_file_of_a_set_that_is_there(tmp_path: Path) -> None:
    write_set(tmp_path / "mnist")
    file = tmp_path / "mnist" / "t10k-labels-idx1-ubyte.gz"
    file.unlink()
    with pytest.raises(InputError) as error:
        mnist(str(tmp_path))
    assert str(error.value) == f"{file} is missing, though other files of the set are there."


def test_not_gzip(tmp_path: Path) -> None:
    file = tmp_path / "a.gz"
    file.write_bytes(b"<html>not found</html>")
    with pytest.raises(InputError, match=r"is damaged: Not a gzipped file .*; expected a gzip-"):
        read_idx(file, 1)


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.99])
def test_truncated_gzip(tmp_path: Path, kept: float) -> None:
    file = tmp_path / "a.gz"
    write_idx(file, np.random.default_rng(0).integers(0, 256, (50, 8, 8)))
    whole = file.read_bytes()
    file.write_bytes(whole[: int(kept * len(whole))])
    with pytest.raises(InputError, match=r"is damaged: .*; expected a gzip-compressed file"):
        read_idx(file, 3)


def test_flipped_bytes(tmp_path: Path) -> None:
    file = tmp_path / "a.gz"
    write_idx(file, np.random.default_rng(0).integers(0, 256, (50, 8, 8)))
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0xFF
    file.write_bytes(bytes(content))
    with pytest.raises(InputError, match="is damaged"):
        read_idx(file, 3)


@pytest.mark.parametrize(
    "magic", [b"\0\0\x08\x01", b"\0\0\x0d\x03", b"\x01\0\x08\x03", b"PK\x03\x04"], ids=repr
)
def test_wrong_magic(tmp_path: Path, magic: bytes) -> None:
    file = tmp_path / "a.gz"
    content = write_idx(file, np.zeros((2, 3, 3)))
    file.write_bytes(gzip.compress(magic + content[4:]))
    with pytest.raises(InputError, match=r"is no IDX file of unsigned bytes in 3 dimension\(s\)"):
        read_idx(file, 3)


@pytest.mark.parametrize("content", [b"", b"\0\0\x08", b"\0\0\x08\x03\0\0\0\x02"], ids=repr)
def test_header_cut_off(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "a.gz"
    file.write_bytes(gzip.compress(content))
    with pytest.raises(InputError, match="is no IDX file"):
        read_idx(file, 3)


@pytest.mark.parametrize("change", [-1, 1])
def test_wrong_count(tmp_path: Path, change: int) -> None:
    file = tmp_path / "a.gz"
    content = write_idx(file, np.zeros((2, 3, 3)))
    file.write_bytes(gzip.compress(content[:-1] if change < 0 else content + b"\0"))
    with pytest.raises(InputError) as error:
        read_idx(file, 3)
    assert str(error.value) == (
        f"{file} is damaged: its header promises (2, 3, 3), it holds {18 + change} bytes of data."
    )


def test_no_images_at_all(tmp_path: Path) -> None:
    write_idx(tmp_path / "a.gz", np.zeros((0, 3, 3)))
    with pytest.raises(InputError, match=r"its header promises \(0, 3, 3\), it holds 0 bytes"):
        read_idx(tmp_path / "a.gz", 3)


def test_label_above_nine(tmp_path: Path) -> None:
    write_set(tmp_path / "mnist")
    labels = np.arange(200) % 10
    labels[7] = 10
    file = tmp_path / "mnist" / "train-labels-idx1-ubyte.gz"
    write_idx(file, labels)
    with pytest.raises(InputError) as error:
        mnist(str(tmp_path))
    assert str(error.value) == f"{file}: label 10, expected 0 to 9."


def test_counts_that_differ(tmp_path: Path) -> None:
    write_set(tmp_path / "mnist")
    file = tmp_path / "mnist" / "t10k-labels-idx1-ubyte.gz"
    write_idx(file, np.arange(19) % 10)
    with pytest.raises(InputError) as error:
        mnist(str(tmp_path))
    assert str(error.value) == f"{file}: 19 labels for 20 images."


def test_the_real_set() -> None:
    folder = os.environ.get("RUNNER_DATA")
    if not folder or not (Path(folder) / "mnist").is_dir():
        pytest.skip("the environment variable RUNNER_DATA names no folder that holds mnist/")
    data = image_set(mnist(folder), seed=0)
    assert (len(data.train), len(data.val), len(data.test)) == (54000, 6000, 10000)
    assert data.shape == (1, 28, 28)
    # the known class counts of the test set, and the known mean pixel of the training set
    counts = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert data.test.labels.bincount().tolist() == counts
    assert data.scale[0].item() / 255 == pytest.approx(0.1307, abs=5e-4)
