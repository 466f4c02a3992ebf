# SPDX-License-Identifier: Apache-2.0
"""What launchers of several processes tell each of them, by environment variables.

msrun, or a script that does as msrun does, sets MS_*; mpirun sets OMPI_COMM_WORLD_*; who starts ranks by a rank table,
as ModelArts does, sets RANK_TABLE_FILE, RANK_SIZE, RANK_ID and DEVICE_ID or ASCEND_DEVICE_ID.  Variables may also be
left over from something else: those that cannot matter are ignored, and an empty one counts as unset.
"""

import dataclasses

from src.common.errors import UserError

MSRUN, MPIRUN, RANK_TABLE = "msrun", "mpirun", "rank table"
WORKER, SCHEDULER = "MS_WORKER", "MS_SCHED"
OMPI = "OMPI_"  # how all variables of OpenMPI begin
RANK_VARIABLES = ("RANK_SIZE", "RANK_ID", "DEVICE_ID")  # of every launcher
VARIABLES = {  # by which the others can be told apart
    MSRUN: ("MS_ROLE", "MS_SCHED_HOST", "MS_SCHED_PORT", "MS_WORKER_NUM", "MS_NODE_ID"),
    RANK_TABLE: ("RANK_TABLE_FILE", "MINDSPORE_HCCL_CONFIG_PATH"),
}
ALL_VARIABLES = (*RANK_VARIABLES, *VARIABLES[MSRUN], *VARIABLES[RANK_TABLE], "ASCEND_DEVICE_ID")
LARGEST_PORT = 65535
HOW_TO_RUN_ALONE = "unset it to run alone"


@dataclasses.dataclass(frozen=True)
class Launcher:
    """What has started this process.

    kind: MSRUN, MPIRUN or RANK_TABLE, None if the process is alone.  rank: from 0 to count - 1; None if it is not known
    before the ranks have met.  device: the variable that names the card, and its text; None if there is none.
    scheduler: the host and the port where the processes of MSRUN meet.  is_scheduler: whether this one serves there.
    """

    kind: str | None = None
    rank: int | None = 0
    count: int = 1
    device: tuple | None = None
    scheduler: tuple | None = None
    is_scheduler: bool = False

    def device_id(self, wanted):
        """Return the id of the card, None if MindSpore is to choose.  wanted: what a process that is alone takes."""
        if self.kind == MSRUN:
            return None
        if self.device is None:
            return wanted
        name, text = self.device
        if not text.isdecimal():
            raise UserError(f"{name}={text}: must be the number of one card; set it to that, or unset it")
        return int(text)

    @property
    def address(self):
        """The host and the port of the scheduler, as one writes them."""
        return "{}:{}".format(*self.scheduler)


ALONE = Launcher()


def read_launcher(environment):
    """Return the Launcher of a process with this environment; UserError names what is missing or cannot be."""
    given = {name: value.strip() for name, value in environment.items() if value.strip()}
    if "MS_ROLE" in given:
        return _read_msrun(given)
    if "MS_SCHED_HOST" in given:  # for MindSpore the process then is one of several
        raise UserError(
            f"MS_SCHED_HOST={given['MS_SCHED_HOST']} is set, but MS_ROLE is not: {HOW_TO_RUN_ALONE}, or start the "
            "processes with msrun"
        )
    if _number(given, "OMPI_COMM_WORLD_SIZE", 1, least=1) > 1:
        return _read_mpirun(given)
    if "RANK_TABLE_FILE" in given and _number(given, "RANK_SIZE", 1, least=1) > 1:
        return _read_rank_table(given)
    return Launcher(device=_first(given, "ASCEND_DEVICE_ID"))


def clear_others(environment, launcher):
    """Remove what could make MindSpore believe in another Launcher than this one, and what is empty."""
    unwanted = [name for kind, names in VARIABLES.items() if kind != launcher.kind for name in names]
    unwanted += [name for name in environment if name.startswith(OMPI) and launcher.kind != MPIRUN]
    unwanted += [name for name in ALL_VARIABLES if not environment.get(name, "").strip()]
    unwanted += RANK_VARIABLES if launcher.kind is None else ()
    for name in unwanted:
        environment.pop(name, None)


