# SPDX-License-Identifier: Apache-2.0
"""The scheduler at which the processes of msrun meet: whether it can be there, and waiting for it."""

import contextlib
import errno
import os
import socket
import time

from src.common.errors import UserError
from src.distributed.environment import SCHEDULER, WORKER

TIMEOUT_VARIABLE, TIMEOUT_SECONDS = "MS_TOPO_TIMEOUT", 600  # MindSpore's own; msrun sets it to 600, too
GRACE_SECONDS = 15  # for a process of this machine to be started
POLL_SECONDS = 0.3
CONNECT_SECONDS = 2
QUIET_SECONDS, REPEAT_SECONDS = 3, 30  # before the first announcement, and between two of them
ANNOUNCEMENT = "waiting "  # how lines begin that say what a process waits for


class Announcer:
    """Says on stdout what a process waits for: after a while, when that changes, and then again from time to time."""

    def __init__(self):
        self._start = time.monotonic()
        self._said, self._said_at = None, self._start

    def say(self, text):
        """Say that this process is waiting for `text`, if it is time for it."""
        now = time.monotonic()
        if now - self._start < QUIET_SECONDS or (text == self._said and now - self._said_at < REPEAT_SECONDS):
            return
        self._said, self._said_at = text, now
        with contextlib.suppress(OSError, ValueError):
            print(f"{ANNOUNCEMENT}{text}; {now - self._start:.0f} s so far, {describe_timeout()}", flush=True)


def timeout():
    """Return for how many seconds processes wait for each other; infinity if the variable for it is negative."""
    text = os.environ.get(TIMEOUT_VARIABLE) or str(TIMEOUT_SECONDS)
    try:
        seconds = int(text)
    except ValueError:
        raise UserError(f"{TIMEOUT_VARIABLE}={text}: must be a whole number of seconds; -1 for no limit") from None
    return seconds if seconds >= 0 else float("inf")


def describe_timeout():
    """Return how long processes wait for each other, in words."""
    seconds = timeout()
    return f"at most {seconds} s ({TIMEOUT_VARIABLE})" if seconds < float("inf") else f"no limit ({TIMEOUT_VARIABLE})"


def check_port(host, port, names):
    """Raise UserError unless a scheduler can listen here.  names: the variables that say host and port."""
    host_name, port_name = names
    try:
        family, _, _, _, address = find_host(host, port, host_name)
        with socket.socket(family) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as MindSpore sets it
            listener.bind(address)
            listener.listen(1)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise UserError(
                f"{port_name}={port}: another process listens at {host}:{port}; end it, or choose another port"
            ) from error
        if error.errno == errno.EADDRNOTAVAIL:
            raise UserError(
                f"{host_name}={host}: is no address of this machine, which is the first one; name one that it has"
            ) from error
        raise UserError(f"{host_name}={host} {port_name}={port}: cannot listen there: {error.strerror}") from error


def is_own_address(host):
    """Tell whether a host name or an address is of this machine."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0]
        with socket.socket(family) as probe:
            probe.bind(address)
    except OSError:
        return False
    return True


def connect(launcher):
    """Return a connection to the scheduler; OSError if there is none.  It ends when the scheduler does."""
    return socket.create_connection(launcher.scheduler, timeout=CONNECT_SECONDS)


def wait_for_scheduler(launcher):
    """Wait until the scheduler of a Launcher can be reached, saying so.

    Raises UserError if that takes longer than timeout(), or at once if it can only be on this machine and no process of
    this machine is it.
    """
    host, port = launcher.scheduler
    find_host(host, port, "MS_SCHED_HOST")
    announcer, is_own, start = Announcer(), is_own_address(host), time.monotonic()
    while True:
        try:
            connect(launcher).close()
            return
        except OSError as error:
            reason = "connection refused" if error.errno == errno.ECONNREFUSED else error.strerror or str(error)
        waited = time.monotonic() - start
        if is_own and waited > GRACE_SECONDS and not _is_there(SCHEDULER, port):
            raise UserError(
                f"MS_ROLE={WORKER} MS_SCHED_HOST={host} MS_SCHED_PORT={port}: no process of this machine is the "
                "scheduler there; unset MS_ROLE and MS_SCHED_HOST to run alone, or start the processes with msrun"
            )
        if waited > timeout():
            raise UserError(
                f"MS_SCHED_HOST={host} MS_SCHED_PORT={port}: no scheduler there ({reason}) after {timeout()} s; start "
                f"the first machine, check that this one can reach it, or set {TIMEOUT_VARIABLE} to more seconds"
            )
        announcer.say(f"for the scheduler at {launcher.address} ({reason})")
        time.sleep(POLL_SECONDS)


def check_workers(launcher, waited):
    """Raise UserError if a scheduler has waited for so many seconds for workers that nobody has started.

    That can be told if they must be on this machine, and unless the user has said how long to wait.
    """
    host, port = launcher.scheduler
    if waited > GRACE_SECONDS and _is_loopback(host) and not _is_there(WORKER, port):
        raise UserError(
            f"MS_ROLE={SCHEDULER} MS_SCHED_HOST={host} MS_SCHED_PORT={port}: no process of this machine is a worker of "
            f"this scheduler; unset MS_ROLE and MS_SCHED_HOST to run alone, start the processes with msrun, or set "
            f"{TIMEOUT_VARIABLE} to the seconds in which you start them"
        )


def find_host(host, port, name):
    """Return what getaddrinfo says of a host; UserError if it is not known."""
    try:
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise UserError(f"{name}={host}: no such host ({error.strerror})") from error


def _is_loopback(host):
    return socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0][4][0] in ("127.0.0.1", "::1")


def _is_there(role, port):
    """Tell whether a process of this user has a role at the scheduler of this port."""
    import psutil

    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            environment = process.environ()
            if environment.get("MS_ROLE") == role and environment.get("MS_SCHED_PORT") == str(port):
                return True
    return False
