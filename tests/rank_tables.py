# SPDX-License-Identifier: Apache-2.0
"""Rank tables for the tests of launchers."""

import itertools
import json
import pathlib
from collections.abc import Sequence


def write_rank_table(path: pathlib.Path, nodes: list[list[int]], hosts: Sequence[str] = ()) -> pathlib.Path:
    """Write a rank table of format 1.0; return its path.

    nodes: for each node the device ids of its ranks.  hosts: the server_id of each node, by default 203.0.113.1, ...,
    addresses for documentation, which no host has.
    """
    ranks = itertools.count()
    server_list = [
        {
            "server_id": hosts[node] if hosts else f"203.0.113.{node + 1}",
            "device": [
                {"device_id": str(device), "device_ip": f"192.1.{node}.{device}", "rank_id": str(next(ranks))}
                for device in devices
            ],
            "host_nic_ip": "reserve",
        }
        for node, devices in enumerate(nodes)
    ]
    table = {
        "version": "1.0", "server_count": str(len(nodes)), "server_list": server_list, "status": "completed",
    }  # fmt: skip
    path.write_text(json.dumps(table))
    return path
