"""A real SLURM cluster of one node on this machine, without systemd.

    python tests/slurm/cluster.py start FOLDER    prints the SLURM_CONF to use
    python tests/slurm/cluster.py stop FOLDER

Everything that it keeps is in FOLDER. It needs root, and Debian's slurm-wlm and munge.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

DAEMONS = ("slurmd", "slurmctld", "munged")
"""In the order in which they are stopped."""

MAX_ARRAY_SIZE = 6
CPUS = 4
"""More than a small machine has: what waits there waits for a cap, not for a core."""

CONF = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmctldPort={controller}
SlurmdPort={daemon}
AuthType=auth/munge
CredType=cred/munge
# the second also delays what is requeued
AuthInfo=socket={folder}/munge.socket,cred_expire=5
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,sched_min_interval=100000,batch_sched_delay=0,bf_interval=2
SlurmdParameters=config_overrides
ReturnToService=2
MaxArraySize={arrays}
KillWait=15
MinJobAge=10
OverTimeLimit=0
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=2000 State=UNKNOWN
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
PartitionName=short Nodes={host} PriorityTier=2 Default=YES MaxTime=60 DefaultTime=10
PartitionName=spot Nodes={host} PriorityTier=1 PreemptMode=CANCEL MaxTime=60 DefaultTime=10
PartitionName=urgent Nodes={host} PriorityTier=3 PreemptMode=OFF MaxTime=60 DefaultTime=10
"""


def missing() -> str:
    """Why no cluster can be started here; "" where one can."""
    absent = [program for program in (*DAEMONS, "sbatch", "srun") if not where(program)]
    if absent:
        return f"{', '.join(absent)} not installed (apt-get install slurm-wlm munge)"
    return "" if os.getuid() == 0 else "a cluster is started by root"


def where(program: str) -> str | None:
    """The path of a program or a daemon."""
    return shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin")


def start(folder: Path) -> Path:
    """Start the cluster; returns its configuration, for SLURM_CONF."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("state", "spool"):
        (folder / name).mkdir(exist_ok=True)
    conf = folder / "slurm.conf"
    conf.write_text(
        CONF.format(
            host=socket.gethostname().partition(".")[0],
            folder=folder,
            controller=free_port(),
            daemon=free_port(),
            arrays=MAX_ARRAY_SIZE,
            cpus=CPUS,
        )
    )
    start_munge(folder)
    for daemon in ("slurmctld", "slurmd"):
        call(daemon, conf)
    end = time.monotonic() + 60
    while call("sinfo", conf, "--noheader", "--format=%T").strip() != "idle":
        if time.monotonic() > end:
            raise TimeoutError((folder / "slurmctld.log").read_text()[-5000:])
        time.sleep(0.2)
    return conf


def start_munge(folder: Path) -> None:
    """Start the daemon by which the others know each other; its key is made anew."""
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    files = {
        "socket": "munge.socket",
        "key-file": key.name,
        "pid-file": "munged.pid",
        "log-file": "munged.log",
        "seed-file": "munge.seed",
    }
    options = [f"--{option}={folder / name}" for option, name in files.items()]
    # forced: a temporary folder need not be open to all users, they are all root here
    subprocess.run([str(where("munged")), "--force", *options], check=True, capture_output=True)


def call(program: str, conf: Path, *words: str) -> str:
    """Run one of SLURM's programs; returns what it printed."""
    result = subprocess.run(
        [str(where(program)), *words],
        env=os.environ | {"SLURM_CONF": str(conf)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
    )
    return result.stdout


def stop(folder: Path) -> None:
    """End all jobs and all daemons of the cluster in a folder."""
    conf = folder / "slurm.conf"
    call("scancel", conf, "--user=root")
    end = time.monotonic() + 10
    while call("squeue", conf, "--noheader") and time.monotonic() < end:
        time.sleep(0.2)
    for daemon in DAEMONS:
        stop_daemon(folder / f"{daemon}.pid")
    for process in Path("/proc").glob("[0-9]*"):  # a step may outlive them, in its spool folder
        with suppress(OSError):
            if (process / "cwd").readlink().is_relative_to(folder):
                os.kill(int(process.name), signal.SIGKILL)


def stop_daemon(file: Path) -> None:
    """Ask a daemon to end, and see that it does."""
    if not file.exists():
        return
    pid = int(file.read_text())
    end = time.monotonic() + 15
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
        while time.monotonic() < end:
            os.kill(pid, 0)
            time.sleep(0.1)
        os.kill(pid, signal.SIGKILL)


def free_port() -> int:
    """A TCP port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


if __name__ == "__main__":
    action, place = sys.argv[1], Path(sys.argv[2]).absolute()
    if action == "start":
        sys.stdout.write(f"SLURM_CONF={start(place)}\n")
    else:
        stop(place)
