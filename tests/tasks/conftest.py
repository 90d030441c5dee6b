"""Real data where they are, and small folders made from them."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder that RUNNER_DATA names."""
    folder = os.environ.get("RUNNER_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("the environment variable RUNNER_DATA names no folder of data sets")
    return Path(folder)


@pytest.fixture(scope="session")
def cifar_data(data_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with a small cifar-10-batches-py of real images."""
    from cifar_folder import write_folder

    if not (data_folder / "cifar10-convnetjs").is_dir():
        pytest.skip(f"{data_folder} has no cifar10-convnetjs/")
    folder = tmp_path_factory.mktemp("data")
    write_folder(data_folder, folder)
    return folder
