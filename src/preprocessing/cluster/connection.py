# SPDX-License-Identifier: Apache-2.0
"""Dask's scheduler and workers, local ones or those of an address, and the errors of both."""

import contextlib
import logging
import pathlib
import pickle
import queue
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from typing import Any, TypeVar

import dask
import yaml

from distributed import Client, Future, KilledWorker, LocalCluster
from src.common.errors import UserError
from src.common.signals import signals_for_children
from src.preprocessing.cluster.task import LESS_MEMORY

Item = TypeVar("Item")
ANSWER_SECONDS = 15
POLL_SECONDS = 2
CANCEL_SECONDS = 30
EVENTS = "all"  # the topic of the events of all workers
SETTINGS = pathlib.Path(__file__).resolve().parents[3] / "config" / "dask.yaml"


@contextlib.contextmanager
def settings() -> Iterator[None]:
    """Give Dask the settings of this repository; what starts workers has to stay within, as lost ones start again."""
    own = yaml.safe_load(SETTINGS.read_text(encoding="utf-8"))
    with dask.config.set(dask.config.merge(dask.config.config, own)):
        yield


@contextlib.contextmanager
def connected(scheduler: str | None, workers: int) -> Iterator["Connection"]:
    """Connect to the scheduler at an address, or start one with local workers; UserError if it does not answer."""
    with contextlib.ExitStack() as stack:
        connection = Connection(stack.enter_context(_connect(scheduler) if scheduler else _start(workers)))
        try:
            yield connection
        finally:
            with contextlib.suppress(OSError):  # the scheduler may be gone, and the work is done or has failed
                connection.close()


def _connect(address: str) -> Client:
    try:
        client = Client(address, timeout=ANSWER_SECONDS)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(
            f"--scheduler={address}: no Dask scheduler answers ({reason}); start one with `dask scheduler`, and give "
            "its address as tcp://HOST:8786"
        ) from None
    try:
        client.wait_for_workers(1, timeout=ANSWER_SECONDS)
    except TimeoutError:
        client.close()
        raise UserError(f"--scheduler={address}: it has no workers; start some with `dask worker {address}`") from None
    return client


@contextlib.contextmanager
def _start(workers: int) -> Iterator[Client]:
    with settings():
        with warnings.catch_warnings(), signals_for_children():
            warnings.filterwarnings("ignore", "Port .* is already in use")  # it takes another one
            cluster = LocalCluster(
                n_workers=workers, threads_per_worker=1, host="127.0.0.1", dashboard_address=":8787",
                silence_logs=logging.CRITICAL,
            )  # fmt: skip
        with cluster, Client(cluster) as client:
            yield client


class Connection:
    """A connection to the scheduler."""

    def __init__(self, client: Client):
        self._client = client
        self._workers = self._find_workers()
        self._lost = queue.SimpleQueue[str]()
        client.subscribe_topic(EVENTS, self._take_event)

    @property
    def threads(self) -> int:
        """The number of tasks that run at the same time, if all workers of the beginning stay."""
        return sum(self._workers.values())

    def describe(self) -> str:
        """Return in one line the workers and the address of the dashboard."""
        hosts = {address.rpartition(":")[0] for address in self._workers}
        count = f"{len(self._workers)} worker{'s' if len(self._workers) != 1 else ''}"
        machines = f"{len(hosts)} machine{'s' if len(hosts) != 1 else ''}"
        return f"{count} on {machines}; dashboard: {self._client.dashboard_link}"

    def run(self, function: Callable[..., Any], calls: Sequence[tuple], done: Callable[[int, Any], None]) -> None:
        """Let workers call function(*call) for each call; done(index, result) takes each result as soon as it is there.

        Raises the exceptions of the function, and OSError for lost workers or a lost scheduler.
        """
        if not calls:
            return
        finished: queue.SimpleQueue[Future] = queue.SimpleQueue()
        contents = [pickle.dumps((function, call)) for call in calls]
        futures = self._client.map(_make_caller(), contents, key=function.__name__, pure=False)
        indices = {future.key: index for index, future in enumerate(futures)}
        for future in futures:
            future.add_done_callback(finished.put)
        try:
            while indices:
                batch = _take_all(finished, POLL_SECONDS)
                with _errors_in_one_line():
                    results = self._client.gather(batch)
                for future, result in zip(batch, results):
                    done(indices.pop(future.key), result)
                self.report_lost_workers()
        except BaseException:
            self._client.cancel(futures)
            self._wait_for_running_tasks()
            raise

    def report_lost_workers(self) -> None:
        """Print the workers that the scheduler has lost since the last time."""
        lost = _take_all(self._lost, 0)
        for address in lost:
            print(f"note: worker {address} is lost; others redo its work", flush=True)
        if lost and not self._find_workers():
            print("note: no worker is left; waiting for new ones", flush=True)

    def close(self) -> None:
        """Print the workers that were lost, and take no more events of the scheduler; OSError if it is gone."""
        self.report_lost_workers()
        self._client.unsubscribe_topic(EVENTS)

    def _take_event(self, event: tuple[float, dict[str, Any]]) -> None:
        """Take an event of the scheduler, in the thread of the client."""
        _, content = event
        if content.get("action") == "remove-worker":
            self._lost.put(content["worker"])

    def _wait_for_running_tasks(self) -> None:
        """Wait for tasks that were cancelled, which end by themselves: they write into folders that may be removed."""

        def count_running(dask_worker):
            return len(dask_worker.state.executing)

        deadline = time.monotonic() + CANCEL_SECONDS
        with contextlib.suppress(Exception):  # an earlier one is on its way to the user
            while any(self._client.run(count_running).values()) and time.monotonic() < deadline:
                time.sleep(0.1)

    def _find_workers(self) -> dict[str, int]:
        """Return the number of threads of each worker, by its address."""
        with _errors_in_one_line():
            return dict(self._client.nthreads())


def _make_caller() -> Callable[[bytes], Any]:
    """Return a function that calls a pickled function with its pickled arguments.

    Neither the scheduler nor the thread of a worker that receives messages, which an exception would end, has to import
    this repository: Dask sends a local function by its code.
    """

    def call(content):
        function, arguments = pickle.loads(content)
        return function(*arguments)

    return call


def _take_all(items: queue.SimpleQueue[Item], seconds: float) -> list[Item]:
    """Return the items of a queue after waiting so long for the first; none if there is none by then."""
    taken: list[Item] = []
    with contextlib.suppress(queue.Empty):
        taken.append(items.get(timeout=seconds))
        while True:
            taken.append(items.get_nowait())
    return taken


@contextlib.contextmanager
def _errors_in_one_line() -> Iterator[None]:
    """Turn the errors of Dask itself into an OSError."""
    try:
        yield
    except KilledWorker as error:
        raise OSError(
            f"{error.allowed_failures + 1} workers have died of the same task, the last one is "
            f"{error.last_worker.address}: they were probably out of memory (see their logs); {LESS_MEMORY}"
        ) from None
    except CancelledError:
        raise OSError("the connection to the scheduler is lost") from None
    except ModuleNotFoundError as error:
        raise OSError(
            f"a worker cannot import {error.name}: start workers with this repository in PYTHONPATH, and with the "
            "packages of requirements.txt and requirements-dask.txt"
        ) from None
