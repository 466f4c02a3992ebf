# SPDX-License-Identifier: Apache-2.0
import dask

from src.preprocessing import allocator
from src.preprocessing.cluster.connection import settings


def test_the_settings_add_to_those_of_dask_and_end():
    before = dask.config.get("distributed.worker.profile.enabled")
    with settings():
        environment = dask.config.get("distributed.nanny.pre-spawn-environ")
        assert dask.config.get("distributed.worker.profile.enabled") is False
        assert dask.config.get("distributed.worker.memory.terminate") == 0.95  # Dask's own
    assert dask.config.get("distributed.worker.profile.enabled") is before is True
    assert environment["POLARS_MAX_THREADS"] == "1"
    # With Dask's own 65536 each large array fetches its pages from the system again.
    assert int(environment["MALLOC_TRIM_THRESHOLD_"]) >= 1 << 27


def test_workers_have_the_allocator_of_a_single_process():
    with settings():
        assert dask.config.get("distributed.nanny.pre-spawn-environ")[allocator.VARIABLE] == allocator.KEEP_FREED
