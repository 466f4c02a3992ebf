# SPDX-License-Identifier: Apache-2.0
"""The start of processes by a rank table, translated into that by msrun, as MindSpore 2.10 refuses the former.

ModelArts starts one process per device with RANK_TABLE_FILE, RANK_SIZE, RANK_ID and ASCEND_DEVICE_ID.  Each of them
takes the variables of msrun in their place, and no rank sees the table.
"""

import os
import subprocess
import sys

from src.common.errors import UserError
from src.distributed.environment import (
    DEFAULT_TIMEOUT_SECONDS,
    TIMEOUT_VARIABLE,
    Address,
    Launcher,
    Node,
    read_launcher,
    read_master,
    replace_launcher,
    variables_of_scheduler,
    variables_of_worker,
    without_launcher,
)
from src.distributed.rank_guard import end_with_parent
from src.distributed.rank_table import RankTable, read_rank_table
from src.distributed.scheduler import DEFAULT_PORT, check_port, find_host
from src.distributed.table_node import find_devices, node_of


def start_as_msrun(launcher: Launcher) -> tuple[Launcher, subprocess.Popen | None]:
    """Turn this process, which a Launcher has started by rank table, into a rank of msrun.

    Return its new Launcher, which is that of its environment from now on, and the scheduler, which rank 0 starts.
    UserError if the table is faulty or contradicts the variables of the launcher, or if its address is unusable.
    """
    rank, count = launcher.rank, launcher.count
    if rank is None or launcher.rank_table is None:
        raise ValueError(f"{launcher.kind} is no launcher by rank table")
    try:
        table = _read_table(launcher.rank_table.value, count)
        node_rank, local_rank = divmod(rank, table.devices_per_server)
        node = read_master(node_of(table, node_rank))
        devices = _find_devices(launcher, table, node, local_rank)
        address = _find_address(node, serves=rank == 0)
    except UserError as error:
        raise UserError(f"{error}; or start the processes with msrun, in ModelArts by MA_RUN_METHOD=msrun") from error
    scheduler = None
    if rank == 0:
        # As msrun sets it: nobody can tell by their environments of now that the ranks are workers of this scheduler.
        timeout = {TIMEOUT_VARIABLE: str(DEFAULT_TIMEOUT_SECONDS)}
        scheduler = _start_scheduler(timeout | without_launcher() | devices | variables_of_scheduler(address, count))
    replace_launcher(devices | variables_of_worker(address, count, rank, local_rank))
    return read_launcher(), scheduler


def _read_table(path: str, rank_count: int) -> RankTable:
    """Return the RankTable of this many ranks."""
    table = read_rank_table(path)
    if table.rank_count != rank_count:
        raise UserError(
            f"{path}: the nodes have {table.rank_count} devices, RANK_SIZE says {rank_count}; correct one of them"
        )
    return table


def _find_devices(launcher: Launcher, table: RankTable, node: Node, local_rank: int) -> dict[str, str]:
    """Return the variable by which rank number `local_rank` of a node takes the device that its Launcher means."""
    _check_order(table)
    device_id, device_ids = launcher.device_id(0), table.servers[node.rank].device_ids
    if device_id not in (local_rank, device_ids[local_rank]):
        raise UserError(
            f"{launcher.device}: {table.path} has device_id {device_ids[local_rank]} for rank {launcher.rank}, which "
            f"is number {local_rank} of its node; correct it to one of these"
        )
    # ModelArts numbers the devices of a container from 0, whatever their ids in the table, and so does MindSpore.
    return {} if device_id == local_rank else find_devices(table, node)


def _check_order(table: RankTable) -> None:
    """Raise UserError if an id can be the number of another device, so that two ranks could take the same one.

    All ranks read the same table, so all of them end at once.
    """
    for index, server in enumerate(table.servers):
        for number, (device_id, visible_id) in enumerate(zip(server.device_ids, sorted(server.device_ids))):
            if device_id == number != visible_id:
                raise UserError(
                    f"{table.path}: server_list[{index}] has the device_ids {', '.join(map(str, server.device_ids))} "
                    f"in the order of the ranks: {number} may be an id or the number of another device in a container; "
                    "let them ascend"
                )


def _find_address(node: Node, *, serves: bool) -> Address:
    """Return the address for the scheduler.  serves: it will be started on this host, and must be able to listen."""
    address = Address(node.master_host, node.master_port or DEFAULT_PORT)
    find_host(address, node.master_name)
    if serves:
        check_port(address, node.master_name, "MASTER_PORT")
    return address


def _start_scheduler(environment: dict[str, str]) -> subprocess.Popen:
    """Start the scheduler as msrun does: by the command line of the ranks.  It ends when this process does.

    In a session of its own, it does not receive Ctrl-C: it has to serve until the ranks have saved their work.
    """
    command, parent = [sys.executable, *sys.orig_argv[1:]], os.getpid()
    return subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, start_new_session=True,
        preexec_fn=lambda: end_with_parent(parent),  # noqa: PLW1509
    )  # fmt: skip
