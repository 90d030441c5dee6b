"""Runs that build on others: a teacher, a model to start from."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from runner.build import build
from runner.job import Job
from runner.rundir import RunDir, State, all_runs
from tasks.models.feedforward import mlp

STUDENT = ("task=digits", "objective=kd", "epochs=1", "model.width=8", "batch_size=256")
TEACHER = ("teacher.epochs=1", "teacher.model.width=16", "teacher.batch_size=256")
WORDS = (*STUDENT, *TEACHER)


def of_objective(root: Path, name: str) -> list[RunDir]:
    return [run for run in all_runs(root) if run.run["choices"]["objective"] == name]


def weights(run: RunDir) -> dict[str, torch.Tensor]:
    return torch.load(run.path / "checkpoint.pt", weights_only=True)["model"]


def teacher_of(run: RunDir) -> dict[str, torch.Tensor]:
    job = Job.again(run)
    paths = {name: other.directory.path for name, other in job.prerequisites().items()}
    return build(job.config, built_on=paths).learner.protocol.teacher.state_dict()


def test_the_teacher_is_a_run_of_its_own_and_serves_every_student(command, root):
    assert "first digits cross_entropy model=mlp" in command(*WORDS).out
    (teacher,) = of_objective(root, "cross_entropy")
    ended = teacher.status["ended"]
    assert command(*WORDS, "tau=1").code == 0
    students = of_objective(root, "kd")
    assert len(students) == 2
    assert of_objective(root, "cross_entropy")[0].status["ended"] == ended
    for student in students:
        found = teacher_of(student)
        assert all(torch.equal(found[name], value) for name, value in weights(teacher).items())


@pytest.mark.full
def test_what_the_teacher_is_decides_who_the_student_is(command, root):
    for words in (WORDS, (*WORDS, "teacher.lr=0.01"), (*WORDS, "seed=1")):
        assert command(*words).code == 0
    assert len(of_objective(root, "kd")) == len(of_objective(root, "cross_entropy")) == 3


def test_a_model_of_the_same_kind_is_where_it_starts(command, root):
    small = ("model.width=16", "model.depth=1", "steps=2", "initial.steps=2")
    assert "first pairs sft model=transformer" in command("task=pairs", "objective=ipo", *small).out
    (before,), (after,) = of_objective(root, "sft"), of_objective(root, "ipo")
    built = build(Job.again(after).config, built_on={"initial": before.path})
    begun = built.learner.model.state_dict()
    assert all(torch.equal(begun[name], value) for name, value in weights(before).items())


@pytest.mark.full
def test_a_term_brings_what_it_builds_on(command, root):
    around = ("objective=dynamic_loss_reweighting", "objective@term=dpo", "model.width=16")
    said = command("task=pairs", *around, "steps=2", "term.initial.steps=2")
    assert "first pairs sft model=transformer" in said.out
    said = command(
        "task=digits", *around[:1], "objective@term=kd", "term.teacher.steps=2", "steps=2"
    )
    assert "first digits cross_entropy model=mlp" in said.out


@pytest.mark.full
def test_a_teacher_that_another_process_finishes_meanwhile_is_taken(command, root, monkeypatch):
    def built_late(config, **how):
        if "teacher" not in config:
            monkeypatch.setattr("runner.build.build", build)
            assert command(*WORDS, "tau=1").code == 0
        return build(config, **how)

    monkeypatch.setattr("runner.build.build", built_late)
    assert command(*WORDS).code == 0
    assert [run.status["attempt"] for run in all_runs(root)] == [1, 1, 1]


@pytest.mark.full
def test_a_sweep_trains_each_teacher_once_and_counts_its_students_alone(command, root):
    said = command(*WORDS, "tau=1,2", "seed=0,1", "-m")
    assert "4 jobs" in said.out
    assert [run.status["attempt"] for run in of_objective(root, "cross_entropy")] == [1, 1]
    assert {run.state for run in all_runs(root)} == {State.DONE}
    assert "digits cross_entropy" not in said.out.partition("confidence interval")[2]


def test_a_finished_run_may_be_the_teacher(command, root):
    command("task=digits", "epochs=1", "model.width=16", "batch_size=256", "noise=symmetric")
    (teacher,) = all_runs(root)
    for path in (teacher.path, teacher.path / "checkpoint.pt"):
        assert command(*STUDENT, f"teacher={path}").code == 0
    student = of_objective(root, "kd")[0]
    assert len(all_runs(root)) == 3
    found = teacher_of(student)
    assert all(torch.equal(found[name], value) for name, value in weights(teacher).items())


def test_weights_alone_are_those_of_the_model_that_is_described(command, root):
    words = (*STUDENT, "teacher.model.width=16", f"+teacher.checkpoint={root / 'bare.pt'}")
    for seed in (0, 1):
        torch.manual_seed(seed)
        given = mlp((1, 8, 8), 10, width=16, depth=2).state_dict()
        torch.save(given, root / "bare.pt")
        assert command(*words).code == 0
        student = of_objective(root, "kd")[-1]
        assert all(torch.equal(teacher_of(student)[n], w) for n, w in given.items())
    assert len(all_runs(root)) == 2


@pytest.mark.full
def test_a_teacher_that_was_exchanged_makes_another_student(command, root):
    command("task=digits", "epochs=1", "batch_size=256")
    (teacher,) = all_runs(root)
    command(*STUDENT, f"teacher={teacher.path}")
    state = torch.load(teacher.path / "checkpoint.pt", weights_only=True)
    state["model"]["head.bias"] += 1
    torch.save(state, teacher.path / "checkpoint.pt")
    command(*STUDENT, f"teacher={teacher.path}")
    assert len(of_objective(root, "kd")) == 2


MADE = """
import torch
from tasks.models.feedforward import linear


