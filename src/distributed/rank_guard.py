# SPDX-License-Identifier: Apache-2.0
"""The guard of a process that is one of several: its parent, which never enters MindSpore.

While MindSpore waits for the other processes, for minutes if need be, it holds the interpreter's lock: no signal is
handled, and nothing can be printed.  So an entry point forks before it imports anything heavy: the child does the
work; the guard forwards signals, ends as the child does, tells which processes the child waits for, and ends the wait
when they can no longer come.
"""

import contextlib
import ctypes
import os
import re
import select
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator

from src.common.errors import UserError, report_error
from src.common.signals import SIGNALS, end_by_signal, signals_at_default
from src.distributed import scheduler
from src.distributed.environment import MSRUN, Launcher, set_joining_defaults

POLL_SECONDS = 0.2
JOINING, JOINED = b"j", b"d"
REGISTERED = re.compile(rb"Currently registered node number: (\d+)")  # as MindSpore's scheduler logs it
LOGGED = b"] DISTRIBUTED("  # in every message of MindSpore about its connections
NOTHING_NEW = re.compile(rb"Topology build timed out., retry|Cluster currently has \d+ alive nodes")  # again and again
SCHEDULER_SECONDS = 20  # for a scheduler when its ranks have ended; it needs up to 6
PR_SET_PDEATHSIG = 1

_channels: list[socket.socket] = []  # of a process that has a guard: a socket to it


def fork(launcher: Launcher, own_scheduler: subprocess.Popen | None = None) -> int:
    """Fork; return the process id of the guard in the child.  In the guard this call does not return.

    own_scheduler: the scheduler if this process has started it, with a pipe for its output; the guard ends it when the
    child has failed, and otherwise waits for its end.
    """
    set_joining_defaults(launcher)
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    guard = os.getpid()
    own_end, child_end = socket.socketpair()
    errors = os.pipe() if launcher.is_scheduler else None
    child = os.fork()
    if child:
        child_end.close()
        os._exit(_Guard(launcher, child, own_end, errors, own_scheduler).run())
    end_with_parent(guard)
    own_end.close()
    if errors is not None:
        os.dup2(errors[1], 2)
        for end in errors:
            os.close(end)
    _channels.append(child_end)
    return guard


