# SPDX-License-Identifier: Apache-2.0
"""The form of a task of a worker: idempotent, with its files in the storage and its machine named in errors.

What a task gets and returns passes through the scheduler and is small; the rest is in the files.
"""

import functools
import socket
from collections.abc import Callable
from typing import Any

from distributed import get_worker
from src.preprocessing.cluster.plan import Plan
from src.preprocessing.cluster.results import make_once
from src.preprocessing.cluster.versions import describe_differences, own_versions

LESS_MEMORY = "use fewer workers on that machine, or a smaller --memory_limit"


def task(function: Callable[..., Any]) -> Callable[..., Any]:
    """Make a task of a function of a Plan, a folder and more, which returns content for JSON other than None.

    The task takes the address of the storage, the name of the plan there, that of its own folder, and the rest.
    An OSError names the worker; mistakes of the user in the data, as UserError, stay as they are.
    """

    @functools.wraps(function)
    def run(address: str, plan_name: str, target: str, *parameters: Any) -> Any:
        try:
            plan = Plan.load(address, plan_name)
            if differences := describe_differences(own_versions(), plan.versions):
                raise OSError(f"it has {differences}; install the versions of the client there, and start it again")
            return make_once(plan.storage, target, lambda folder: function(plan, folder, *parameters))
        except MemoryError:
            raise OSError(f"{_own_name()} is out of memory; {LESS_MEMORY}") from None
        except OSError as error:
            raise OSError(f"{_own_name()}: {error}") from None

    return run


def _own_name():
    return f"worker {get_worker().address} on {socket.gethostname()}"
