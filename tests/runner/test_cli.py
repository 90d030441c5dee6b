"""The command line: its forms, its lists, and one clear message for every bad input."""

import fcntl
import json
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from runner.rundir import RunDir, State, write_whole

QUICK = ("task=digits", "epochs=1")
BASIC = "hydra/launcher=basic"
"""Jobs in this process, where it does not matter who runs them: that is faster."""


def runs(root: Path) -> list[RunDir]:
    return [RunDir(file.parent) for file in root.glob("runs/*/run.json")]


def test_a_run_leaves_its_directory_and_nothing_else(command, root):
    said = command(*QUICK, "objective=ldr", "tau=0.5")
    assert said.code == 0
    assert "test/accuracy" in said.out
    assert [path.name for path in root.iterdir()] == ["runs"]
    (run,) = runs(root)
    assert str(run.path.relative_to(root)) in said.out
    assert run.state is State.DONE
    assert run.run["name"] == "digits ldr epochs=1 tau=0.5 seed=0"
    files = {path.name for path in run.path.iterdir()}
    assert files >= {
        "run.json",
        "config.yaml",
        "environment.json",
        "code.diff",
        "events.jsonl",
        "checkpoint.pt",
        "status.json",
        "log.txt",
    }


def test_a_finished_run_is_not_repeated(command, root):
    command(*QUICK)
    (run,) = runs(root)
    before = (run.path / "events.jsonl").stat().st_mtime_ns
    said = command(*QUICK)
    assert "finished before" in said.out
    assert "test/accuracy" in said.out
    assert (run.path / "events.jsonl").stat().st_mtime_ns == before
    assert run.status["attempt"] == 1


@pytest.mark.parametrize(
    "words",
    [
        ("task=digits", "objective=ldr", "-m", "tau=0.1,0.5", "epochs=1", BASIC),
        ("-m", "task=digits", "objective=ldr", "tau=0.1,0.5", "epochs=1", BASIC),
        ("task=digits", "objective=ldr", "tau=0.1,0.5", "epochs=1", BASIC, "--multirun"),
    ],
)
def test_flags_may_stand_anywhere(command, root, words):
    said = command(*words)
    assert said.code == 0
    assert sorted(path.name for path in root.iterdir()) == ["runs", "sweeps"]
    assert {run.run["setting"].split(" tau=")[1][:3] for run in runs(root)} == {"0.1", "0.5"}
    (manifest,) = root.glob("sweeps/*/manifest.json")
    assert sorted(json.loads(manifest.read_text())["members"]) == sorted(
        run.path.name for run in runs(root)
    )


def test_hydras_own_flags_stay(command):
    shown = command("objective=ldr", "--cfg", "job", "tau=0.3", "--resolve").out
    assert "tau: 0.3" in shown
    assert "${" not in shown
    assert "ldr" in command("objective=ldr", "--info", "defaults").out


def test_an_axis_that_one_objective_lacks_makes_no_error_and_no_duplicate(command, root):
    said = command(
        "task=digits", "epochs=1", "objective=ldr,cross_entropy", "tau=0.1,0.5", "-m", BASIC
    )
    assert said.code == 0
    assert {run.run["setting"] for run in runs(root)} == {
        "digits ldr epochs=1 tau=0.1",
        "digits ldr epochs=1 tau=0.5",
        "digits cross_entropy epochs=1",
    }


def test_a_setting_that_one_objective_lacks_is_the_others_alone(command, root):
    words = "task=digits", "epochs=1", "objective=cross_entropy,ldr,gce", "-m", "--dry-run"
    said = command(*words, "tau=0.5", "q=0.3").out
    for job in ("ldr epochs=1 tau=0.5", "gce epochs=1 q=0.3", "cross_entropy epochs=1"):
        assert f"digits {job} seed=0" in said
    for wrong in ("tua", "hydra.launcher.retires"):
        said = command(*words, f"{wrong}=1")
        assert said.code == 1
        assert f"{wrong} does not exist" in said.err