def teacher():
    torch.manual_seed({seed})
    return linear((1, 8, 8), {classes})


def words():
    return "a model"
"""


def test_a_function_may_make_the_teacher(command, root, monkeypatch):
    (root / "made_teacher.py").write_text(MADE.format(seed=5, classes=10))
    monkeypatch.syspath_prepend(root)
    assert command(*STUDENT, "teacher=made_teacher.teacher").code == 0
    (student,) = all_runs(root)
    assert student.path.joinpath("code", "made_teacher.py").exists()


def test_a_run_starts_from_another_ones_model(command, root):
    command("task=digits", "epochs=1", "batch_size=256", "model.width=16")
    (first,) = all_runs(root)
    said = command(*("task=digits", "objective=ldr", "model.width=16"), f"initial={first.path}")
    assert said.code == 0
    (second,) = of_objective(root, "ldr")
    begun = build(Job.again(second).config).learner.model.state_dict()
    assert all(torch.equal(begun[name], value) for name, value in weights(first).items())


@pytest.mark.parametrize(
    ("before", "words", "message"),
    [
        ((), ("teacher=nowhere",), "teacher=nowhere cannot be built on: it is neither a"),
        ((), ("teacher=wrong_teacher.teacher",), "was made for other classes"),
        ((), ("teacher=wrong_teacher.words",), "makes no torch.nn.Module, but 'a model'"),
        (
            (),
            ("teacher=wrong_teacher.py",),
            "+teacher.checkpoint=wrong_teacher.py model@teacher.mo",
        ),
        ((), ("+teacher.checkpoint=wrong_teacher.py",), "damaged or no checkpoint"),
        ((), ("+teacher.checkpoint=nowhere.pt",), "nowhere.pt is missing"),
        ((), ("teacher.epochs=0",), "teacher cannot be built on: epochs=0"),
        (("objective=info_nce",), ("teacher=before",), "expected (1, 10): it was made for other"),
        (("task=diabetes",), ("teacher=before",), "teacher=before cannot be built on: objective m"),
        (("model.width=16",), ("initial=before",), "do not fit the model: size mismatch"),
    ],
)
def test_what_cannot_be_built_on(command, root, monkeypatch, before, words, message):
    (root / "wrong_teacher.py").write_text(MADE.format(seed=0, classes=7))
    monkeypatch.syspath_prepend(root)
    monkeypatch.chdir(root)
    if before:
        command("task=digits", "epochs=1", "batch_size=256", *before)
        all_runs(root)[0].path.rename(root / "before")
    said = command(*STUDENT, *words)
    assert said.code == 1
    assert message in said.err.replace("\n", " ")
    assert not of_objective(root, "kd")


def test_a_run_that_was_not_finished_is_no_teacher(command, root):
    command("task=digits", "epochs=1", "batch_size=256")
    (run,) = all_runs(root)
    (run.path / "checkpoint.pt").unlink()
    said = command(*STUDENT, f"teacher={run.path}")
    assert "checkpoint.pt is missing: the run that it belongs to has not been finished" in said.err


def start(*words: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "runner.cli", *words], stdout=subprocess.DEVNULL)


@pytest.mark.full
def test_a_teacher_that_was_cut_off_is_gone_on_with(command, root):
    words = (*STUDENT, *TEACHER[1:], "teacher.epochs=300", "log_every=1")
    with start(*words) as first:
        while not any(run.signs for run in all_runs(root)):
            time.sleep(0.05)
        first.send_signal(signal.SIGTERM)
    (teacher,) = all_runs(root)
    assert teacher.state is State.INTERRUPTED
    assert command(*words).code == 0
    assert teacher.state is State.DONE
    assert teacher.status["attempt"] == 2


@pytest.mark.full
def test_two_students_at_once_wait_for_one_teacher(root):
    words = (*STUDENT, *TEACHER[1:], "teacher.epochs=60")
    with start(*words, "tau=1"), start(*words, "tau=2"):
        pass
    assert {run.state for run in all_runs(root)} == {State.DONE}
    (teacher,) = of_objective(root, "cross_entropy")
    assert teacher.status["attempt"] == 1
    assert len(of_objective(root, "kd")) == 2
