# SPDX-License-Identifier: Apache-2.0
"""The scripts that start runs, with a stand-in for Python: the arguments and environments of the processes."""

import os
import pathlib
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass

import psutil
import pytest

from tests.conftest import ROOT
from tests.processes import start_script
from tests.rank_tables import write_rank_table

SCRIPTS = sorted(path for path in (ROOT / "scripts").glob("*.sh"))
# Runs Python, but instead of train.py and eval.py it only records their arguments and environment.
PYTHON_STAND_IN = """#!/bin/bash
[[ "$1" == -u ]] || exec {python} "$@"
{{ printf 'argument %s\\n' "${{@:2}}"; env; }} > {record}/$$
"""
MPIRUN_STAND_IN = """#!/bin/bash
echo "$@" > {record}.mpirun
while [[ "$1" != -n ]]; do shift; done
count="$2"; shift 2
for ((rank = 0; rank < count; rank++)); do
  OMPI_COMM_WORLD_RANK="${{rank}}" OMPI_COMM_WORLD_LOCAL_RANK="${{rank}}" OMPI_COMM_WORLD_SIZE="${{count}}" "$@" &
done
wait
"""
RANK_VARIABLES = ("RANK_ID", "RANK_SIZE", "DEVICE_ID", "RANK_TABLE_FILE")


@dataclass(frozen=True)
class Call:
    """The arguments of a Python script, and its environment."""

    arguments: list[str]
    environment: dict[str, str]

    def chosen(self, names=RANK_VARIABLES):
        """Return these variables, where they are set."""
        return {name: self.environment[name] for name in names if name in self.environment}


@pytest.fixture
def launch(tmp_path):
    """Return a function that runs a script with the stand-ins; it returns the Calls of Python, by rank, and stderr."""
    tools, record = tmp_path / "tools", tmp_path / "record"
    tools.mkdir()
    for name, text in (("python", PYTHON_STAND_IN), ("mpirun", MPIRUN_STAND_IN)):
        (tools / name).write_text(text.format(python=sys.executable, record=record))
        (tools / name).chmod(0o755)

    def run_script(script, *arguments, status=0, **variables):
        shutil.rmtree(record, ignore_errors=True)
        record.mkdir()
        process = start_script(script, *arguments, cwd=tmp_path, PATH=str(tools), **variables)
        _, errors = process.communicate(timeout=100)
        assert process.returncode == status, errors
        return sorted(
            map(parse_record, record.iterdir()), key=lambda call: call.environment.get("RANK_ID", "-")
        ), errors

    return run_script


def parse_record(path):
    lines = path.read_text().splitlines()
    arguments = [line.removeprefix("argument ") for line in lines if line.startswith("argument ")]
    return Call(arguments, dict(line.split("=", 1) for line in lines[len(arguments) :] if "=" in line))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_shellcheck_accepts_the_scripts(script):
    subprocess.run(["bash", "-n", script], check=True)
    subprocess.run([pathlib.Path(sys.executable).with_name("shellcheck"), script], check=True)


def test_standalone_training_gets_the_device_and_the_flags_but_no_variable_of_a_launcher(launch, tmp_path):
    [call], _ = launch(
        "run_standalone_train.sh", "--train_epochs=3", 5, "Ascend", tmp_path, "--seed=2", RANK_TABLE_FILE="/old.json",
        RANK_SIZE="8", MS_ROLE="MS_WORKER", MS_SCHED_HOST="10.0.0.1", ASCEND_DEVICE_ID="0",
    )  # fmt: skip
    assert call.arguments == [
        str(ROOT / "train.py"), "--device_target=Ascend", "--device_id=5", f"--dataset_path={tmp_path}",
        "--train_epochs=3", "--seed=2",
    ]  # fmt: skip
    assert call.chosen((*RANK_VARIABLES, "MS_ROLE", "MS_SCHED_HOST", "ASCEND_DEVICE_ID")) == {"RANK_ID": "0"}
    assert (tmp_path / "ms_log" / "output.log").exists()


def test_evaluation_gets_the_checkpoint(launch, tmp_path):
    [call], _ = launch("run_eval.sh", 0, "GPU", tmp_path, "ckpt dir")
    assert call.arguments == [
        str(ROOT / "eval.py"), "--device_target=GPU", "--device_id=0", f"--dataset_path={tmp_path}",
        "--checkpoint_path=ckpt dir",
    ]  # fmt: skip
    assert (tmp_path / "ms_log" / "eval_output.log").exists()