def test_a_failing_job_costs_only_itself(command, root):
    said = command(*QUICK, "optimizer=sgd", "lr=1e30,0.01", "-m", BASIC)
    assert said.code == 1
    assert "1 job failed" in said.err
    assert "the loss is nan at step 2 (epoch 1, batch 2)" in said.err
    assert sorted(run.state for run in runs(root)) == [State.DONE, State.FAILED]


@pytest.mark.full
def test_a_run_that_another_process_is_at_is_left_to_it(command, root):
    words = (*QUICK, "-m", "seed=0,1")
    command(*words)
    run = next(run for run in runs(root) if run.run["seed"] == 1)
    done = (run.path / "status.json").read_text()
    write_whole(run.path / "status.json", json.dumps({"state": "running", "attempt": 7}))
    with (run.path / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        ends = threading.Timer(
            8, lambda: (write_whole(run.path / "status.json", done), lock.close())
        )
        ends.start()
        said = command(*words)
        ends.join()
    assert said.code == 0, said.err
    assert "1 under way elsewhere" in said.out
    assert run.status["attempt"] == 1


def test_a_loss_that_is_not_finite_names_step_and_batch(command, root):
    said = command("task=diabetes", "optimizer=sgd", "lr=1e8")
    assert said.code == 1
    assert "the loss is inf at step 2 (epoch 1, batch 2)" in said.err
    assert "Traceback" not in said.err
    (run,) = runs(root)
    assert run.state is State.FAILED
    assert "Traceback" in (run.path / "log.txt").read_text()


BAD = {
    "a group": (("tsk=digits",), "tsk does not exist. Did you mean task?"),
    "an option": (("task=digts",), "Did you mean task=digits?"),
    "an objective": (("objective=ldrr",), "Did you mean objective=ldr?"),
    "an experiment": (("experiment=foo",), "experiment=foo does not exist"),
    "a hyperparameter nobody has": (("objective=ldr", "taau=1"), "Did you mean tau?"),
    "a hyperparameter of others": (
        ("objective=cross_entropy", "tau=0.5"),
        "cross_entropy has no tau; objectives that do: aldr",
    ),
    "two at once": (("objective=ldr", "taau=1", "batchsize=8"), "Did you mean"),
    "one that another decides": (
        ("task=verify", "initial.model.width=8"),
        "initial.model.width cannot be set: initial.model is ${model}; set it there.",
    ),
    "one in a sweep": (("-m", "objective=ldr", "taau=1,2"), "Did you mean tau?"),
    "a setting of a part": (
        ("sampler=clients", "clients=3"),
        "clients does not exist. Did you mean sampler.clients?",
    ),
    "a nested setting": (("objective=ldr", "objective.margn=1"), "Did you mean objective.margin?"),
    "tau below its domain": (
        ("objective=ldr", "tau=-1"),
        "tau=-1 is outside the domain of ldr: input should be greater",
    ),
    "tau as a word": (("objective=ldr", "tau=abc"), "should be a valid number"),
    "learning rate": (("lr=-1",), "Invalid learning rate: -1"),
    "epochs": (("epochs=0",), "epochs=0: input should be greater than 0"),
    "an objective that does not fit": (
        ("task=diabetes", "objective=ldr"),
        "Objectives that fit it: aggregate_bag_instance, gaussian_nll, huber, mse, quantile.",
    ),
    "accumulation of coupled examples": (
        ("objective=info_nce", "accumulate=2"),
        "the other examples of the batch are the negatives",
    ),
    "a missing data folder": (("task=mnist",), "MNIST is not here: there is no "),
    "a device": (("device=tpu",), "device=tpu does not exist here (there are: auto, cpu"),
    "a root": (("root=/proc/nowhere",), "runs cannot be kept in /proc/nowhere/runs"),
    "syntax": (("tau=[0.1",), "tau=[0.1 is no override"),
    "a target": (
        ("model._target_=nowhere.model",),
        "model cannot be made: No module named 'nowhere'",
    ),
    "a list": (("list", "foo"), "'foo' is not one of"),
    "something to show": (("show", "objective=lddr"), "Did you mean objective=ldr?"),
    "a group to show": (("show", "foo"), "foo is not GROUP=OPTION"),
    "a run to resume": (("resume", "nothing"), "nothing is no run"),
    "a place": (("sync", "rot=."), "rot=. is not one of root=..., tracking=..."),
    "a flag": (("--frobnicate",), "unrecognized arguments: --frobnicate"),
}

BAD_VALUES = {
    "a policy in a sweep": (("objective=grpo,ldr", "-m"), "objective grpo needs token_logprobs"),
    "tau in a sweep": (
        ("objective=ldr", "-m", "tau=0.1,-1"),
        "tau=-1 is outside the domain of ldr",
    ),
    "tau in a term": (
        ("objective=weighted", "terms.b.tau=0"),
        "tau=0 is outside the domain of ldr",
    ),
    "a weight without term": (("objective=weighted", "+weights.z=1"), "weights.z names no term"),
    "a level": (
        ("task=diabetes", "objective=quantile", "levels=[0.1,2]"),
        "levels[1]=2 is outside",
    ),
    "rho": (("algorithm=sam", "rho=0"), "rho=0 is outside the domain of SAM"),
    "warm-up": (("schedule=cosine", "warmup=2"), "warmup=2 is outside the domain of cosine"),
    "batch size": (("batch_size=1.5",), "batch_size=1.5: input should be a valid integer"),
    "precision": (("precision=float16",), "'float32' or 'bfloat16'"),
    "seed": (("seed=-1",), "seed=-1"),
    "a model that does not fit": (
        ("task=cartpole", "model=mlp"),
        "mlp needs input_shape, num_outputs",
    ),
    "one of two models": (("-m", "model=mlp,transformer"), "transformer needs num_tokens, context"),
    "no folder of tables": (("task=uci",), "or start with task=diabetes or task=friedman"),
    "a size": (("task=friedman", "size=3"), "size=3 is outside the domain of friedman"),
    "a width": (("model.width=0",), "width=0 is outside the domain of mlp"),
    "layers": (("task=pairs", "model.depth=-1"), "depth=-1 is outside the domain of transformer"),
    "a dimension": (
        ("objective=info_nce", "embedding_dim=0"),
        "embedding_dim=0 is outside the domain of TwoViews",
    ),
    "a rate of noise": (
        ("noise=symmetric", "noise_rate=1.5"),
        "rate=1.5 is outside the domain of symmetric",
    ),
    "labels that are not there": (
        ("noise=human",),
        "CIFAR-10_human.pt is missing: these are the human labels",
    ),
    "a subset": (("subset=5",), "subset=5 is not between 10, one of each class, and the 1149"),
    "an imbalance": (
        ("imbalance=step", "imbalance_ratio=0"),
        "ratio=0 is outside the domain of step",
    ),
    "an augmentation": (("augmentation=simclr",), "simclr is for colour images, not 1 channel"),
    "noise of no labels": (("task=diabetes", "noise=symmetric"), "diabetes has no noise"),
    "a device of two": (("device=cuda:99",), "device=cuda:99 does not exist here"),
    "an environment": (("task=cartpole", "task.data.id=Nowhere-v1"), "'Nowhere-v1' cannot be made"),
    "any environment": (("task=gym", "env=Pendulun-v1"), "'Pendulun-v1' cannot be made"),
    "an environment's observations": (
        ("task=gym", "env=FrozenLake-v1"),
        "'FrozenLake-v1' observes Discrete(16), expected Box",
    ),
    "passes over a rollout": (
        ("task=gym", "replays=0"),
        "replays=0 is outside the domain of OnPolicy: input should be greater than 0",
    ),
    "a discount": (("task=gym", "discount=1.5"), "discount=1.5 is outside the domain of OnPolicy"),
    "half an actor": (("task=gym", "actors=1.5"), "actors=1.5 is outside the domain of OnPolicy"),
    "a part of an objective": (
        ("task=verify", "kl=k9"),
        "objective cannot be made: objectives.parts.divergences has no k9 (it has: k1, k2, k3)",
    ),
}
"""What takes longer to be refused: parts are built first, or there is a sweep."""


@pytest.mark.parametrize(("words", "message"), BAD.values(), ids=BAD.keys())
def test_bad_input_gets_one_message_before_any_work(command, root, words, message):
    is_refused(command, root, words, message)


@pytest.mark.full
@pytest.mark.parametrize(("words", "message"), BAD_VALUES.values(), ids=BAD_VALUES.keys())
def test_bad_values_of_parts_get_one_message_before_any_work(command, root, words, message):
    is_refused(command, root, words, message)


def is_refused(command, root, words, message):
    said = command(*words)
    assert said.code != 0
    assert message in said.err
    assert "Traceback" not in said.err
    assert not runs(root)


def test_a_traceback_is_shown_when_asked_for(command, monkeypatch):
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    with pytest.raises(Exception, match="outside the domain"):
        command("objective=ldr", "tau=-1")


LIGHT = {
    "help": ["--help"],
    "version": ["--version"],
    "list": ["list", "objectives", "--task", "digits"],
    "show": ["show", "objective=ldr"],
    "completion": ["completion", "bash"],
}


@pytest.mark.parametrize("words", LIGHT.values(), ids=LIGHT.keys())
def test_what_must_answer_at_once_imports_nothing_heavy(words):
    script = (
        "import sys; from runner.cli import main\n"
        "try: main()\n"
        "except SystemExit as stop: assert not stop.code\n"
        "heavy = {'torch', 'mlflow', 'hydra', 'numpy', 'sklearn'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", script, *words], check=True, capture_output=True)


