"""What a user gets: the built wheel in a clean environment, and `make demo` in a fresh clone."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from runner.rundir import State

from .commands import CHECKOUT, call, environment, runs_of

pytestmark = pytest.mark.full

PACKAGES = {"conf", "hydra_plugins", "objectives", "runner", "sweeps", "tasks"}
SMALL = ["task=digits", "epochs=2"]
TARGETS = {"setup", "demo", "test", "test-full", "lint", "format", "bench"}
MINUTES = 15


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of the checkout as it is."""
    folder = tmp_path_factory.mktemp("wheel")
    words = ["-m", "build", "--wheel", "--outdir", str(folder), str(CHECKOUT)]
    call(sys.executable, *words, cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def bin_folder(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the commands of a clean environment are: the wheel, and libraries from this one's."""
    home = tmp_path_factory.mktemp("clean") / "venv"
    venv.create(home, with_pip=False)
    places = {"base": str(home), "platbase": str(home)}
    site = Path(sysconfig.get_path("purelib", vars=places))
    pip = [sys.executable, "-m", "pip", "--python", home / "bin" / "python"]
    call(*pip, "install", "--quiet", "--no-deps", "--no-index", wheel, cwd=home)
    (site / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return home / "bin"


def test_wheel_holds_code_configs_and_the_report_page_only(wheel: Path) -> None:
    names = [name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name]
    assert {name.split("/")[0] for name in names} == PACKAGES
    others = [name for name in names if Path(name).suffix not in {".py", ".yaml"}]
    assert others == ["runner/report/page.html"]
    for file in (CHECKOUT / "conf").rglob("*.yaml"):
        assert str(file.relative_to(CHECKOUT)) in names


def test_wheel_is_what_runs(bin_folder: Path, tmp_path: Path) -> None:
    code = "import runner, tasks, objectives, sweeps; print(runner.__file__, tasks.__file__)"
    for file in call(bin_folder / "python", "-c", code, cwd=tmp_path).split():
        assert Path(file).is_relative_to(bin_folder.parent)


def test_run_leaves_only_runs(bin_folder: Path, tmp_path: Path) -> None:
    said = call(bin_folder / "runner", *SMALL, "tracking=off", cwd=tmp_path)
    assert "test/accuracy" in said
    assert names_in(tmp_path) == {"runs"}
    (run,) = runs_of(tmp_path)
    assert run.state is State.DONE


def test_tracked_sweep_leaves_only_runs_and_sweeps(bin_folder: Path, tmp_path: Path) -> None:
    said = call(bin_folder / "runner", *SMALL, "-m", "seed=0,1", cwd=tmp_path)
    assert "Not in MLflow" not in said
    assert names_in(tmp_path) == {"runs", "sweeps"}
    assert (tmp_path / "runs" / "mlflow.db").exists()


def test_commands_of_the_wheel(bin_folder: Path, tmp_path: Path) -> None:
    runner = bin_folder / "runner"
    assert re.fullmatch(r"runner \d+\.\d+\.\d+\n", call(runner, "--version", cwd=tmp_path))
    listed = call(runner, "list", "objectives", cwd=tmp_path)
    options = {file.stem for file in (CHECKOUT / "conf" / "objective").glob("*.yaml")}
    assert {line.split()[0] for line in listed.splitlines() if line.strip()} >= options
    assert "tau" in call(runner, "show", "objective=ldr", cwd=tmp_path)
    assert names_in(tmp_path) == set()


def test_make_help_lists_the_targets() -> None:
    listed = call("make", "help", cwd=CHECKOUT).splitlines()
    assert {line.split()[0] for line in listed} >= TARGETS
    assert all(len(line.split()) > 1 for line in listed)


def test_make_demo_in_a_fresh_clone(tmp_path: Path) -> None:
    if not shutil.which("make") or not (CHECKOUT / ".git").exists():
        pytest.skip("needs make and a git repository")
    call("git", "clone", "--quiet", CHECKOUT, "clone", cwd=tmp_path)
    clone = tmp_path / "clone"
    said = made("demo", clone)
    assert said.count("digits ldr tau=") >= 9
    for tau in ("0.1", "0.5", "1.0"):
        assert re.search(rf"digits ldr tau={tau} +│ 3 +│ 0\.\d+ ± 0\.\d+", said), said
    assert "Not in MLflow" not in said
    following = said[said.index("Next:") :]
    assert "runner ui" in following
    assert {run.state for run in runs_of(clone)} == {State.DONE}
    status = call("git", "status", "--porcelain", "--ignored", cwd=clone).splitlines()
    kinds = {re.sub(r"sweeps/[0-9a-f]{12}/", "sweeps/ID/", line) for line in status}
    kinds = {kind for kind in kinds if not kind.endswith("__pycache__/")}
    assert kinds == {"!! .venv/", "!! runs/", "!! sweeps/ID/"}


def made(target: str, folder: Path) -> str:
    """`make TARGET` as a user calls it: no environment active; returns what it printed."""
    variables = environment()
    variables["PATH"] = variables["PATH"].partition(os.pathsep)[2]
    variables.pop("VIRTUAL_ENV", None)
    variables.pop("OMP_NUM_THREADS")
    result = subprocess.run(
        ["make", target],
        cwd=folder,
        env=variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=MINUTES * 60,
    )
    assert result.returncode == 0, result.stdout
    return result.stdout


def names_in(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()}
