# SPDX-License-Identifier: Apache-2.0
"""Tasks for the workers of a cluster that fail; workers import them from here."""

import os

from src.preprocessing.cluster.task import task


@task
def run_out_of_memory(plan, folder):
    raise MemoryError


@task
def die(plan, folder):
    os._exit(9)  # as a process that is killed for its memory
