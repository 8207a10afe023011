"""A SLURM of one machine for tests: real slurmctld and slurmd in one folder, started in a second.

No systemd, cgroups, munge, accounting database or configuration outside the folder. More CPUs than
the machine has may be declared, and GPUs that are character devices, so placement can be tested.
A job in the partition "urgent" makes those in "main" end within 40 seconds, where it needs room.

    with MiniSlurm(folder, num_cpus=4) as slurm:
        subprocess.run(["srun", "hostname"], env={**os.environ, **slurm.environment})
"""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import psutil

BINARIES = ("slurmctld", "slurmd", "srun", "sbatch", "squeue", "scontrol", "scancel", "sinfo")
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random")  # stand in for GPUs
START_S, END_S = 20.0, 10.0
REQUEUED_S = 150.0  # a time limit of two minutes, and what comes before it is seen to end

CONFIG = """
ClusterName=mini
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/none
CredType=cred/none
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=1,sched_interval=1,batch_sched_delay=0
ReturnToService=2
SwitchType=switch/none
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SlurmctldParameters=node_reg_mem_percent=1
SlurmdParameters=config_overrides
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
JobCompType=jobcomp/none
KillWait=2
JobRequeue=0
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs={num_cpus} RealMemory=16000 Gres=gpu:{num_gpus}
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP PriorityTier=1 GraceTime=40
PartitionName=urgent Nodes={host} MaxTime=INFINITE State=UP PriorityTier=2 PreemptMode=OFF
"""


def missing_binaries() -> list[str]:
    """The SLURM commands that are not installed."""
    return [name for name in BINARIES if shutil.which(name) is None]


class MiniSlurm:
    """Context manager; `environment` makes SLURM's commands talk to this one."""

    def __init__(self, folder: Path, *, num_cpus: int, num_gpus: int = 2) -> None:
        self.folder = folder.resolve()
        self.num_cpus, self.num_gpus = num_cpus, num_gpus
        self.environment = {"SLURM_CONF": str(self.folder / "slurm.conf")}
        self.daemons: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> "MiniSlurm":
        for name in ("state", "spool"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        config = CONFIG.format(
            host=socket.gethostname().split(".")[0],
            user=pwd.getpwuid(os.geteuid()).pw_name,
            folder=self.folder,
            controller_port=_free_port(),
            node_port=_free_port(),
            num_cpus=self.num_cpus,
            num_gpus=self.num_gpus,
        )
        (self.folder / "slurm.conf").write_text(config)
        gpus = [f"Name=gpu File={device}\n" for device in DEVICES[: self.num_gpus]]
        (self.folder / "gres.conf").write_text("AutoDetect=off\n" + "".join(gpus))
        try:
            self._start("slurmctld")
            self._start("slurmd")
            self._wait_until_idle()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self._cancel_jobs()
        finally:
            self._stop()

    def run(self, *command: str) -> str:
        """The standard output of one of SLURM's commands."""
        environment = {**os.environ, **self.environment}
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=20
        ).stdout

    def restart_controller(self, away_s: float) -> None:
        """Stop slurmctld, and start it from its saved state `away_s` seconds later."""
        controller = self.daemons.pop(0)
        controller.terminate()
        controller.wait(20)
        time.sleep(away_s)
        self._start("slurmctld", "-D")
        self.daemons.insert(0, self.daemons.pop())

    def go_on(self) -> None:
        """Have the one job start now that was, or will be, put back into the queue for a while."""
        deadline = time.monotonic() + REQUEUED_S
        while time.monotonic() < deadline:
            waiting = self.run("squeue", "--noheader", "--array", "--format=%i %r").split()
            if waiting[1:] in (["BeginTime"], ["(BeginTime)"]):
                # A node refuses a job that it was told to end within the same second.
                self.run("scontrol", "update", f"jobid={waiting[0]}", "StartTime=now+2seconds")
                return
            time.sleep(0.1)
        raise RuntimeError(self.run("squeue"))

    def _start(self, daemon: str, *options: str) -> None:
        with (self.folder / f"{daemon}.out").open("wb") as out:
            self.daemons.append(
                subprocess.Popen(
                    [daemon, *(options or ("-D", "-c"))],
                    env={**os.environ, **self.environment},
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            )

    def _wait_until_idle(self) -> None:
        deadline = time.monotonic() + START_S
        while set(self.run("sinfo", "--noheader", "--format=%T").split()) != {"idle"}:
            died = any(daemon.poll() is not None for daemon in self.daemons)
            if died or time.monotonic() > deadline:
                logs = [path.read_text()[-2000:] for path in sorted(self.folder.glob("*.out"))]
                raise RuntimeError("SLURM did not start:\n" + "\n".join(logs))
            time.sleep(0.05)

    def _cancel_jobs(self) -> None:
        """End all jobs, and wait until none is left or `END_S` have passed."""
        self.run("scancel", f"--user={os.geteuid()}")
        deadline = time.monotonic() + END_S
        while self.run("squeue", "--noheader").strip() and time.monotonic() < deadline:
            time.sleep(0.1)

    def _stop(self) -> None:
        """End the daemons, and the managers of job steps, which outlive slurmd, with their jobs."""
        for daemon in reversed(self.daemons):
            if daemon.poll() is None:
                daemon.send_signal(signal.SIGTERM)
        for daemon in reversed(self.daemons):
            try:
                daemon.wait(5)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        managers = [process for process in psutil.process_iter() if self._manages_a_step(process)]
        for manager in managers:
            with suppress(psutil.NoSuchProcess):
                for process in (*manager.children(recursive=True), manager):
                    process.kill()

    def _manages_a_step(self, process: psutil.Process) -> bool:
        """Tell whether it is a slurmstepd of this SLURM: it has a file of `folder` open."""
        with suppress(psutil.Error, OSError):
            if process.name() == "slurmstepd":
                opened = Path(f"/proc/{process.pid}/fd").iterdir()
                return any(link.readlink().is_relative_to(self.folder) for link in opened)
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
