# SPDX-License-Identifier: Apache-2.0
"""The address of a scheduler, checked with real sockets, and waiting for it."""

import socket
import threading

import pytest

from src.common.errors import UserError
from src.distributed import scheduler
from src.distributed.environment import Address, Timeout
from src.distributed.launch import find_free_port
from src.distributed.scheduler import Announcer, check_port, check_workers, is_own_address, wait_for_scheduler


def test_a_free_port_of_this_host_is_accepted():
    check_port(Address("127.0.0.1", find_free_port()), "MASTER_ADDR", "MASTER_PORT")


@pytest.mark.parametrize(
    ("host", "message"),
    [
        ("192.0.2.1", r"MASTER_ADDR=192\.0\.2\.1: is no address of this host, which is the first node"),
        ("no-such-host.invalid", r"MASTER_ADDR=no-such-host\.invalid: no such host"),
    ],
)
def test_an_address_of_another_host_is_refused(host, message):
    with pytest.raises(UserError, match=f"^{message}"):
        check_port(Address(host, 8118), "MASTER_ADDR", "MASTER_PORT")


def test_a_port_in_use_is_refused_and_accepted_by_a_worker():
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = Address("127.0.0.1", server.getsockname()[1])
        with pytest.raises(UserError, match=f"^P={address.port}: another process listens at {address}; "):
            check_port(address, "H", "P")
        wait_for_scheduler(address, Timeout(0))


def test_waiting_ends_when_the_scheduler_starts():
    address = Address("127.0.0.1", find_free_port())
    servers = []
    timer = threading.Timer(0.5, lambda: servers.append(socket.create_server((address.host, address.port))))
    timer.start()
    wait_for_scheduler(address, Timeout(30))
    assert servers  # it has not returned before
    servers[0].close()


def test_waiting_ends_after_the_timeout_and_names_the_variable():
    address = Address("127.0.0.1", find_free_port())
    with pytest.raises(UserError) as caught:
        wait_for_scheduler(address, Timeout(0.1))
    assert str(caught.value) == (
        f"MS_SCHED_HOST=127.0.0.1 MS_SCHED_PORT={address.port}: no scheduler there (connection refused) after 0.1 s; "
        "start the first node, check that this one can reach it, or set MS_TOPO_TIMEOUT to more seconds"
    )


def test_a_scheduler_without_workers_on_its_host_gives_up_after_a_grace_period():
    address = Address("127.0.0.1", find_free_port())
    check_workers(address, scheduler.GRACE_SECONDS)
    with pytest.raises(UserError, match="no process on this host is a worker of this scheduler"):
        check_workers(address, scheduler.GRACE_SECONDS + 1)


def test_own_addresses_are_told_from_others():
    assert is_own_address("127.0.0.1")
    assert is_own_address("localhost")
    assert not is_own_address("192.0.2.1")
    assert not is_own_address("no-such-host.invalid")


def test_an_announcement_is_repeated_only_when_it_changes(monkeypatch, capsys):
    announcer = Announcer(Timeout(60, is_default=False))
    announcer.say("for nothing")  # too early
    monkeypatch.setattr(scheduler, "QUIET_SECONDS", 0)
    for text in ("for 2 processes", "for 2 processes", "for 1 process"):
        announcer.say(text)
    assert capsys.readouterr().out.splitlines() == [
        "waiting for 2 processes; 0 s so far, at most 60 s (MS_TOPO_TIMEOUT)",
        "waiting for 1 process; 0 s so far, at most 60 s (MS_TOPO_TIMEOUT)",
    ]