def end_with_parent(parent: int) -> None:
    """Let the system kill this process when its parent, the process of this id, ends."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before this process could ask to end with it
        os._exit(1)


@contextlib.contextmanager
def joining() -> Iterator[None]:
    """Join the other processes within a `with` block: the guard reports on the wait, and a signal ends it at once."""
    _tell(JOINING)
    with signals_at_default():
        yield
    _tell(JOINED)


def _tell(state):
    for channel in _channels:
        channel.send(state)


def _relay_announcements(output):
    """Print which processes a scheduler waits for; the rest of its output would hide that of the rank."""
    for line in output:
        if line.startswith(scheduler.ANNOUNCEMENT.encode()):
            with contextlib.suppress(OSError):
                os.write(1, line)


class _Guard:
    """Watches the process `child`, which reports its state over the socket `channel`.

    errors: the two ends of the pipe that replaces stderr of a scheduler; None for a worker.
    own_scheduler: the scheduler, if this process has started it.
    """

    def __init__(
        self,
        launcher: Launcher,
        child: int,
        channel: socket.socket,
        errors: tuple[int, int] | None,
        own_scheduler: subprocess.Popen | None,
    ):
        self._launcher, self._child, self._channel = launcher, child, channel
        self._own_scheduler = own_scheduler
        if own_scheduler is not None:
            threading.Thread(target=_relay_announcements, args=[own_scheduler.stdout], daemon=True).start()
        self._channel.setblocking(False)
        self._announcer, self._since = None, None  # while the child is joining the others
        self._connection = None  # to the scheduler, meanwhile
        self._registered, self._has_log = 0, False
        self._pump = None
        if errors is not None:
            os.close(errors[1])
            self._pump = threading.Thread(target=self._pass_on, args=[errors[0]], daemon=True)
            self._pump.start()

    def run(self) -> int:
        """Wait until the child has ended; return its exit status, or that of the error for which it was killed."""
        signals = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
        while True:
            caught = signal.sigtimedwait([*signals, signal.SIGCHLD], POLL_SECONDS)
            if caught is not None and caught.si_signo in signals:
                os.kill(self._child, caught.si_signo)
            pid, status = os.waitpid(self._child, os.WNOHANG)
            if pid:
                return self._end(status)
            try:
                self._watch()
            except UserError as error:
                os.kill(self._child, signal.SIGKILL)
                os.waitpid(self._child, 0)
                self._end_scheduler(0)
                return report_error(error)

    def _end(self, status):
        if self._pump is not None:
            self._pump.join()
        self._end_scheduler(0 if status else SCHEDULER_SECONDS)
        if not os.WIFSIGNALED(status):
            return os.WEXITSTATUS(status)
        number = os.WTERMSIG(status)
        if number in SIGNALS:
            end_by_signal(number)
        if number != signal.SIGKILL:
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        return 128 + number

    def _end_scheduler(self, seconds):
        """Wait so many seconds until the scheduler that this process has started ends by itself, and end it then."""
        if self._own_scheduler is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._own_scheduler.wait(seconds)
            self._own_scheduler.kill()
            self._own_scheduler.wait()

    def _watch(self):
        """Read the state of the child, and check whether the processes that it waits for can still come."""
        with contextlib.suppress(BlockingIOError):
            for state in self._channel.recv(16):
                self._announcer = scheduler.Announcer(self._launcher.timeout) if bytes([state]) == JOINING else None
                self._since = time.monotonic()
        if self._announcer is None:
            self._connection = None
        elif self._launcher.is_scheduler:
            self._watch_scheduler()
        else:
            self._watch_worker()

    def _watch_scheduler(self):
        """Announce how many processes are missing: a scheduler stays inside MindSpore, so its log has to tell."""
        launcher, waited = self._launcher, time.monotonic() - self._since
        if self._registered == launcher.count or waited > launcher.timeout.seconds:  # MindSpore gives up then
            self._announcer = None
            return
        if not self._registered and launcher.timeout.is_default:
            scheduler.check_workers(launcher.scheduler, waited)
        missing = f"{launcher.count - self._registered} of {launcher.count}" if self._has_log else launcher.count
        self._announcer.say(f"for {missing} processes at {launcher.scheduler}")

    def _watch_worker(self):
        launcher = self._launcher
        if launcher.kind != MSRUN:
            self._announcer.say(f"for the others of {launcher.count} processes")
            return
        self._announcer.say(
            f"for the others of {launcher.count} processes at {launcher.scheduler}; the scheduler there knows how many"
        )
        self._check_scheduler()

    def _check_scheduler(self):
        """Raise UserError if the scheduler has ended."""
        try:
            self._connection = self._connection or scheduler.connect(self._launcher.scheduler)
            if not select.select([self._connection], [], [], 0)[0] or self._connection.recv(1):
                return
        except TimeoutError:
            return
        except OSError:
            pass
        raise UserError(
            f"the scheduler at {self._launcher.scheduler} has ended before all processes had come, or the process that "
            "listens there is none"
        )

    def _pass_on(self, pipe):
        """Forward the scheduler's stderr, its warnings to stdout, and count in it the processes that have come."""
        with open(pipe, "rb") as lines:
            for line in lines:
                found = REGISTERED.search(line)
                self._has_log |= LOGGED in line
                self._registered = int(found[1]) if found else self._registered
                if not NOTHING_NEW.search(line):
                    with contextlib.suppress(OSError):
                        os.write(1 if line.startswith(b"[WARNING]") else 2, line)
