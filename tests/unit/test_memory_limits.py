# SPDX-License-Identifier: Apache-2.0
"""The memory that a machine has left: cgroups as the kernel shows them, ulimit in a real process, and the rule."""

import re
import subprocess
import sys

import psutil
import pytest

from src.common.errors import UserError
from src.common.memory_estimate import NetworkSizes
from src.common.memory_limits import GIB, Work, cgroup_limits, check_fits, smallest_limit, training_advice
from tests.conftest import ROOT

SIZES = NetworkSizes(1_000_000, 3, 1, 8, (2,))


def write(root, files):
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"{content}\n")


def free(tmp_path):
    return [limit.free_bytes for limit in cgroup_limits(tmp_path / "cgroup", tmp_path / "own")]


def test_each_cgroup_v2_above_the_process_limits_it(tmp_path):
    write(tmp_path, {
        "own": "0::/pod/container",
        "cgroup/pod/memory.max": 8 * GIB, "cgroup/pod/memory.current": 6 * GIB,
        "cgroup/pod/memory.stat": f"anon 1\ninactive_file {2 * GIB}\nactive_file {1 * GIB}",
        "cgroup/pod/container/memory.max": "max", "cgroup/pod/container/memory.current": GIB,
    })  # fmt: skip
    assert free(tmp_path) == [5 * GIB]  # of the 6 GiB in use 3 are files that the kernel can drop
    write(tmp_path, {"cgroup/pod/container/memory.max": 2 * GIB})
    assert free(tmp_path) == [1 * GIB, 5 * GIB]


def test_in_a_container_the_root_of_the_mount_holds_the_limit(tmp_path):
    write(tmp_path, {"own": "0::/", "cgroup/memory.max": 4 * GIB, "cgroup/memory.current": 1 * GIB})
    assert free(tmp_path) == [3 * GIB]


def test_the_memory_controller_of_cgroup_v1_limits_the_process(tmp_path):
    write(tmp_path, {
        "own": "12:cpu,cpuacct:/job\n5:memory:/job\n0::/",
        "cgroup/memory/memory.limit_in_bytes": 2**63 - 4096, "cgroup/memory/memory.usage_in_bytes": 9 * GIB,
        "cgroup/memory/job/memory.limit_in_bytes": 3 * GIB, "cgroup/memory/job/memory.usage_in_bytes": 2 * GIB,
        "cgroup/memory/job/memory.stat": f"total_inactive_file {GIB}\ntotal_active_file 0",
    })  # fmt: skip
    assert free(tmp_path) == [2 * GIB]


def test_without_cgroups_there_are_no_limits(tmp_path):
    assert free(tmp_path) == []
    write(tmp_path, {"own": "0::/gone"})
    assert free(tmp_path) == []


def test_usage_above_the_limit_leaves_nothing(tmp_path):
    write(tmp_path, {"own": "0::/", "cgroup/memory.max": 4 * GIB, "cgroup/memory.current": 5 * GIB})
    assert free(tmp_path) == [0]


def test_the_address_space_is_limited_by_ulimit_less_the_mapped_bytes():
    code = "from src.common.memory_limits import *\nprint(smallest_limit(1, 2 * GIB))"
    command = ["bash", "-c", f'ulimit -v {5 * 2**20}; exec {sys.executable} -c "$0"', code]
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert finished.stdout == f"Limit(free_bytes={3 * GIB}, source='ulimit -v')\n"


def test_processes_share_the_memory_of_their_machine():
    one, four = smallest_limit(1).free_bytes, smallest_limit(4).free_bytes
    assert one <= psutil.virtual_memory().total + psutil.swap_memory().total
    assert four == pytest.approx(one / 4, rel=0.2)  # others use memory, too


def test_a_task_is_refused_with_advice_only_if_it_cannot_fit(capsys):
    free_bytes = smallest_limit().free_bytes
    with pytest.raises(UserError) as caught:
        check_fits(Work("training", SIZES, int(2 * free_bytes) + GIB), "CPU", training_advice(SIZES))
    assert re.match(
        r"memory: about [\d,.]+ GiB for training \(table of 1,000,000 x 9: 0.1 GiB\), and this machine has "
        r"[\d.]+ GiB left \(.+\); use --shard_embedding=True with several devices, a smaller --embedding_size, "
        r"--batch_size or --hidden_sizes, or preprocess with a larger --threshold or with --max_vocab_size$",
        str(caught.value),
    )
    check_fits(Work("training", SIZES, int(1.1 * free_bytes)), "CPU", "")  # within the margin of the estimate
    # 4 copies of 9 million float32 are 0.13 GiB.
    assert "GiB for training (table of 1,000,000 x 9: 0.1 GiB); " in capsys.readouterr().out


def test_the_memory_of_another_device_is_not_compared_and_the_advice_is_given_at_once(capsys):
    check_fits(Work("training", SIZES, 2**60, process_count=8), "Ascend", training_advice(SIZES, process_count=8))
    assert capsys.readouterr().out == (
        f"memory: 8 times {2**30:,.1f} GiB for training (table of 1,000,000 x 9: 0.1 GiB); not compared with the "
        "memory of Ascend; if that has less, use --shard_embedding=True with several devices, fewer processes, a "
        "smaller --embedding_size, --batch_size or --hidden_sizes, or preprocess with a larger --threshold or with "
        "--max_vocab_size\n"
    )


def test_of_cut_tables_the_memory_of_one_part_is_told_and_cutting_is_no_advice(capsys):
    # Each of 8 parts has one of 8 columns, and an eighth of 10 million rows: 4 copies of 11.25 million float32.
    work = Work("training", NetworkSizes(10_000_000, 3, 1, 8, (2,)), GIB, process_count=2, part_count=8)
    check_fits(work, "GPU", training_advice(SIZES, process_count=2, is_cut=True))
    assert capsys.readouterr().out.startswith(
        "memory: 2 times 1.0 GiB for training (one of 8 parts of the table of 10,000,000 x 9: 0.2 GiB); not compared "
        "with the memory of GPU; if that has less, use fewer processes, a smaller --embedding_size"
    )


def test_a_vocabulary_of_which_hardly_any_ids_occur_is_called_hashed():
    assert "--skip_id_convert=0, which numbers them" in training_advice(SIZES, distinct_ids=99_999)
    assert "hashed" not in training_advice(SIZES, distinct_ids=100_000)
    assert "with several devices, fewer processes, a smaller --embedding_size" in training_advice(SIZES, None, 2)
