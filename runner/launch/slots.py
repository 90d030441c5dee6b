"""Slots: what this machine can run at once."""

import os
from dataclasses import dataclass, field

from objectives.errors import InputError

VISIBLE = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True)
class Slot:
    """A place for one job.

    Attributes:
        threads: Threads that the job may use.
        environment: Variables that tell it which GPU is its own.
        gpu_memory_gb: Memory of that GPU that it may use, in GiB; None for all.
    """

    threads: int
    environment: dict[str, str] = field(default_factory=dict)
    gpu_memory_gb: float | None = None


def slots(
    device: str,
    jobs_per_gpu: int = 1,
    threads_per_job: int | None = None,
    gpus: list[str] | None = None,
    gpu_memory_gb: float | None = None,
) -> list[Slot]:
    """The slots of this machine: its free GPUs where jobs may use them, else its cores.

    Args:
        device: The jobs' `device`; "cpu" leaves the GPUs alone.
        jobs_per_gpu: Jobs that share a GPU.
        threads_per_job: Threads of a job; the cores shared out where there are GPUs, else 1.
        gpus: The GPUs to use, free or not.
        gpu_memory_gb: See `Slot`.

    Raises:
        InputError: There are no slots.
    """
    cores = len(os.sched_getaffinity(0))
    found = [] if device == "cpu" else free_gpus() if gpus is None else gpus
    if found:
        count = len(found) * jobs_per_gpu
        threads = threads_per_job or max(1, cores // count)
        return [
            Slot(threads, {VISIBLE: str(gpu)}, gpu_memory_gb)
            for _ in range(jobs_per_gpu)
            for gpu in found
        ]
    threads = threads_per_job or 1
    if threads > cores:
        raise InputError(f"threads_per_job={threads} is more than the {cores} cores here.")
    return [Slot(threads) for _ in range(cores // threads)]


def free_gpus() -> list[str]:
    """GPUs that no process computes on, of those that this one may see."""
    allowed = os.environ.get(VISIBLE)
    if allowed is not None:
        return [gpu for gpu in allowed.split(",") if gpu]
    try:
        import pynvml

        pynvml.nvmlInit()
    except Exception:
        return []
    handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
    busy = [bool(pynvml.nvmlDeviceGetComputeRunningProcesses(handle)) for handle in handles]
    return [str(index) for index, is_busy in enumerate(busy) if not is_busy]
