"""The fork server: a process that has torch loaded and makes every worker from itself.

A worker starts in the time of a fork instead of that of all imports. The server imports and never
computes: a process that has used OpenMP hangs its multi-threaded children, and a CUDA context does
not survive a fork. It and its coordinator exchange JSON lines. In:

    {"preload": {"modules": [...], "targets": [[...]]}}         import what jobs will need
    {"check": [configs], "environment": {...}}                  see whether they can be built
    {"run": directory, "environment": {...}, "threads": n,
     "gpu_memory_gb": limit, "command": what the user typed}    start a worker
    {"signal": number, "pid": pid}                              send it a signal

Out:

    {"checked": what is wrong or "", "imported": [modules],
     "monitors": [[metric, whether it should be large]]}
    {"started": pid, "run": directory}    {"ended": pid, "status": exit status}

When the coordinator dies its end of the pipe closes: the server asks its workers to stop, which
leave a checkpoint, and ends after them. When the server dies the kernel asks them.
"""

import ctypes
import gc
import importlib
import json
import os
import select
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from objectives.errors import InputError
from runner.rundir import RunDir

PARENT_DEATH_SIGNAL = 1
"""Of prctl: the signal that a process gets when its parent dies."""

ALWAYS = (
    "torch",
    "torch._dynamo",  # which every optimizer imports when it is made
    "torch.utils.serialization",
    "runner.build",
    "runner.display",
    "runner.environment",
    "runner.launch.work",
    "runner.train",
)


class Server:
    """Workers by process id, and the pipe to the coordinator."""

    def __init__(self) -> None:
        self.workers: set[int] = set()
        self.rehearsed: set[Path] = set()
        self.input = b""
        self.wake_out, wake_in = os.pipe()
        os.set_blocking(wake_in, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake_in)

    def serve(self) -> None:
        """Obey until the coordinator is gone and the last worker has ended."""
        sources = [self.wake_out, sys.stdin.fileno()]
        while len(sources) > 1 or self.workers:
            for source in select.select(sources, [], [])[0]:
                content = os.read(source, 65536)
                if source == self.wake_out:
                    self.reap()
                elif content:
                    self.obey(content)
                else:
                    sources.remove(source)
                    self.stop_workers()

    def preload(self, modules: list[str], targets: list[list[str]]) -> None:
        """Import what the jobs need; a module that cannot be imported is the worker's to report."""
        named = {name.rpartition(".")[0] for names in targets for name in names}
        for module in (*ALWAYS, *sorted(named), *modules):
            with suppress(Exception):
                importlib.import_module(module)
        from runner.environment import remember

        for names in targets:
            remember(tuple(names))
        gc.collect()
        gc.freeze()  # workers share what they do not look through

    def obey(self, content: bytes) -> None:
        """Carry out every whole line."""
        *lines, self.input = (self.input + content).split(b"\n")
        for line in lines:
            order = json.loads(line)
            if "preload" in order:
                self.preload(**order["preload"])
            elif "signal" in order:
                with suppress(ProcessLookupError):
                    os.kill(order["pid"], order["signal"])
            elif "check" in order:
                self.fork(checker, order)
            else:
                self.rehearse(RunDir(Path(order["run"])))
                say(started=self.fork(worker, order), run=order["run"])

    def rehearse(self, run: RunDir) -> None:
        """Before the first of its kind, so that its worker and the others find it done."""
        from runner.launch.work import rehearse

        if run.path.parent not in self.rehearsed:
            self.rehearsed.add(run.path.parent)
            with suppress(Exception):  # the worker's to report
                rehearse(run)
            gc.collect()
            gc.freeze()  # workers share what they do not look through

    def fork(self, work: Callable[[dict[str, Any]], int], order: dict[str, Any]) -> int:
        """Do something in a process of its own; returns its id."""
        server = os.getpid()
        pid = os.fork()
        if not pid:
            become_worker(order["environment"])
            os._exit(work(order) if os.getppid() == server else 1)  # it may have died meanwhile
        self.workers.add(pid)
        return pid

    def reap(self) -> None:
        """Tell which workers have ended."""
        while self.workers:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            self.workers.discard(pid)
            say(ended=pid, status=os.waitstatus_to_exitcode(status))

    def stop_workers(self) -> None:
        for pid in self.workers:
            os.kill(pid, signal.SIGTERM)


def say(**message: Any) -> None:
    """Tell the coordinator."""
    with suppress(BrokenPipeError):  # nobody listens any more
        os.write(sys.stdout.fileno(), json.dumps(message).encode() + b"\n")


def become_worker(environment: dict[str, str]) -> None:
    """Forget what is the server's, and end with it."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    ctypes.CDLL(None).prctl(PARENT_DEATH_SIGNAL, signal.SIGTERM)
    os.environ.update(environment)


def checker(order: dict[str, Any]) -> int:
    """Build jobs without running them, and tell what is wrong and what had to be imported."""
    from runner.build import check_all

    before, message, monitors = set(sys.modules), "", []
    try:
        monitors = check_all(order["check"])
    except InputError as error:
        message = str(error)
    except Exception:  # not the user's input: the job itself tells, with its traceback
        pass
    imported = [name for name in sys.modules if name not in before]
    say(checked=message, imported=imported, monitors=monitors)
    return 0


def worker(order: dict[str, Any]) -> int:
    """Do a planned run; returns the exit status."""
    run = RunDir(Path(order["run"]))
    redirect(run.path / "output.txt")
    sys.argv = order["command"]
    import torch

    from runner.launch.work import work_on

    torch.set_num_threads(order["threads"])
    if order["gpu_memory_gb"] and torch.cuda.is_available():
        share = order["gpu_memory_gb"] * 2**30 / torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction(min(share, 1.0))
    try:
        return work_on(run)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def redirect(file: Path) -> None:
    """Give the process no input, and a file for what it and its libraries print."""
    output = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    null = os.open(os.devnull, os.O_RDONLY)
    for descriptor, target in ((null, 0), (output, 1), (output, 2)):
        os.dup2(descriptor, target)


if __name__ == "__main__":
    sys.path.insert(0, str(Path.cwd()))  # a user's own objectives are imported from here
    Server().serve()
