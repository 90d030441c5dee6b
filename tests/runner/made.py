"""Run directories made by hand, as a run would have left them."""

import json
from pathlib import Path
from typing import Any

from runner.identity import source_digest, targets

TARGET = {"_target_": "objectives.classification.cross_entropy"}
OTHER_CODE = "0" * 64


def make_run(root: Path, task: str, objective: str, seed: int, **given: Any) -> Path:
    """A run's directory.

    Args:
        given: `test`, `val`: its values of `metric`; `tau` and other settings that were overridden;
            `state`, `code`, `data`, `maximize`, `seconds`, `experiment`, `space`, `events`,
            `hidden`, which are settings that no override names.
    """
    metric, seconds = given.pop("metric", "accuracy"), given.pop("seconds", 10.0)
    monitor = {"metric": metric, "maximize": given.pop("maximize", True)}
    ends = {f"{split}/{metric}": given.pop(split) for split in ("test", "val") if split in given}
    ends |= given.pop("more", {})
    state, data = given.pop("state", "done"), given.pop("data", "d" * 12)
    started = given.pop("started", 1000.0)
    events = given.pop("events", [])
    experiment, space = given.pop("experiment", None), given.pop("space", {})
    code, hidden = given.pop("code", None), given.pop("hidden", {})
    problem = given.pop("problem", {"set": task})
    meaning = {"seed": seed, "device": "auto", "objective": TARGET, "space": space}
    meaning |= {"task": {"data": problem | {"seed": seed}}, **hidden, **given}
    overrides = [f"task={task}", f"objective={objective}", f"seed={seed}", f"root={root}"]
    overrides += [f"{key}={value}" for key, value in given.items()]
    parts = [task, objective, str(seed), *map(str, given.items()), str(hidden), str(code), data]
    run = {
        "signature": "-".join("".join(c if c.isalnum() else "_" for c in part) for part in parts),
        "code": code or source_digest(targets(meaning)),
        "data": data,
        "name": "",
        "setting": "",
        "seed": seed,
        "choices": {"task": task, "objective": objective, "model": "mlp", "experiment": experiment},
        "overrides": overrides,
        "meaning": meaning,
    }
    status: dict[str, Any] = {"state": state, "attempt": 1, "started": started}
    if state == "done":
        status |= {"ended": started + seconds, "metrics": ends, "monitor": monitor}
    return write_run(root, run, status, events)


def write_run(root: Path, run: dict, status: dict, events: list[tuple[int, dict]]) -> Path:
    folder = root / "runs" / run["signature"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.json").write_text(json.dumps(run))
    (folder / "status.json").write_text(json.dumps(status))
    lines = (json.dumps({"step": step, "time": 0, "metrics": m}) + "\n" for step, m in events)
    (folder / "events.jsonl").write_text("".join(lines))
    attempt = {"git_commit": "abcdef0123456789"}
    (folder / "environment.json").write_text(json.dumps([attempt]))
    return folder


def make_sweep(root: Path, identity: str, members: list[Path]) -> None:
    folder = root / "sweeps" / identity
    folder.mkdir(parents=True)
    manifest = {"id": identity, "created": 0, "overrides": [], "members": [m.name for m in members]}
    (folder / "manifest.json").write_text(json.dumps(manifest))
