# SPDX-License-Identifier: Apache-2.0
"""The scheduler at which the processes of msrun meet: whether it can listen at its address, and waiting for it."""

import contextlib
import errno
import socket
import time

from src.common.errors import UserError
from src.distributed.environment import SCHEDULER, TIMEOUT_VARIABLE, WORKER, Address, Timeout, has_role

DEFAULT_PORT = 8118  # msrun's
GRACE_SECONDS = 15  # for a process on this host to be started
POLL_SECONDS = 0.3
CONNECT_SECONDS = 2
QUIET_SECONDS, REPEAT_SECONDS = 3, 30  # before the first announcement, and between two of the same text
ANNOUNCEMENT = "waiting "  # the beginning of lines that tell which processes one waits for


class Announcer:
    """Prints which processes this one waits for: after a while, when that changes, and then from time to time."""

    def __init__(self, timeout: Timeout):
        self._timeout, self._start = timeout, time.monotonic()
        self._last_text: str | None = None
        self._last_time = self._start

    def say(self, text: str) -> None:
        """Print that this process waits for `text`, if it is time for it."""
        now = time.monotonic()
        is_repeated = text == self._last_text and now - self._last_time < REPEAT_SECONDS
        if now - self._start < QUIET_SECONDS or is_repeated:
            return
        self._last_text, self._last_time = text, now
        with contextlib.suppress(OSError, ValueError):
            print(f"{ANNOUNCEMENT}{text}; {now - self._start:.0f} s so far, {self._timeout}", flush=True)


def check_port(address: Address, host_name: str, port_name: str) -> None:
    """Raise UserError unless a scheduler can listen at an address.  host_name, port_name: the variables that set it."""
    host, port = address.host, address.port
    try:
        family, _, _, _, found = find_host(address, host_name)
        with socket.socket(family) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as MindSpore sets it
            listener.bind(found)
            listener.listen(1)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise UserError(
                f"{port_name}={port}: another process listens at {address}; end it, or choose another port"
            ) from error
        if error.errno == errno.EADDRNOTAVAIL:
            raise UserError(
                f"{host_name}={host}: is no address of this host, which is the first node; choose one that it has"
            ) from error
        raise UserError(f"{host_name}={host} {port_name}={port}: cannot listen there: {error.strerror}") from error


def is_own_address(host: str) -> bool:
    """Tell whether a host name or an IP address belongs to this host."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0]
        with socket.socket(family) as probe:
            probe.bind(address)
    except OSError:
        return False
    return True


def connect(scheduler: Address) -> socket.socket:
    """Return a connection to a scheduler, which ends when the scheduler does; OSError if there is none."""
    return socket.create_connection((scheduler.host, scheduler.port), timeout=CONNECT_SECONDS)


def wait_for_scheduler(scheduler: Address, timeout: Timeout) -> None:
    """Wait until a scheduler accepts connections, and announce the wait.

    Raises UserError after the timeout, or earlier if the address is of this host and no process on it is the scheduler.
    """
    host, port = scheduler.host, scheduler.port
    find_host(scheduler, "MS_SCHED_HOST")
    announcer, is_own, start = Announcer(timeout), is_own_address(host), time.monotonic()
    while True:
        try:
            connect(scheduler).close()
            return
        except OSError as error:
            reason = "connection refused" if error.errno == errno.ECONNREFUSED else error.strerror or str(error)
        waited = time.monotonic() - start
        if is_own and waited > GRACE_SECONDS and not _is_there(SCHEDULER, port):
            raise UserError(
                f"MS_ROLE={WORKER} MS_SCHED_HOST={host} MS_SCHED_PORT={port}: no process on this host is the "
                "scheduler there; start it (rank 0 of a rank table does), start all processes with msrun, or unset "
                "MS_ROLE and MS_SCHED_HOST, or RANK_TABLE_FILE, to run alone"
            )
        if waited > timeout.seconds:
            raise UserError(
                f"MS_SCHED_HOST={host} MS_SCHED_PORT={port}: no scheduler there ({reason}) after {timeout.seconds} s; "
                f"start the first node, check that this one can reach it, or set {TIMEOUT_VARIABLE} to more seconds"
            )
        announcer.say(f"for the scheduler at {scheduler} ({reason})")
        time.sleep(POLL_SECONDS)


def check_workers(scheduler: Address, waited: float) -> None:
    """Raise UserError if a scheduler has waited for so many seconds for workers that nobody has started.

    This can be told only if the workers must be on this host.
    """
    host, port = scheduler.host, scheduler.port
    if waited > GRACE_SECONDS and _is_loopback(host) and not _is_there(WORKER, port):
        raise UserError(
            f"MS_ROLE={SCHEDULER} MS_SCHED_HOST={host} MS_SCHED_PORT={port}: no process on this host is a worker of "
            f"this scheduler; unset MS_ROLE and MS_SCHED_HOST to run alone, start the processes with msrun, or set "
            f"{TIMEOUT_VARIABLE} to the seconds in which you start them"
        )


def find_host(address: Address, name: str) -> tuple:
    """Return the first result of getaddrinfo for an address; UserError if the host is unknown.

    name: the variable that sets the host.
    """
    try:
        return socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise UserError(f"{name}={address.host}: no such host ({error.strerror})") from error


def _is_loopback(host: str) -> bool:
    return socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0][4][0] in ("127.0.0.1", "::1")


def _is_there(role: str, port: int) -> bool:
    """Tell whether a process of this user has a role in the job of the scheduler at this port."""
    import psutil

    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if has_role(process.environ(), role, port):
                return True
    return False
