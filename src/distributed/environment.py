# SPDX-License-Identifier: Apache-2.0
"""Environment variables of launchers: the only module that reads them, and that sets them for other processes.

msrun, or a script in its place, sets MS_* for each process; mpirun sets OMPI_COMM_WORLD_*; launchers that use a rank
table, as ModelArts does, set RANK_TABLE_FILE, RANK_SIZE, RANK_ID and DEVICE_ID or ASCEND_DEVICE_ID.  Users of scripts/
set NODE_NUM, NODE_RANK, MASTER_ADDR and MASTER_PORT.  Variables may also be left over from something else: those that
have no effect are ignored, and an empty one counts as unset.
"""

import os
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass

from src.common.errors import UserError

MSRUN, MPIRUN, RANK_TABLE = "msrun", "mpirun", "rank table"
WORKER, SCHEDULER = "MS_WORKER", "MS_SCHED"
OMPI_PREFIX = "OMPI_"  # of all variables of OpenMPI
OMPI_RANK = "OMPI_COMM_WORLD_RANK"
RANK_VARIABLES = ("RANK_SIZE", "RANK_ID", "DEVICE_ID")  # of every launcher
VARIABLES = {  # that tell the launchers apart
    MSRUN: ("MS_ROLE", "MS_SCHED_HOST", "MS_SCHED_PORT", "MS_WORKER_NUM", "MS_NODE_ID"),
    RANK_TABLE: ("RANK_TABLE_FILE", "MINDSPORE_HCCL_CONFIG_PATH"),
}
LAUNCHER_VARIABLES = (*RANK_VARIABLES, *VARIABLES[MSRUN], *VARIABLES[RANK_TABLE], "ASCEND_DEVICE_ID")
TIMEOUT_VARIABLE, DEFAULT_TIMEOUT_SECONDS = "MS_TOPO_TIMEOUT", 600  # MindSpore's; msrun sets it to 600, too
LARGEST_PORT = 65535
HOW_TO_RUN_ALONE = "unset it to run alone"


@dataclass(frozen=True)
class Address:
    """A host, by name or number, and a port."""

    host: str
    port: int

    def __str__(self):
        return f"{self.host}:{self.port}"


@dataclass(frozen=True)
class Variable:
    """An environment variable and its value."""

    name: str
    value: str

    def __str__(self):
        return f"{self.name}={self.value}"


@dataclass(frozen=True)
class Timeout:
    """For how many seconds, possibly infinity, processes wait for each other.  is_default: the user has not set it."""

    seconds: float = DEFAULT_TIMEOUT_SECONDS
    is_default: bool = True

    def __str__(self):
        limit = f"at most {self.seconds} s" if self.seconds < float("inf") else "no limit"
        return f"{limit} ({TIMEOUT_VARIABLE})"


@dataclass(frozen=True)
class Launcher:
    """The launcher that has started this process, and the rank of the process in its job.

    kind: MSRUN, MPIRUN or RANK_TABLE; None if the process runs alone.  rank: 0 to count - 1; None if it is not known
    before the processes have met.  device: the variable that holds the device id, None if there is none.
    scheduler: the address at which the processes of MSRUN meet.  is_scheduler: whether this process serves there.
    rank_table: path of the file, of RANK_TABLE only.  timeout: for which the processes wait for each other.
    """

    kind: str | None = None
    rank: int | None = 0
    count: int = 1
    device: Variable | None = None
    scheduler: Address | None = None
    is_scheduler: bool = False
    rank_table: str | None = None
    timeout: Timeout = Timeout()

    def device_id(self, default: int) -> int | None:
        """Return the id of the device, None if MindSpore chooses it.  default: the id if no launcher gives one."""
        if self.kind == MSRUN:
            return None
        if self.device is None:
            return default
        if not self.device.value.isdecimal():
            raise UserError(f"{self.device}: must be the number of one device; set it to that, or unset it")
        return int(self.device.value)


ALONE = Launcher()


@dataclass(frozen=True)
class Node:
    """One machine of a job: number `rank` of `count`.

    master_host, master_port: where the scheduler listens, on the first node; port None: any that is free.
    """

    rank: int = 0
    count: int = 1
    master_host: str = "127.0.0.1"
    master_port: int | None = None


