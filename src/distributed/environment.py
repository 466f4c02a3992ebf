# SPDX-License-Identifier: Apache-2.0
"""Environment variables of launchers: the only module that reads them, and that sets them for other processes.

msrun, or a script in its place, sets MS_* for each process; mpirun sets OMPI_COMM_WORLD_*; launchers that use a rank
table, as ModelArts does, set RANK_TABLE_FILE, RANK_SIZE, RANK_ID and DEVICE_ID or ASCEND_DEVICE_ID.  Users set
NODE_NUM, NODE_RANK, MASTER_ADDR and MASTER_PORT.  Variables may also be left over from something else: those that have
no effect are ignored, and an empty one counts as unset.
"""

import os
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field, replace

from src.common.errors import UserError

MSRUN, MPIRUN, RANK_TABLE = "msrun", "mpirun", "rank table"
WORKER, SCHEDULER = "MS_WORKER", "MS_SCHED"
OMPI_RANK = "OMPI_COMM_WORLD_RANK"
RANK_VARIABLES = ("RANK_SIZE", "RANK_ID", "DEVICE_ID")
PLATFORM_DEVICE = "ASCEND_DEVICE_ID"  # set by ModelArts in jobs, but in notebooks as well
RANK_TABLES = ("RANK_TABLE_FILE", "MINDSPORE_HCCL_CONFIG_PATH")  # the second one is MindSpore's older name
VARIABLES = {  # that each launcher sets
    MSRUN: ("MS_ROLE", "MS_SCHED_HOST", "MS_SCHED_PORT", "MS_WORKER_NUM", "MS_NODE_ID", *RANK_VARIABLES),
    MPIRUN: (),
    RANK_TABLE: (*RANK_TABLES, *RANK_VARIABLES, PLATFORM_DEVICE),
}
PREFIXES = {MSRUN: "MS_SCHED_", MPIRUN: "OMPI_"}  # of further variables
LAUNCHER_VARIABLES = tuple(sorted({name for names in VARIABLES.values() for name in names}))
VISIBLE_DEVICES = "ASCEND_RT_VISIBLE_DEVICES"  # of CANN, which numbers these devices from 0; they must ascend
TIMEOUT_VARIABLE, DEFAULT_TIMEOUT_SECONDS = "MS_TOPO_TIMEOUT", 600  # MindSpore's; msrun sets it to 600, too
OVERFLOW_MODE_VARIABLE = "MS_ASCEND_CHECK_OVERFLOW_MODE"  # MindSpore's
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
    rank_table: the variable that holds the path of the file, of RANK_TABLE only.  timeout: for which the processes wait
    for each other.
    """

    kind: str | None = None
    rank: int | None = 0
    count: int = 1
    device: Variable | None = None
    scheduler: Address | None = None
    is_scheduler: bool = False
    rank_table: Variable | None = None
    timeout: Timeout = Timeout()

    def device_id(self, flag: int) -> int | None:
        """Return the id of the device, None if MindSpore chooses it.

        flag: --device_id; if it is not 0, the user has set it, and a process that runs alone uses it.
        """
        if self.kind == MSRUN:
            return None
        if self.device is None or (self.kind is None and flag):
            return flag
        if not self.device.value.isdecimal():
            raise UserError(f"{self.device}: must be the number of one device; set it to that, or unset it")
        return int(self.device.value)


ALONE = Launcher()


@dataclass(frozen=True)
class Node:
    """One machine of a job: number `rank` of `count`.

    master_host, master_port: where the scheduler listens, on the first node; port None: any that is free.
    master_name: the variable, or the entry of a file, that sets master_host.
    """

    rank: int = 0
    count: int = 1
    master_host: str = "127.0.0.1"
    master_port: int | None = None
    master_name: str = field(default="MASTER_ADDR", compare=False)


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
    table = _first(given, *RANK_TABLES)
    if table is not None and (_number(given, "RANK_SIZE", 1, least=1) > 1 or _rank_id(given)):
        return _read_rank_table(given, table)
    return Launcher(device=_first(given, PLATFORM_DEVICE) if "RANK_ID" in given else None)


def clear_other_launchers(launcher: Launcher, environment: MutableMapping[str, str] = os.environ) -> None:
    """Remove the variables that would make MindSpore assume another Launcher than this one, and the empty ones.

    With RANK_TABLE_FILE left over, for example, MindSpore would not number the devices of this node from 0, and would
    take its deprecated graph engine for a process that runs alone.
    """
    own: tuple[str, ...] = ()
    if launcher.kind is not None:
        own = tuple(name for name in environment if _is_of(launcher.kind, name))
    elif launcher.device is not None:
        own = "RANK_ID", launcher.device.name  # with both, the device is known again
    for name in _launcher_variables(environment):
        if name not in own or not environment[name].strip():
            del environment[name]


def without_launcher(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return a copy of the environment without the variables of launchers."""
    variables = _launcher_variables(environment)
    return {name: value for name, value in environment.items() if name not in variables}


def replace_launcher(variables: Mapping[str, str], environment: MutableMapping[str, str] = os.environ) -> None:
    """Remove the variables of all launchers, and set these."""
    for name in _launcher_variables(environment):
        del environment[name]
    environment.update(variables)


