# SPDX-License-Identifier: Apache-2.0
"""Start a script as one process or as several ranks, and supervise them: the Python side of scripts/*.sh.

Each rank writes to its own log.  NODE_NUM and NODE_RANK tell how many nodes there are and which one this is,
MASTER_ADDR and MASTER_PORT where their ranks meet, MS_TOPO_TIMEOUT for how many seconds they wait for each other (600).
A rank table tells the same: MindSpore no longer starts by it, so it is translated, and no rank sees it.
"""

import os
import sys

if __name__ == "__main__":  # started as a script: make `src` importable
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))

    from src.distributed.entry_point import enter

    enter()

import argparse
import pathlib
import socket
from collections.abc import Callable
from dataclasses import dataclass, field

from src.common.errors import UserError, run_main
from src.distributed.environment import (
    DEFAULT_TIMEOUT_SECONDS,
    OMPI_RANK,
    TIMEOUT_VARIABLE,
    Address,
    Node,
    read_node,
    read_timeout,
    variables_of_single_process,
    without_launcher,
)
from src.distributed.rank_table import read_rank_table
from src.distributed.scheduler import DEFAULT_PORT, check_port, find_host, is_own_address
from src.distributed.supervisor import Command, Supervisor
from src.distributed.table_node import find_devices, find_node

PYTHON = "python"  # of the PATH, as msrun takes it
MSRUN_LOGS = pathlib.Path("msrun_log")
SCHEDULER_LOG = MSRUN_LOGS / "scheduler.log"


@dataclass(frozen=True)
class Job:
    """A script and its flags, to be run on `device_num` devices of each node; device_num 0: as one process alone.

    log: path of a rank's log, with {rank} for its number.  environment: without the variables of launchers, which a
    rank gets from the launcher that starts it now, not from the shell.
    """

    script: list[str]
    log: str
    device_num: int = 0
    node: Node = field(default_factory=Node)
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def rank_count(self) -> int:
        """The number of ranks on all nodes."""
        return max(self.device_num, 1) * self.node.count

    @property
    def logs(self) -> dict[int, pathlib.Path]:
        """The log of each rank on this node."""
        local_count = max(self.device_num, 1)
        first = self.node.rank * local_count
        return {rank: self.log_of(rank) for rank in range(first, first + local_count)}

    def log_of(self, rank: int | str) -> pathlib.Path:
        """Return the log of a rank."""
        return pathlib.Path(self.log.replace("{rank}", str(rank)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--log", required=True, help="log file of a rank; {rank} stands for its number")
    parser.add_argument("--device_num", type=int, default=0, help="ranks on this node; 0: one process without launcher")
    parser.add_argument("--launcher", choices=LAUNCHERS, default="msrun", help="launcher of the ranks (default: msrun)")
    parser.add_argument("--rank_table", help="rank table file, for --launcher=msrun")
    parser.add_argument("script", nargs=argparse.REMAINDER, help="Python script and its flags")
    arguments = parser.parse_args()
    job = create_job(arguments.script, arguments.log, arguments.device_num, arguments.rank_table)
    start = LAUNCHERS[arguments.launcher] if job.device_num else single_process
    sys.exit(Supervisor(start(job), job.logs).run())


def create_job(script: list[str], log: str, device_num: int, rank_table: str | None) -> Job:
    """Return the Job on this node, as the variables and the rank table, if there is one, describe it."""
    environment = without_launcher()
    if not device_num:
        return Job(script, log, environment=environment)
    if rank_table is None:
        return Job(script, log, device_num, read_node(), environment)
    table = read_rank_table(rank_table)
    node = find_node(table, device_num)
    return Job(script, log, device_num, node, environment | find_devices(table, node))


def single_process(job: Job) -> Command:
    """Return the command of one process without launcher."""
    return Command([PYTHON, "-u", *job.script], job.environment | variables_of_single_process(), job.logs[0], rank=0)


def by_msrun(job: Job) -> Command:
    """Return the command that starts all ranks of this node by msrun; their logs become links to those of msrun."""
    scheduler = find_scheduler(job.node)
    read_timeout()  # names the variable if it is invalid
    for rank, log in job.logs.items():
        _remove_old(log)
        _remove_old(MSRUN_LOGS / f"worker_{rank}.log")
        log.symlink_to(os.path.relpath(MSRUN_LOGS / f"worker_{rank}.log", log.parent))
    _remove_old(SCHEDULER_LOG)
    msrun = [
        "msrun", f"--worker_num={job.rank_count}", f"--local_worker_num={job.device_num}",
        f"--master_addr={scheduler.host}", f"--master_port={scheduler.port}", f"--node_rank={job.node.rank}",
        f"--log_dir={MSRUN_LOGS}", "--join=True",
        f"--cluster_time_out={job.environment.get(TIMEOUT_VARIABLE) or DEFAULT_TIMEOUT_SECONDS}",
        f"--tail_worker_log={job.rank_count}",  # the number of no rank, so that msrun shows no log
    ]  # fmt: skip
    command = [*msrun, PYTHON, "-u", *job.script]
    return Command(command, job.environment, MSRUN_LOGS / "msrun.log", scheduler_log=SCHEDULER_LOG)


def find_scheduler(node: Node) -> Address:
    """Return the address for the scheduler; UserError if it cannot listen there."""
    port = node.master_port or (DEFAULT_PORT if node.count > 1 else find_free_port())
    scheduler = Address(node.master_host, port)
    find_host(scheduler, node.master_name)
    if node.rank == 0 or is_own_address(scheduler.host):  # msrun starts the scheduler on the host of the address
        check_port(scheduler, node.master_name, "MASTER_PORT")
    return scheduler


def by_mpirun(job: Job) -> Command:
    """Return the command that starts all ranks by OpenMPI, each with its output in its log."""
    if job.node.count > 1:
        raise UserError("LAUNCHER=mpirun is for one node; use msrun for several")
    for log in job.logs.values():
        _remove_old(log)
    mpirun = ["mpirun", *(["--allow-run-as-root"] if os.getuid() == 0 else []), "-n", str(job.rank_count)]
    redirect = f'exec "$@" > {job.log_of(f"${{{OMPI_RANK}}}")} 2>&1'
    redirected = ["bash", "-c", redirect, "bash", PYTHON, "-u", *job.script]
    return Command([*mpirun, *redirected], job.environment, job.log_of(0).with_name("mpirun.log"))


LAUNCHERS: dict[str, Callable[[Job], Command]] = {"msrun": by_msrun, "mpirun": by_mpirun}


def find_free_port() -> int:
    """Return a port of this host at which no process listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def _remove_old(log: pathlib.Path) -> None:
    """Remove the log of an earlier run; create its folder if it is missing."""
    log.parent.mkdir(parents=True, exist_ok=True)
    log.unlink(missing_ok=True)


if __name__ == "__main__":
    run_main(main)
