"""Copies of code: what is in them, and that none is ever changed."""

import subprocess
from pathlib import Path

import pytest

from runner.launch.snapshot import CHECKOUT, snapshot


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's repository, with a folder in it as the working directory."""
    top = tmp_path / "study"
    (top / "part" / "runs" / "1").mkdir(parents=True)
    for file in ("tracked.py", "part/new.py", "part/ignored.py", "part/runs/1/log.txt"):
        (top / file).write_text(f"# {file}")
    (top / ".gitignore").write_text("ignored.py\n")
    (top / "gone.py").write_text("")
    git(top, "init", "--quiet")
    git(top, "add", "tracked.py", "gone.py", ".gitignore")
    git(top, "-c", "user.name=x", "-c", "user.email=x@y", "commit", "--quiet", "-m", "x")
    (top / "gone.py").unlink()
    monkeypatch.chdir(top / "part")
    return top


def git(folder: Path, *words: str) -> None:
    subprocess.run(["git", "-C", str(folder), *words], check=True)


def files(folder: Path) -> set[str]:
    return {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}


def test_a_repository_without_what_it_ignores_and_what_is_gone(repository, tmp_path):
    here, own = snapshot(tmp_path / "code", [], results=[Path("runs")]).imports
    assert files(here.parent) == {".gitignore", "tracked.py", "part/new.py"}
    assert here.name == "part"
    assert (own / "runner" / "job.py").read_bytes() == (CHECKOUT / "runner/job.py").read_bytes()
    assert (own / "conf" / "config.yaml").exists()
    assert not (own / ".git").exists()


def test_an_edit_makes_another_copy(repository, tmp_path):
    before = snapshot(tmp_path / "code", [])
    assert snapshot(tmp_path / "code", []) == before
    (repository / "part" / "new.py").write_text("# edited")
    after = snapshot(tmp_path / "code", [])
    assert (before.imports[0] / "new.py").read_text() == "# part/new.py"
    assert (after.imports[0] / "new.py").read_text() == "# edited"
    assert {path.name for path in (tmp_path / "code").iterdir()} == {
        before.state.parent.name,
        after.state.parent.name,
    }


def test_copies_do_not_hold_copies(repository):
    first = snapshot(Path("code"), [])
    assert snapshot(Path("code"), []) == first
    assert not any("code/" in name for name in files(first.imports[0]))


def test_a_submodule_is_code_too(repository, tmp_path):
    inner = repository / "inner"
    inner.mkdir()
    (inner / "deep.py").write_text("")
    git(inner, "init", "--quiet")
    git(inner, "add", ".")
    git(inner, "-c", "user.name=x", "-c", "user.email=x@y", "commit", "--quiet", "-m", "x")
    git(repository, "-c", "advice.addEmbeddedRepo=false", "add", "inner")
    assert "inner/deep.py" in files(snapshot(tmp_path / "code", []).imports[0].parent)


def test_a_folder_that_is_no_repository(tmp_path, monkeypatch):
    here, other = tmp_path / "here", tmp_path / "other"
    for file in ("alone.py", "notes.txt", "conf/task/own.yaml", "data/large.bin"):
        (here / file).parent.mkdir(parents=True, exist_ok=True)
        (here / file).write_text("")
    (other / "package").mkdir(parents=True)
    (other / "package" / "losses_of_mine.py").write_text("def loss(logits):\n    return logits\n")
    (other / "package" / "__init__.py").write_text("")
    monkeypatch.chdir(here)
    monkeypatch.syspath_prepend(str(other))
    places = snapshot(tmp_path / "code", ["package.losses_of_mine.loss"]).imports
    assert files(places[0]) == {"alone.py", "conf/task/own.yaml"}
    assert [files(place) for place in places if place.name.startswith("other")] == [
        {"package/__init__.py", "package/losses_of_mine.py"}
    ]
