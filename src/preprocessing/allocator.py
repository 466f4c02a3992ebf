# SPDX-License-Identifier: Apache-2.0
"""The setting of jemalloc, the allocator in polars, which reads it from the environment as polars is imported."""

VARIABLE = "_RJEM_MALLOC_CONF"
# By default it gives freed memory back within half a second, although the next rows need as much: a tenth of the time.
KEEP_FREED = "dirty_decay_ms:10000,narenas:2"