def read_launcher(environment: Mapping[str, str] = os.environ) -> Launcher:
    """Return the Launcher of a process with this environment; UserError names a missing or invalid variable."""
    given = _given(environment)
    if "MS_ROLE" in given:
        return _read_msrun(given)
    if "MS_SCHED_HOST" in given:  # MindSpore would take the process for one of several
        raise UserError(
            f"MS_SCHED_HOST={given['MS_SCHED_HOST']} is set, but MS_ROLE is not: {HOW_TO_RUN_ALONE}, or start the "
            "processes with msrun"
        )
    if _number(given, "OMPI_COMM_WORLD_SIZE", 1, least=1) > 1:
        return _read_mpirun(given)
    if "RANK_TABLE_FILE" in given and _number(given, "RANK_SIZE", 1, least=1) > 1:
        return _read_rank_table(given)
    return Launcher(device=_first(given, "ASCEND_DEVICE_ID"))


def clear_other_launchers(launcher: Launcher, environment: MutableMapping[str, str] = os.environ) -> None:
    """Remove the variables that would make MindSpore assume another Launcher than this one, and the empty ones.

    With RANK_TABLE_FILE left over, for example, MindSpore would not number the devices of this node from 0.
    """
    unwanted = [name for kind, names in VARIABLES.items() if kind != launcher.kind for name in names]
    unwanted += [name for name in environment if name.startswith(OMPI_PREFIX) and launcher.kind != MPIRUN]
    unwanted += [name for name in LAUNCHER_VARIABLES if not environment.get(name, "").strip()]
    unwanted += RANK_VARIABLES if launcher.kind is None else ()
    for name in unwanted:
        environment.pop(name, None)