# Ranks are worked out by hand: node 1 of two nodes with two devices each has the ranks 2 and 3.  MindSpore takes the
# device of number DEVICE_ID among the visible ones.
@pytest.mark.parametrize(
    ("nodes", "variables", "devices", "ranks"),
    [
        pytest.param([[3]], {}, "3", [0], marks=pytest.mark.slow),
        ([[4, 7]], {}, "4,7", [0, 1]),
        pytest.param([[*range(8)]], {}, "0,1,2,3,4,5,6,7", [*range(8)], marks=pytest.mark.slow),
        ([[0, 1], [6, 7]], {"NODE_RANK": "1", "MASTER_ADDR": "127.0.0.1"}, "6,7", [2, 3]),
    ],
)
def test_a_rank_table_gives_the_ranks_the_environment_of_msrun(launch, tmp_path, nodes, variables, devices, ranks):
    write_rank_table(tmp_path / "table.json", nodes)
    old = {"RANK_TABLE_FILE": "/old.json", "MINDSPORE_HCCL_CONFIG_PATH": "/old.json", "ASCEND_DEVICE_ID": "5"}
    device_num, count = len(nodes[0]), str(sum(map(len, nodes)))
    calls, _ = launch("run_distribute_train.sh", device_num, tmp_path, "table.json", "--seed=2", **old, **variables)
    calls = [call for call in calls if call.environment["MS_ROLE"] == "MS_WORKER"]
    names = ("MS_NODE_ID", "MS_WORKER_NUM", "MS_SCHED_HOST", "ASCEND_RT_VISIBLE_DEVICES", *old, *RANK_VARIABLES)
    assert [call.chosen(names) for call in sorted(calls, key=lambda call: int(call.environment["RANK_ID"]))] == [
        {
            "MS_NODE_ID": str(rank), "MS_WORKER_NUM": count, "MS_SCHED_HOST": "127.0.0.1",
            "ASCEND_RT_VISIBLE_DEVICES": devices, "RANK_ID": str(rank), "RANK_SIZE": count,
            "DEVICE_ID": str(rank - ranks[0]),
        }
        for rank in ranks
    ]  # fmt: skip
    for call in calls:
        assert call.arguments == [
            str(ROOT / "train.py"), "--device_target=Ascend", f"--dataset_path={tmp_path}",
            "--loss_file_name=log0/loss.log", "--eval_file_name=log0/auc.log", "--seed=2",
        ]  # fmt: skip
    assert all((tmp_path / f"log{rank}" / "output.log").is_symlink() for rank in ranks)


@pytest.mark.parametrize(
    ("script", "node"),
    [("run_distribute_train.sh", 1), pytest.param("run_distribute_train_gpu.sh", None, marks=pytest.mark.slow)],
)
def test_msrun_starts_a_scheduler_and_the_ranks_of_the_node(launch, tmp_path, script, node):
    cluster = {"NODE_NUM": "2", "NODE_RANK": str(node), "MASTER_PORT": "8129"} if node else {}
    calls, _ = launch(script, 2, tmp_path, "--seed=2", RANK_TABLE_FILE="/old.json", **cluster)
    scheduler, *ranks = sorted(calls, key=lambda call: (call.environment["MS_ROLE"], call.environment["RANK_ID"]))
    assert scheduler.environment["MS_ROLE"] == "MS_SCHED"
    first = 2 * node if node else 0
    names = ("MS_ROLE", "MS_NODE_ID", "MS_WORKER_NUM", "MS_SCHED_HOST", *RANK_VARIABLES)
    assert [call.chosen(names) for call in ranks] == [
        {
            "MS_ROLE": "MS_WORKER", "MS_NODE_ID": str(first + rank), "MS_WORKER_NUM": "4" if node else "2",
            "MS_SCHED_HOST": "127.0.0.1", "RANK_ID": str(first + rank), "RANK_SIZE": "4" if node else "2",
            "DEVICE_ID": str(rank),
        }
        for rank in range(2)
    ]  # fmt: skip
    ports = {call.environment["MS_SCHED_PORT"] for call in calls}
    assert ports == {"8129"} if node else len(ports) == 1
    target = "GPU" if "gpu" in script else "Ascend"
    assert all(call.arguments[1] == f"--device_target={target}" for call in calls)
    assert all((tmp_path / f"log{rank}" / "output.log").is_symlink() for rank in range(first, first + 2))


