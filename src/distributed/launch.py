# SPDX-License-Identifier: Apache-2.0
"""Start a script alone or as several ranks, and look after them: what the scripts of scripts/ do their work with.

Each rank writes to a log of its own.  NODE_NUM and NODE_RANK say how many machines there are and which one this is,
MASTER_ADDR and MASTER_PORT where their ranks find each other, MS_TOPO_TIMEOUT for how many seconds they wait (600).
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

from src.common.errors import UserError, run_main
from src.distributed.environment import LARGEST_PORT, without_launcher
from src.distributed.rank_table import read_rank_table
from src.distributed.scheduler import TIMEOUT_SECONDS, TIMEOUT_VARIABLE, check_port, find_host, is_own_address, timeout
from src.distributed.supervisor import Command, RankProcesses

PYTHON = "python"  # of the PATH, as msrun takes it
MSRUN_LOGS = pathlib.Path("msrun_log")
DEFAULT_PORT = 8118  # that of msrun


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--log", required=True, help="of a rank; {rank} stands for its number")
    parser.add_argument("--device_num", type=int, default=0, help="ranks on this machine; 0: one process alone")
    parser.add_argument("--launcher", choices=LAUNCHERS, default="msrun", help="of several ranks")
    parser.add_argument("--rank_table", help="of launcher rank_table")
    parser.add_argument("script", nargs=argparse.REMAINDER, help="and its flags")
    arguments = parser.parse_args()
    if arguments.device_num == 0:
        commands, logs = single_process(arguments.script, pathlib.Path(arguments.log), os.environ)
    else:
        cluster = Cluster(arguments.device_num, os.environ)
        logs = {rank: pathlib.Path(arguments.log.format(rank=rank)) for rank in cluster.ranks}
        commands = LAUNCHERS[arguments.launcher](arguments, cluster, logs)
    sys.exit(RankProcesses(commands, logs, MSRUN_LOGS / "scheduler.log").run())


class Cluster:
    """The machines and the ranks on this one, told by the environment."""

    def __init__(self, device_num, environment):
        # A rank gets a launcher's variables from what starts it now, not from the shell that this was called in.
        self.environment = without_launcher(environment)
        self.device_num = device_num
        self.machine_count = _number(environment, "NODE_NUM", 1)
        self.machine = _number(environment, "NODE_RANK", 0)
        if not 0 <= self.machine < self.machine_count:
            raise UserError(f"NODE_RANK={self.machine}: must be from 0 to NODE_NUM - 1, {self.machine_count - 1}")
        self.rank_count = device_num * self.machine_count
        self.ranks = range(self.machine * device_num, (self.machine + 1) * device_num)


def single_process(script, log, environment):
    """Return the command of one process that is not one of several, and its log."""
    return [Command([PYTHON, "-u", *script], {**without_launcher(environment), "RANK_ID": "0"}, log, rank=0)], {0: log}


def by_rank_table(arguments, cluster, logs):
    """Return a command for each Ascend device of this machine in the rank table."""
    path = pathlib.Path(arguments.rank_table)
    devices = read_rank_table(path, cluster.machine, cluster.machine_count, cluster.device_num)
    common = {"RANK_TABLE_FILE": str(path.resolve()), "RANK_SIZE": str(cluster.rank_count)}
    return [
        Command(
            [PYTHON, "-u", *arguments.script],
            {**cluster.environment, **common, "RANK_ID": str(rank), "DEVICE_ID": str(device)},
            logs[rank],
            rank,
        )
        for rank, device in devices
    ]


def by_msrun(arguments, cluster, logs):
    """Return the one command that starts all ranks of this machine by msrun; their logs are links to those of msrun."""
    address, port = find_scheduler(cluster)
    timeout()  # names the variable if it is wrong
    for rank, log in logs.items():
        _make_way(log)
        _make_way(MSRUN_LOGS / f"worker_{rank}.log")
        log.symlink_to(os.path.relpath(MSRUN_LOGS / f"worker_{rank}.log", log.parent))
    _make_way(MSRUN_LOGS / "scheduler.log")
    msrun = [
        "msrun", f"--worker_num={cluster.rank_count}", f"--local_worker_num={cluster.device_num}",
        f"--master_addr={address}", f"--master_port={port}", f"--node_rank={cluster.machine}",
        f"--log_dir={MSRUN_LOGS}", "--join=True",
        f"--cluster_time_out={cluster.environment.get(TIMEOUT_VARIABLE) or TIMEOUT_SECONDS}",
        f"--tail_worker_log={cluster.rank_count}",  # no such rank: it is to show the log of none
    ]  # fmt: skip
    return [Command([*msrun, PYTHON, "-u", *arguments.script], cluster.environment, MSRUN_LOGS / "msrun.log")]


def find_scheduler(cluster):
    """Return the address and the port for the scheduler; UserError unless it can be there."""
    address = cluster.environment.get("MASTER_ADDR") or "127.0.0.1"
    port = _number(cluster.environment, "MASTER_PORT", DEFAULT_PORT if cluster.machine_count > 1 else find_free_port())
    if not 0 < port <= LARGEST_PORT:
        raise UserError(f"MASTER_PORT={port}: must be from 1 to {LARGEST_PORT}")
    find_host(address, port, "MASTER_ADDR")
    if cluster.machine == 0 or is_own_address(address):  # msrun starts it where the address is
        check_port(address, port, ("MASTER_ADDR", "MASTER_PORT"))
    return address, port


def by_mpirun(arguments, cluster, logs):
    """Return the one command that starts all ranks by OpenMPI, each with its output in its log."""
    if cluster.machine_count > 1:
        raise UserError("LAUNCHER=mpirun is for one machine; several are for msrun")
    for log in logs.values():
        _make_way(log)
    log = arguments.log.format(rank="${OMPI_COMM_WORLD_RANK}")
    mpirun = ["mpirun", *(["--allow-run-as-root"] if os.getuid() == 0 else []), "-n", str(cluster.rank_count)]
    redirected = ["bash", "-c", f'exec "$@" > {log} 2>&1', "bash", PYTHON, "-u", *arguments.script]
    return [Command([*mpirun, *redirected], cluster.environment, logs[0].with_name("mpirun.log"))]


LAUNCHERS = {"msrun": by_msrun, "mpirun": by_mpirun, "rank_table": by_rank_table}


def find_free_port():
    """Return a port of this machine that nobody listens at."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def _number(environment, name, default):
    text = environment.get(name) or str(default)
    if not text.isdecimal():
        raise UserError(f"{name}={text}: must be a whole number")
    return int(text)


def _make_way(log):
    log.parent.mkdir(parents=True, exist_ok=True)
    log.unlink(missing_ok=True)


if __name__ == "__main__":
    run_main(main)