def without_launcher(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return a copy of the environment without the variables of launchers."""
    return {
        name: value
        for name, value in environment.items()
        if name not in LAUNCHER_VARIABLES and not name.startswith(OMPI_PREFIX)
    }


def variables_of_single_process() -> dict[str, str]:
    """Return the variables to set for a process that runs alone; its supervisor knows it by them."""
    return {"RANK_ID": "0"}


def variables_of_rank_table(path: os.PathLike | str, rank: int, count: int, device_id: int) -> dict[str, str]:
    """Return the variables to set for a rank that is started by a rank table."""
    return {"RANK_TABLE_FILE": str(path), "RANK_SIZE": str(count), "RANK_ID": str(rank), "DEVICE_ID": str(device_id)}


def find_rank(environment: Mapping[str, str] = os.environ) -> int | None:
    """Return the rank of a process with this environment; None if no launcher has set it."""
    rank = environment.get(OMPI_RANK) or environment.get("RANK_ID") or ""
    return int(rank) if rank.isdecimal() else None


def is_scheduler(environment: Mapping[str, str]) -> bool:
    """Tell whether a process with this environment is the scheduler that msrun starts in addition to the ranks."""
    return environment.get("MS_ROLE") == SCHEDULER


def has_role(environment: Mapping[str, str], role: str, port: int) -> bool:
    """Tell whether a process with this environment is a WORKER or SCHEDULER, as `role` says, at a port."""
    return environment.get("MS_ROLE") == role and environment.get("MS_SCHED_PORT") == str(port)


def read_timeout(environment: Mapping[str, str] = os.environ) -> Timeout:
    """Return the Timeout that MS_TOPO_TIMEOUT sets; a negative number stands for no limit."""
    text = environment.get(TIMEOUT_VARIABLE)
    if not text:
        return Timeout()
    try:
        seconds = int(text)
    except ValueError:
        raise UserError(f"{TIMEOUT_VARIABLE}={text}: must be a whole number of seconds; -1 for no limit") from None
    return Timeout(seconds if seconds >= 0 else float("inf"), is_default=False)


def set_joining_defaults(launcher: Launcher, environment: MutableMapping[str, str] = os.environ) -> None:
    """Set how long and how verbosely MindSpore joins other processes, unless the user has set it.

    The guard of a scheduler reads its messages about connections; those of other processes would hide the rest.
    """
    log_level = 2 if launcher.is_scheduler else 3
    defaults = {TIMEOUT_VARIABLE: str(DEFAULT_TIMEOUT_SECONDS), "MS_SUBMODULE_LOG_v": f"{{DISTRIBUTED:{log_level}}}"}
    for name, value in defaults.items():
        environment[name] = environment.get(name) or value


def read_node(environment: Mapping[str, str] = os.environ) -> Node:
    """Return the Node that NODE_NUM, NODE_RANK, MASTER_ADDR and MASTER_PORT describe; UserError if they are invalid."""
    given = _given(environment)
    count = _number(given, "NODE_NUM", 1, least=1)
    both = f"NODE_NUM is {count}; set both, or unset both to run alone"
    rank = _number(given, "NODE_RANK", largest=count - 1, fix=both)
    port = None
    if "MASTER_PORT" in given:
        port = _number(given, "MASTER_PORT", least=1, largest=LARGEST_PORT, fix="unset it for the default")
    return Node(rank, count, given.get("MASTER_ADDR", Node.master_host), port)


def _given(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that are not empty."""
    return {name: value.strip() for name, value in environment.items() if value.strip()}


def _read_msrun(given: Mapping[str, str]) -> Launcher:
    role = given["MS_ROLE"]
    if role not in (WORKER, SCHEDULER):
        raise UserError(f"MS_ROLE={role}: msrun sets it to {WORKER} or {SCHEDULER}; {HOW_TO_RUN_ALONE}")
    _need(given, "MS_ROLE", ["MS_SCHED_HOST", "MS_SCHED_PORT", "MS_WORKER_NUM"], "start the processes with msrun")
    count = _number(given, "MS_WORKER_NUM", least=1)
    port = _number(given, "MS_SCHED_PORT", least=1, largest=LARGEST_PORT)
    node_id = given.get("MS_NODE_ID", "")
    if node_id.isdecimal() and int(node_id) >= count:
        raise UserError(f"MS_NODE_ID={node_id}: MS_WORKER_NUM={count} allows 0 to {count - 1}; {HOW_TO_RUN_ALONE}")
    rank = int(node_id) if node_id.isdecimal() else find_rank({"RANK_ID": given.get("RANK_ID", "")})
    scheduler = Address(given["MS_SCHED_HOST"], port)
    return Launcher(
        MSRUN, rank, count, scheduler=scheduler, is_scheduler=role == SCHEDULER, timeout=read_timeout(given)
    )


def _read_mpirun(given: Mapping[str, str]) -> Launcher:
    size, local_rank = "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK"
    _need(given, size, [OMPI_RANK, local_rank], "start the processes with mpirun")
    _number(given, local_rank)
    rank, count, device = _number(given, OMPI_RANK), _number(given, size), _first(given, local_rank)
    return Launcher(MPIRUN, rank, count, device=device, timeout=read_timeout(given))


def _read_rank_table(given: Mapping[str, str]) -> Launcher:
    _need(given, "RANK_TABLE_FILE", ["RANK_ID"], "start the processes with msrun")
    count = _number(given, "RANK_SIZE")
    rank = _number(given, "RANK_ID", largest=count - 1)
    device, table = _first(given, "DEVICE_ID", "ASCEND_DEVICE_ID"), given["RANK_TABLE_FILE"]
    if device is None:
        raise UserError(
            f"RANK_TABLE_FILE={table} and RANK_SIZE={count} are set, but neither DEVICE_ID nor ASCEND_DEVICE_ID: unset "
            "RANK_TABLE_FILE to run alone, or set DEVICE_ID to the device of this rank"
        )
    return Launcher(RANK_TABLE, rank, count, device=device, rank_table=table)


def _need(given: Mapping[str, str], name: str, others: Sequence[str], fix: str) -> None:
    for other in others:
        if other not in given:
            raise UserError(f"{name}={given[name]} is set, but {other} is not: unset {name} to run alone, or {fix}")


def _first(given: Mapping[str, str], *names: str) -> Variable | None:
    return next((Variable(name, given[name]) for name in names if name in given), None)


def _number(
    given: Mapping[str, str],
    name: str,
    default: int = 0,
    *,
    least: int = 0,
    largest: int | None = None,
    fix: str = HOW_TO_RUN_ALONE,
) -> int:
    """Return a variable's whole number; UserError, which tells the fix, if it is none or out of bounds."""
    text = given.get(name, str(default))
    if not text.isascii() or not text.isdecimal() or int(text) < least or (largest is not None and int(text) > largest):
        bounds = f"from {least} to {largest}" if largest is not None else f"of at least {least}"
        raise UserError(f"{name}={text}: must be a whole number {bounds}; {fix}")
    return int(text)
