# SPDX-License-Identifier: Apache-2.0
"""A node of a rank table: which one this host is, where its ranks meet, and which devices they take.

The variables that the user has set take precedence over the table; where they contradict it, they are refused.
"""

from src.common.errors import UserError
from src.distributed.environment import VISIBLE_DEVICES, Node, choose_devices, has_node_rank, read_node
from src.distributed.rank_table import RankTable
from src.distributed.scheduler import is_own_address


def node_of(table: RankTable, rank: int) -> Node:
    """Return the Node that is number `rank` in a table, as the table describes it."""
    return Node(rank, len(table.servers), table.master_host, master_name=f"{table.path}: server_list[0] server_id")


def find_node(table: RankTable, device_num: int) -> Node:
    """Return the Node that this host is; UserError if DEVICE_NUM or the user's variables contradict the rank table.

    Without NODE_RANK the node is found by its address.  MASTER_ADDR takes precedence over the table.
    """
    path, count, devices = table.path, len(table.servers), table.devices_per_server
    if devices != device_num:
        raise UserError(f"{path}: server_list[0] has {devices} devices, DEVICE_NUM says {device_num} per node")
    own = [rank for rank, server in enumerate(table.servers) if count == 1 or is_own_address(server.host)]
    node = read_node(default=node_of(table, own[0] if own else 0))
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
