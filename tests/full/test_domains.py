"""Every task by its defaults as a user starts it; where its files are missing, one message."""

import os
from pathlib import Path

import pytest

from .commands import CHECKOUT, call, runner, runs_of

pytestmark = pytest.mark.full

EMBEDDED = {
    "digits": "test/accuracy",
    "diabetes": "test/rmse",
    "friedman": "test/rmse",
    "charlm": "test/bpc",
    "pairs": "test/ranking_accuracy",
    "breast_cancer": "test/balanced_accuracy",
    "diabetes_stages": "test/accuracy",
    "gerrymander": "test/accuracy",
    "linear": "test/rmse",
    "madelon": "test/accuracy",
    "rare_steps": "test/accuracy",
    "rock_paper_scissors": "test/duality_gap",
    "cartpole": "test/return",
    "gym": "test/return",
    "offline": "test/return",
    "verify": "test/accuracy",
    "agent": "test/success",
    "density": "test/sliced_wasserstein",
    "digits_generation": "test/sliced_wasserstein",
}
FROM_FILES = {
    "mnist": ("subset=2000 epochs=1", "test/accuracy"),
    "cifar": ("epochs=1", "test/accuracy"),
    "uci": ("epochs=3 table=yacht", "test/rmse"),
    "sentiment": ("epochs=1", "test/accuracy"),
    "sst5": ("epochs=1", "test/accuracy"),
    "trec": ("epochs=1 task.data.fine=true", "test/accuracy"),
    "adult": ("epochs=1", "test/accuracy"),
    "hh_rlhf": ("steps=5 initial.steps=5 model.width=16 task.data.max_length=32", "test/margin"),
    "gsm8k": ("epochs=2 initial.steps=20 model.width=16 subset=64 held_out=8", "test/accuracy"),
    "charlm": ("steps=20 task.data.file=tinyshakespeare/input.txt", "test/bpc"),
}
ALL = sorted(file.stem for file in (CHECKOUT / "conf" / "task").glob("*.yaml"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data sets that RUNNER_DATA names, with a small CIFAR-10 made of real images."""
    given = os.environ.get("RUNNER_DATA")
    if not given or not Path(given, "cifar10-convnetjs").is_dir():
        pytest.skip("the environment variable RUNNER_DATA names no folder of data sets")
    folder = tmp_path_factory.mktemp("data")
    for entry in Path(given).iterdir():
        (folder / entry.name).symlink_to(entry)
    call("python", CHECKOUT / "tests" / "tasks" / "cifar_folder.py", given, folder, cwd=folder)
    return folder


@pytest.mark.parametrize("task", EMBEDDED)
def test_embedded_tasks_run_by_their_defaults(task: str, tmp_path: Path) -> None:
    assert EMBEDDED[task] in runner(f"task={task} tracking=off", tmp_path)
    assert any(EMBEDDED[task] in run.status["metrics"] for run in runs_of(tmp_path))


@pytest.mark.parametrize("task", FROM_FILES)
def test_tasks_from_files(task: str, data: Path, tmp_path: Path) -> None:
    words, metric = FROM_FILES[task]
    assert metric in runner(f"task={task} {words} data={data} tracking=off", tmp_path)


def test_the_sweep_on_cifar(data: Path, tmp_path: Path) -> None:
    words = "task=cifar objective=ldr -m tau=0.1,0.5 epochs=3 model.width=16 tracking=off"
    said = runner(f"{words} data={data}", tmp_path)
    assert "cifar ldr tau=0.1" in said
    accuracies = [run.status["metrics"]["test/accuracy"] for run in runs_of(tmp_path)]
    assert len(accuracies) == 2
    assert min(accuracies) > 0.2  # of ten classes


@pytest.mark.parametrize("task", [task for task in ALL if task not in EMBEDDED])
def test_without_files_and_network(task: str, tmp_path: Path) -> None:
    said = runner(
        f"task={task} data={tmp_path}/none tracking=off",
        tmp_path,
        status=1,
        HF_ENDPOINT="http://127.0.0.1:9",
    )
    message = said[said.index("runner: ") :]
    assert " is not here: there is no " in message
    assert "RUNNER_DATA" in message
    assert "start with task=" in message
    assert len(message.splitlines()) == 2
    assert not runs_of(tmp_path)