def without_launcher(environment):
    """Return the environment, a dict, without what launchers set."""
    return {
        name: value for name, value in environment.items() if name not in ALL_VARIABLES and not name.startswith(OMPI)
    }


def find_rank(environment):
    """Return which rank a process with this environment is; None if nothing has told it."""
    rank = environment.get("OMPI_COMM_WORLD_RANK") or environment.get("RANK_ID") or ""
    return int(rank) if rank.isdecimal() else None


def is_scheduler(environment):
    """Tell whether a process with this environment is the scheduler that msrun starts beside the ranks."""
    return environment.get("MS_ROLE") == SCHEDULER


def _read_msrun(given):
    role = given["MS_ROLE"]
    if role not in (WORKER, SCHEDULER):
        raise UserError(f"MS_ROLE={role}: msrun sets it to {WORKER} or {SCHEDULER}; {HOW_TO_RUN_ALONE}")
    for name in ("MS_SCHED_HOST", "MS_SCHED_PORT", "MS_WORKER_NUM"):
        if name not in given:
            raise UserError(
                f"MS_ROLE={role} is set, but {name} is not: unset MS_ROLE to run alone, or start the processes with "
                "msrun"
            )
    count = _number(given, "MS_WORKER_NUM", least=1)
    port = _number(given, "MS_SCHED_PORT", least=1, largest=LARGEST_PORT)
    node = given.get("MS_NODE_ID", "")
    if node.isdecimal() and int(node) >= count:
        raise UserError(f"MS_NODE_ID={node}: MS_WORKER_NUM={count} allows 0 to {count - 1}; {HOW_TO_RUN_ALONE}")
    rank = int(node) if node.isdecimal() else find_rank({"RANK_ID": given.get("RANK_ID", "")})
    return Launcher(MSRUN, rank, count, None, (given["MS_SCHED_HOST"], port), role == SCHEDULER)


def _read_mpirun(given):
    size = "OMPI_COMM_WORLD_SIZE"
    _need(given, size, ["OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_LOCAL_RANK"], "start the processes with mpirun")
    count, rank = _number(given, size), _number(given, "OMPI_COMM_WORLD_RANK")
    _number(given, "OMPI_COMM_WORLD_LOCAL_RANK")
    return Launcher(MPIRUN, rank, count, _first(given, "OMPI_COMM_WORLD_LOCAL_RANK"))


def _read_rank_table(given):
    _need(given, "RANK_TABLE_FILE", ["RANK_ID"], "start the processes with msrun")
    count = _number(given, "RANK_SIZE")
    rank = _number(given, "RANK_ID", largest=count - 1)
    device = _first(given, "DEVICE_ID", "ASCEND_DEVICE_ID")
    if device is None:
        raise UserError(
            f"RANK_TABLE_FILE={given['RANK_TABLE_FILE']} and RANK_SIZE={count} are set, but neither DEVICE_ID nor "
            "ASCEND_DEVICE_ID: unset RANK_TABLE_FILE to run alone, or set DEVICE_ID to the card of this rank"
        )
    return Launcher(RANK_TABLE, rank, count, device)


def _need(given, name, others, way):
    for other in others:
        if other not in given:
            raise UserError(f"{name}={given[name]} is set, but {other} is not: unset {name} to run alone, or {way}")


def _first(given, *names):
    return next(((name, given[name]) for name in names if name in given), None)


def _number(given, name, default=0, least=0, largest=None):
    """Return a whole number that a variable holds."""
    text = given.get(name, str(default))
    if not text.isascii() or not text.isdecimal() or int(text) < least or (largest is not None and int(text) > largest):
        bounds = f"from {least} to {largest}" if largest is not None else f"of at least {least}"
        raise UserError(f"{name}={text}: must be a whole number {bounds}; {HOW_TO_RUN_ALONE}")
    return int(text)