def test_mpirun_starts_the_ranks_if_launcher_is_mpirun(launch, tmp_path):
    calls, _ = launch("run_distribute_train_gpu.sh", 3, tmp_path, "--seed=2", LAUNCHER="mpirun", RANK_TABLE_FILE="/x")
    names = ("OMPI_COMM_WORLD_RANK", "RANK_TABLE_FILE", "RANK_ID")
    assert sorted(call.environment["OMPI_COMM_WORLD_RANK"] for call in calls) == ["0", "1", "2"]
    assert all(len(call.chosen(names)) == 1 for call in calls)
    assert all(call.arguments[-1] == "--seed=2" for call in calls)
    assert all((tmp_path / f"log{rank}" / "output.log").exists() for rank in range(3))
    assert (tmp_path / "log" / "output.log").samefile(tmp_path / "log0" / "output.log")
    as_root = "--allow-run-as-root " if os.getuid() == 0 else ""
    assert (tmp_path / "record.mpirun").read_text().startswith(f"{as_root}-n 3 bash ")
    _, errors = launch("run_distribute_train_gpu.sh", 3, tmp_path, LAUNCHER="mpirun", NODE_NUM="2", status=2)
    assert errors == "error: LAUNCHER=mpirun is for one node; use msrun for several\n"


@pytest.mark.parametrize(
    ("script", "arguments", "message"),
    [
        ("run_standalone_train.sh", [], ""),
        ("run_standalone_train.sh", ["0", "CPU"], ""),
        ("run_standalone_train.sh", ["0", "TPU", "."], "error: DEVICE_TARGET TPU: must be Ascend, GPU or CPU"),
        ("run_standalone_train.sh", ["x", "CPU", "."], "error: DEVICE_ID x: must be a whole number"),
        ("run_eval.sh", ["0", "CPU", "."], ""),
        ("run_distribute_train.sh", ["2"], ""),
        ("run_distribute_train.sh", ["2", "./none"], "error: DATASET_PATH ./none: no such folder"),
        ("run_distribute_train.sh", ["0", "."], "error: DEVICE_NUM 0: must be at least 1"),
        ("run_distribute_train_gpu.sh", ["2", ".", "table.json"], ""),
    ],
)
def test_wrong_arguments_end_in_the_rule_and_the_usage(launch, script, arguments, message):
    calls, errors = launch(script, *arguments, status=2)
    assert not calls
    lines = errors.splitlines()
    assert lines[:-1] and (not message or lines.pop(0) == message)
    assert lines[0].startswith(f"usage: bash scripts/{script} ")


def test_a_faulty_rank_table_ends_in_one_line(launch, tmp_path):
    write_rank_table(tmp_path / "table.json", [[0, 1]])
    calls, errors = launch("run_distribute_train.sh", 3, tmp_path, "table.json", status=2)
    assert not calls
    assert errors == "error: table.json: server_list[0] has 2 devices, DEVICE_NUM says 3 per node\n"


def test_a_background_run_prints_where_its_logs_are_and_how_to_stop_it(tmp_path):
    (tmp_path / "data").mkdir()
    process = start_script("run_standalone_train.sh", 0, "CPU", "data", cwd=tmp_path, WAIT="0")
    output, errors = process.communicate(timeout=20)
    assert (process.returncode, errors) == (0, "")
    assert "output: ms_log/output.log, losses: loss.log, metrics: auc.log" in output
    started = psutil.Process(int(re.search(r"kill (\d+)$", output)[1]))
    started.wait(timeout=60)
    assert "error: data holds no dataset_meta.json" in (tmp_path / "ms_log" / "output.log").read_text()
    assert "error: data holds no dataset_meta.json" in (tmp_path / "ms_log" / "launch.log").read_text()


def test_a_failing_run_returns_its_status_and_shows_the_end_of_its_log(tmp_path):
    (tmp_path / "data").mkdir()
    process = start_script("run_standalone_train.sh", 0, "CPU", "data", cwd=tmp_path)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    first, *lines = errors.splitlines()
    assert first == "error: the run has failed; the end of ms_log/output.log:"
    assert lines[-1].startswith("error: data holds no dataset_meta.json")
