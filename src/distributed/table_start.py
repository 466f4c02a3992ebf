# SPDX-License-Identifier: Apache-2.0
"""The start by a rank table, translated into that by msrun, as MindSpore 2.10 refuses the former.

Two launchers give a table: a user of run_distribute_train.sh, and ModelArts, which starts one process per device with
RANK_TABLE_FILE, RANK_SIZE, RANK_ID and ASCEND_DEVICE_ID.  No rank sees the table.
"""

import os
import subprocess
import sys

from src.common.errors import UserError
from src.distributed.environment import (
    DEFAULT_TIMEOUT_SECONDS,
    TIMEOUT_VARIABLE,
    VISIBLE_DEVICES,
    Address,
    Launcher,
    Node,
    choose_devices,
    has_node_rank,
    read_launcher,
    read_master,
    read_node,
    replace_launcher,
    variables_of_scheduler,
    variables_of_worker,
    without_launcher,
)
from src.distributed.rank_guard import end_with_parent
from src.distributed.rank_table import RankTable, read_rank_table
from src.distributed.scheduler import DEFAULT_PORT, check_port, is_own_address


def find_node(table: RankTable, device_num: int) -> Node:
    """Return the Node that this host is; UserError if DEVICE_NUM or the user's variables contradict the rank table.

    Without NODE_RANK the node is found by its address.  MASTER_ADDR takes precedence over the table.
    """
    path, count, devices = table.path, len(table.servers), table.devices_per_server
    if devices != device_num:
        raise UserError(f"{path}: server_list[0] has {devices} devices, DEVICE_NUM says {device_num} per node")
    own = [rank for rank, server in enumerate(table.servers) if count == 1 or is_own_address(server.host)]
    node = read_node(default=Node(own[0] if own else 0, count, table.master_host))
    if node.count != count:
        raise UserError(f"{path}: server_list has {count} nodes, NODE_NUM says {node.count}")
    if not has_node_rank() and len(own) != 1:
        raise UserError(
            f"{path}: {len(own)} of the {count} server_ids are addresses of this host; set NODE_RANK to the place of "
            "this node in server_list, counted from 0"
        )
    if own and node.rank not in own:
        raise UserError(f"NODE_RANK={node.rank}: {path} names this host as node {own[0]}; correct one of them")
    if count > 1 and node.master_host != table.master_host:
        print(
            f"note: MASTER_ADDR={node.master_host} takes precedence over the server_id {table.master_host} in {path}",
            flush=True,
        )
    return node


def find_devices(table: RankTable, node: Node) -> dict[str, str]:
    """Return the variable that makes the ranks of a Node take the devices of the rank table; say so if they cannot."""
    device_ids = table.servers[node.rank].device_ids
    variables = choose_devices(device_ids)
    wanted, chosen = ",".join(map(str, device_ids)), variables[VISIBLE_DEVICES]
    if chosen != wanted:
        print(
            f"note: the ranks of this node take the devices {chosen}, not {wanted} as in {table.path}: "
            f"{VISIBLE_DEVICES} must ascend, and takes precedence if it is set",
            flush=True,
        )
    return variables


def start_as_msrun(launcher: Launcher) -> tuple[Launcher, subprocess.Popen | None]:
    """Turn this process, which a Launcher has started by rank table, into a rank of msrun.

    Return its new Launcher, which is that of its environment from now on, and the scheduler, which rank 0 starts.
    UserError if the table is faulty or contradicts the variables of the launcher.
    """
    rank, count, device_id = launcher.rank, launcher.count, launcher.device_id(0)
    if rank is None or launcher.rank_table is None:
        raise ValueError(f"{launcher.kind} is no launcher by rank table")
    try:
        table = read_rank_table(launcher.rank_table.value)
        if table.rank_count != count:
            raise UserError(f"{table.path}: the nodes have {table.rank_count} devices, RANK_SIZE says {count}")
    except UserError as error:
        raise UserError(f"{error}; start the processes with msrun, in ModelArts by MA_RUN_METHOD=msrun") from error
    node, local_rank = divmod(rank, table.devices_per_server)
    device_ids = table.servers[node].device_ids
    if device_id not in (local_rank, device_ids[local_rank]):
        raise UserError(
            f"{launcher.device}: {table.path} has device_id {device_ids[local_rank]} for rank {rank}, which is number "
            f"{local_rank} of its node; correct it to one of these"
        )
    # ModelArts numbers the devices of a container from 0, whatever their ids in the table, and so does MindSpore.
    devices = {} if device_id == local_rank else choose_devices(device_ids)
    address = read_master(Address(table.master_host, DEFAULT_PORT))
    scheduler = None
    if rank == 0:
        check_port(address, "MASTER_ADDR", "MASTER_PORT")
        # As msrun sets it: nobody can tell by their environments of now that the ranks are workers of this scheduler.
        timeout = {TIMEOUT_VARIABLE: str(DEFAULT_TIMEOUT_SECONDS)}
        scheduler = _start_scheduler(timeout | without_launcher() | devices | variables_of_scheduler(address, count))
    replace_launcher(devices | variables_of_worker(address, count, rank, local_rank))
    return read_launcher(), scheduler


def _start_scheduler(environment: dict[str, str]) -> subprocess.Popen:
    """Start the scheduler as msrun does: by the command line of the ranks.  It ends when this process does.

    In a session of its own, it does not receive Ctrl-C: it has to serve until the ranks have saved their work.
    """
    command, parent = [sys.executable, *sys.orig_argv[1:]], os.getpid()
    return subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, start_new_session=True,
        preexec_fn=lambda: end_with_parent(parent),  # noqa: PLW1509
    )  # fmt: skip
