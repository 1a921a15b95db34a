"""A SLURM of one node for tests: its own daemons, keys, ports and folder; nothing of the machine's own is touched.

Needs the programs of Debian's packages slurm-wlm and munge, and no root. All its daemons listen on the loopback alone.
"""

import contextlib
import os
import re
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol", "scancel", "sinfo", "setpriv")
PATH = os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/sbin"])

# The node says that it has what profiles/slurm asks for, whatever the machine has: limits are counted, not enforced.
CONFIGURATION = """
ClusterName=test
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
GresTypes=gpu
MinJobAge=3600
KillWait=5
ReturnToService=2
NodeName=localhost NodeAddr=127.0.0.1 CPUs={cores} RealMemory={memory_mb} Gres=gpu:{gpus} State=UNKNOWN
PartitionName=all Nodes=localhost Default=YES MaxTime=INFINITE State=UP
"""


class CannotStart(Exception):
    """Why there is no SLURM here."""


@dataclass(frozen=True)
class Slurm:
    """A running SLURM. `environment` is what a program needs to use it."""

    environment: dict[str, str]

    def call(self, *command: str) -> str:
        """What a SLURM command prints."""
        told = {**os.environ, **self.environment}
        return subprocess.run(command, env=told, capture_output=True, text=True, check=True, timeout=60).stdout

    def jobs(self) -> list[dict[str, str]]:
        """Every job so far as `scontrol show job` describes it, in the order in which they were sent."""
        shown = [line for line in self.call("scontrol", "--oneliner", "show", "job").splitlines() if "JobId=" in line]
        found = [dict(re.findall(r"(\w+)=(\S*)", line)) for line in shown]
        return sorted(found, key=lambda job: int(job["JobId"]))


@contextlib.contextmanager
def running(cores: int = 16, memory_mb: int = 256_000, gpus: int = 2) -> Iterator[Slurm]:
    """Start a SLURM, and end it and all its jobs. Raises CannotStart with the reason."""
    missing = [name for name in PROGRAMS if not shutil.which(name, path=PATH)]
    if missing:
        raise CannotStart(f"no {', '.join(missing)}: Debian's packages are slurm-wlm and munge")
    with tempfile.TemporaryDirectory(prefix="slurm-") as made, contextlib.ExitStack() as daemons:
        folder = Path(made)
        folder.chmod(0o755)  # munged wants its socket where all can reach it
        slurm = Slurm(_configure(folder, cores, memory_mb, gpus))
        _start(
            daemons,
            folder,
            "munged",
            f"--key-file={folder}/munge.key",
            f"--socket={folder}/munge.sock",
            f"--pid-file={folder}/munged.pid",
            f"--seed-file={folder}/munged.seed",
            "--foreground",
            "--force",
        )
        _wait_for(lambda: (folder / "munge.sock").exists(), folder)
        _start(daemons, folder, "slurmctld", "-D", "-f", f"{folder}/slurm.conf")
        _start(daemons, folder, "slurmd", "-D", "-N", "localhost", "-f", f"{folder}/slurm.conf")
        daemons.callback(_end_jobs, slurm)
        _wait_for(lambda: "idle" in slurm.call("sinfo", "--noheader", "--format=%T"), folder)
        yield slurm


def _configure(folder: Path, cores: int, memory_mb: int, gpus: int) -> dict[str, str]:
    """Write what the daemons and the commands read; the environment that leads to it."""
    user = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
    values = {"folder": folder, "user": user, "cores": cores, "memory_mb": memory_mb, "gpus": gpus}
    (folder / "slurm.conf").write_text(CONFIGURATION.format(ports=_free_ports(2), **values))
    # Character devices that every machine has stand in for GPUs.
    devices = ["/dev/null", "/dev/zero", "/dev/full", "/dev/random"][:gpus]
    (folder / "gres.conf").write_text("".join(f"NodeName=localhost Name=gpu File={device}\n" for device in devices))
    (folder / "munge.key").write_bytes(secrets.token_bytes(128))
    (folder / "munge.key").chmod(0o600)
    for name in ("state", "spool", "bin"):
        (folder / name).mkdir()
    # Snakemake's plugin calls srun without SLURM_CONF, as a real cluster's is in /etc.
    srun = folder / "bin/srun"
    srun.write_text(f'#!/bin/sh\nSLURM_CONF={folder}/slurm.conf exec {shutil.which("srun", path=PATH)} "$@"\n')
    srun.chmod(0o755)
    return {"SLURM_CONF": f"{folder}/slurm.conf", "PATH": f"{folder}/bin{os.pathsep}{PATH}"}


def _free_ports(number: int) -> list[int]:
    with contextlib.ExitStack() as sockets:
        opened = [sockets.enter_context(socket.socket()) for _ in range(number)]
        for one in opened:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in opened]


def _start(daemons: contextlib.ExitStack, folder: Path, *command: str) -> None:
    """Start a daemon that ends with `daemons`, and with this process however that ends."""
    whole = ["setpriv", "--pdeathsig", "TERM", *command]
    with open(folder / f"{command[0]}.log", "wb") as log:
        process = subprocess.Popen(whole, env={**os.environ, "PATH": PATH}, stdout=log, stderr=log)
    daemons.callback(_stop, process)


def _stop(process: subprocess.Popen) -> None:
    process.terminate()
    try:
        process.wait(timeout=20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _end_jobs(slurm: Slurm) -> None:
    with contextlib.suppress(subprocess.SubprocessError):
        slurm.call("scancel", "--state=PENDING", "--me")
        slurm.call("scancel", "--me")
        until = time.monotonic() + 30
        while slurm.call("squeue", "--noheader") and time.monotonic() < until:
            time.sleep(0.2)


def _wait_for(ready, folder: Path, seconds: float = 30) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        with contextlib.suppress(subprocess.SubprocessError):
            if ready():
                return
        time.sleep(0.1)
    logs = {path.name: path.read_text(errors="replace").splitlines()[-3:] for path in sorted(folder.glob("*.log"))}
    raise CannotStart(f"SLURM was not ready in {seconds:.0f} seconds: {logs}")