def test_planning_a_sweep_of_finished_runs_does_not_import_torch(command, root):
    command(*QUICK)
    script = "import sys; from runner.cli import main; main(); assert 'torch' not in sys.modules"
    words = [*QUICK, "-m", "seed=0"]
    done = subprocess.run([sys.executable, "-c", script, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "1 job, 1 finished before" in done.stdout


def test_lists_and_shows(command):
    objectives = command("list", "objectives").out
    assert "ldr" in objectives
    assert "arXiv:2112.14869" in objectives
    fitting = command("list", "objectives", "--task", "diabetes").out.split()
    assert "quantile" in fitting
    assert "ldr" not in fitting
    shown = command("show", "objective=ldr").out
    for part in (
        "tau * log mean_j",
        "real > 0",
        "[0.05, 5]",
        "diabetes_stages, digits",
        "2112.14869",
    ):
        assert part in shown
    assert "real ≥ 0 ≤ eta" in command("show", "objective=inpo").out
    assert "in the loss: k1 | k2 | k3" in command("show", "objective=dr_grpo").out
    assert "digits" in command("list", "tasks").out
    records = command("list", "records").out
    assert re.search(r"^Gaussian +predictions .* diabetes", records, re.MULTILINE)
    experiments = command("list", "experiments").out
    assert "temperature" in experiments
    assert re.search(r"^ppo +Schulman et al. 2017", experiments, re.MULTILINE)


@pytest.mark.full
def test_an_edited_loss_is_another_run(command, root):
    loss = (
        "from torch.nn import functional as F\n"
        "def scaled(logits, labels):\n    return {} * F.cross_entropy(logits, labels)\n"
    )
    words = (*QUICK, "objective._target_=scaled_loss.scaled")
    for factor in (1, 2):
        (root / "scaled_loss.py").write_text(loss.format(factor))
        command_line = [sys.executable, "-m", "runner.cli", *words]
        subprocess.run(command_line, check=True, capture_output=True)
    assert len(runs(root)) == 2


def test_a_run_starts_again_from_its_own_directory(command, root):
    command(*QUICK, "objective=ldr", "tau=0.7")
    (run,) = runs(root)
    metrics = run.status["metrics"]
    (run.path / "status.json").write_text('{"state": "interrupted", "attempt": 1}')
    (run.path / "checkpoint.pt").unlink()
    assert command("resume", run.path.name[:6]).code == 0
    assert run.status["metrics"] == metrics
    assert run.status["attempt"] == 2
    assert "finished before" in command("resume", str(run.path)).out


def test_doctor_names_what_is_there(command):
    said = command("doctor").out
    for name in ("python", "torch", "mlflow", "gpu", "disk", "slurm"):
        assert name in said