def variables_of_single_process() -> dict[str, str]:
    """Return the variables to set for a process that runs alone; its supervisor knows it by them."""
    return {"RANK_ID": "0"}


def variables_of_scheduler(scheduler: Address, count: int) -> dict[str, str]:
    """Return the variables that msrun sets for the scheduler of `count` ranks."""
    return {
        "MS_ROLE": SCHEDULER, "MS_SCHED_HOST": scheduler.host, "MS_SCHED_PORT": str(scheduler.port),
        "MS_WORKER_NUM": str(count), "RANK_SIZE": str(count), "RANK_ID": "0",
    }  # fmt: skip


def variables_of_worker(scheduler: Address, count: int, rank: int, local_rank: int) -> dict[str, str]:
    """Return the variables that msrun sets for a rank.  local_rank: its number among those of its node."""
    return {
        **variables_of_scheduler(scheduler, count),
        "MS_ROLE": WORKER, "MS_NODE_ID": str(rank), "RANK_ID": str(rank), "DEVICE_ID": str(local_rank),
    }  # fmt: skip


def choose_devices(device_ids: Sequence[int], environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the variable that makes MindSpore number these devices of this host from 0, in ascending order.

    What the user has set remains, as only he knows the ids inside a container; UserError if it names fewer devices, or
    if CANN would ignore some of them.
    """
    given = environment.get(VISIBLE_DEVICES, "").strip()
    if not given:
        return {VISIBLE_DEVICES: ",".join(map(str, sorted(device_ids)))}
    otherwise = "or unset it for the devices of the rank table"
    texts = given.split(",")
    chosen = [int(text) for text in texts if text.isascii() and text.isdecimal()]
    if len(chosen) < len(texts) or chosen != sorted(set(chosen)):
        raise UserError(
            f"{VISIBLE_DEVICES}={given}: must be device ids in ascending order with commas between them; correct it, "
            f"{otherwise}"
        )
    if len(chosen) < len(device_ids):
        raise UserError(
            f"{VISIBLE_DEVICES}={given}: this node has {len(device_ids)} ranks in the rank table; name at least that "
            f"many devices, {otherwise}"
        )
    return {VISIBLE_DEVICES: given}


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


def asks_for_saturation(environment: Mapping[str, str] = os.environ) -> bool:
    """Tell whether the user wants an Ascend to end numbers that are too large at the largest one, not at infinity."""
    return environment.get(OVERFLOW_MODE_VARIABLE) == "SATURATION_MODE"


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


def read_node(environment: Mapping[str, str] = os.environ, default: Node = Node()) -> Node:
    """Return the Node that NODE_NUM, NODE_RANK, MASTER_ADDR and MASTER_PORT describe; UserError if they are invalid.

    default: of variables that are not set.
    """
    given = _given(environment)
    count, rank = _number(given, "NODE_NUM", default.count, least=1), default.rank
    if "NODE_RANK" in given:
        both = f"NODE_NUM is {count}; set both, or unset both to run alone"
        rank = _number(given, "NODE_RANK", largest=count - 1, fix=both)
    return read_master(replace(default, rank=rank, count=count), environment)


def has_node_rank(environment: Mapping[str, str] = os.environ) -> bool:
    """Tell whether the user has set NODE_RANK."""
    return "NODE_RANK" in _given(environment)


def read_master(node: Node, environment: Mapping[str, str] = os.environ) -> Node:
    """Return a Node with the address that MASTER_ADDR and MASTER_PORT set in place of its own; UserError if invalid."""
    given = _given(environment)
    if "MASTER_ADDR" in given:
        node = replace(node, master_host=given["MASTER_ADDR"], master_name="MASTER_ADDR")
    if "MASTER_PORT" in given:
        port = _number(given, "MASTER_PORT", least=1, largest=LARGEST_PORT, fix="unset it for the default")
        node = replace(node, master_port=port)
    return node


def _is_of(launcher: str, name: str) -> bool:
    return name in VARIABLES[launcher] or (launcher in PREFIXES and name.startswith(PREFIXES[launcher]))


def _launcher_variables(environment: Mapping[str, str]) -> list[str]:
    """Return the names of all variables of launchers in an environment."""
    return [name for name in environment if any(_is_of(launcher, name) for launcher in VARIABLES)]


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
    rank = int(node_id) if node_id.isdecimal() else _rank_id(given)
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


def _read_rank_table(given: Mapping[str, str], table: Variable) -> Launcher:
    _need(given, table.name, ["RANK_SIZE", "RANK_ID"], "start the processes with msrun")
    count = _number(given, "RANK_SIZE")
    rank = _number(given, "RANK_ID", largest=count - 1)
    device = _first(given, "DEVICE_ID", PLATFORM_DEVICE)
    if device is None:
        raise UserError(
            f"{table} and RANK_SIZE={count} are set, but neither DEVICE_ID nor {PLATFORM_DEVICE}: unset {table.name} "
            "to run alone, or set DEVICE_ID to the device of this rank"
        )
    return Launcher(RANK_TABLE, rank, count, device=device, rank_table=table, timeout=read_timeout(given))


def _rank_id(given: Mapping[str, str]) -> int | None:
    return find_rank({"RANK_ID": given.get("RANK_ID", "")})


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
