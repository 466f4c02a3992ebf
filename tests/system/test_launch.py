# SPDX-License-Identifier: Apache-2.0
"""The scripts that start runs: with a stand-in for Python what they ask of it, and real ranks that train."""

import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time

import psutil
import pytest

from tests.conftest import ROOT
from tests.processes import start_script

SCRIPTS = sorted(path for path in (ROOT / "scripts").glob("*.sh"))
# Does as python does, but of train.py and eval.py it only writes down how they were called.
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


@pytest.fixture
def launch(tmp_path):
    """Return a function that runs a script with the stand-ins; it returns the processes that it would have started.

    Each of them is a pair: arguments, environment.
    """
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
        return sorted(map(parse_record, record.iterdir()), key=lambda called: called[1].get("RANK_ID", "-")), errors

    return run_script


def parse_record(path):
    lines = path.read_text().splitlines()
    arguments = [line.removeprefix("argument ") for line in lines if line.startswith("argument ")]
    return arguments, dict(line.split("=", 1) for line in lines[len(arguments) :] if "=" in line)


def chosen(environment, names=RANK_VARIABLES):
    return {name: environment[name] for name in names if name in environment}


def write_table(path, servers):
    """Write a rank table; servers: for each machine the device ids of its ranks."""
    ranks = iter(range(100))
    server_list = [
        {
            "server_id": f"10.0.0.{place}",
            "device": [
                {"device_id": str(device), "device_ip": f"192.1.{place}.{device}", "rank_id": str(next(ranks))}
                for device in devices
            ],
            "host_nic_ip": "reserve",
        }
        for place, devices in enumerate(servers)
    ]
    table = {
        "version": "1.0", "server_count": str(len(servers)), "server_list": server_list, "status": "completed",
    }  # fmt: skip
    path.write_text(json.dumps(table))
    return path


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_hold_to_the_rules_of_the_shell(script):
    subprocess.run(["bash", "-n", script], check=True)
    subprocess.run([pathlib.Path(sys.executable).with_name("shellcheck"), script], check=True)


def test_standalone_training_gets_the_device_and_the_flags_and_none_of_a_launcher_s_variables(launch, tmp_path):
    called, _ = launch(
        "run_standalone_train.sh", "--train_epochs=3", 5, "Ascend", tmp_path, "--seed=2", RANK_TABLE_FILE="/old.json",
        RANK_SIZE="8", MS_ROLE="MS_WORKER",
    )  # fmt: skip
    [(arguments, environment)] = called
    assert arguments == [
        str(ROOT / "train.py"), "--device_target=Ascend", "--device_id=5", f"--dataset_path={tmp_path}",
        "--train_epochs=3", "--seed=2",
    ]  # fmt: skip
    assert chosen(environment, (*RANK_VARIABLES, "MS_ROLE")) == {"RANK_ID": "0"}
    assert (tmp_path / "ms_log" / "output.log").exists()


def test_evaluation_gets_the_checkpoint(launch, tmp_path):
    [(arguments, _)], _ = launch("run_eval.sh", 0, "GPU", tmp_path, "ckpt dir")
    assert arguments == [
        str(ROOT / "eval.py"), "--device_target=GPU", "--device_id=0", f"--dataset_path={tmp_path}",
        "--checkpoint_path=ckpt dir",
    ]  # fmt: skip
    assert (tmp_path / "ms_log" / "eval_output.log").exists()


def test_with_a_rank_table_each_device_gets_its_rank(launch, tmp_path):
    table = write_table(tmp_path / "table.json", [[4, 5, 7]])
    called, _ = launch("run_distribute_train.sh", 3, tmp_path, "table.json", "--seed=2", RANK_TABLE_FILE="/old.json")
    assert [chosen(environment) for _, environment in called] == [
        {"RANK_ID": str(rank), "RANK_SIZE": "3", "DEVICE_ID": device, "RANK_TABLE_FILE": str(table)}
        for rank, device in enumerate("457")
    ]
    for arguments, _ in called:
        assert arguments == [
            str(ROOT / "train.py"), "--device_target=Ascend", f"--dataset_path={tmp_path}",
            "--loss_file_name=log0/loss.log", "--eval_file_name=log0/auc.log", "--seed=2",
        ]  # fmt: skip
    assert all((tmp_path / f"log{rank}" / "output.log").exists() for rank in range(3))


def test_with_a_rank_table_the_second_machine_has_the_ranks_after_those_of_the_first(launch, tmp_path):
    write_table(tmp_path / "table.json", [[0, 1], [6, 7]])
    called, _ = launch("run_distribute_train.sh", 2, tmp_path, "table.json", NODE_NUM="2", NODE_RANK="1")
    assert [chosen(environment, RANK_VARIABLES[:3]) for _, environment in called] == [
        {"RANK_ID": "2", "RANK_SIZE": "4", "DEVICE_ID": "6"},
        {"RANK_ID": "3", "RANK_SIZE": "4", "DEVICE_ID": "7"},
    ]


@pytest.mark.parametrize("machine", [None, 1])
@pytest.mark.parametrize("script", ["run_distribute_train.sh", "run_distribute_train_gpu.sh"])
def test_msrun_starts_a_scheduler_and_the_ranks_of_the_machine(launch, tmp_path, script, machine):
    cluster = {"NODE_NUM": "2", "NODE_RANK": str(machine), "MASTER_PORT": "8129"} if machine else {}
    called, _ = launch(script, 2, tmp_path, "--seed=2", RANK_TABLE_FILE="/old.json", **cluster)
    scheduler, *ranks = sorted(called, key=lambda process: (process[1]["MS_ROLE"], process[1]["RANK_ID"]))
    assert scheduler[1]["MS_ROLE"] == "MS_SCHED"
    first = 2 * machine if machine else 0
    names = ("MS_ROLE", "MS_NODE_ID", "MS_WORKER_NUM", "MS_SCHED_HOST", *RANK_VARIABLES)
    assert [chosen(environment, names) for _, environment in ranks] == [
        {
            "MS_ROLE": "MS_WORKER", "MS_NODE_ID": str(first + rank), "MS_WORKER_NUM": "4" if machine else "2",
            "MS_SCHED_HOST": "127.0.0.1", "RANK_ID": str(first + rank), "RANK_SIZE": "4" if machine else "2",
            "DEVICE_ID": str(rank),
        }
        for rank in range(2)
    ]  # fmt: skip
    ports = {environment["MS_SCHED_PORT"] for _, environment in called}
    assert ports == {"8129"} if machine else len(ports) == 1
    target = "GPU" if "gpu" in script else "Ascend"
    assert all(arguments[1] == f"--device_target={target}" for arguments, _ in called)
    assert all((tmp_path / f"log{rank}" / "output.log").is_symlink() for rank in range(first, first + 2))


def test_mpirun_starts_the_ranks_if_that_is_wanted(launch, tmp_path):
    called, _ = launch("run_distribute_train_gpu.sh", 3, tmp_path, "--seed=2", LAUNCHER="mpirun", RANK_TABLE_FILE="/x")
    names = ("OMPI_COMM_WORLD_RANK", "RANK_TABLE_FILE", "RANK_ID")
    assert sorted(environment["OMPI_COMM_WORLD_RANK"] for _, environment in called) == ["0", "1", "2"]
    assert all(len(chosen(environment, names)) == 1 for _, environment in called)
    assert all(arguments[-1] == "--seed=2" for arguments, _ in called)
    assert all((tmp_path / f"log{rank}" / "output.log").exists() for rank in range(3))
    assert (tmp_path / "log" / "output.log").samefile(tmp_path / "log0" / "output.log")
    as_root = "--allow-run-as-root " if os.getuid() == 0 else ""
    assert (tmp_path / "record.mpirun").read_text().startswith(f"{as_root}-n 3 bash ")
    _, errors = launch("run_distribute_train_gpu.sh", 3, tmp_path, LAUNCHER="mpirun", NODE_NUM="2", status=2)
    assert errors == "error: LAUNCHER=mpirun is for one machine; several are for msrun\n"


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
def test_wrong_arguments_end_in_the_usage(launch, script, arguments, message):
    called, errors = launch(script, *arguments, status=2)
    assert not called
    lines = errors.splitlines()
    assert lines[:-1] and (not message or lines.pop(0) == message)
    assert lines[0].startswith(f"usage: bash scripts/{script} ")


def test_a_faulty_rank_table_is_named(launch, tmp_path):
    write_table(tmp_path / "table.json", [[0, 1]])
    called, errors = launch("run_distribute_train.sh", 3, tmp_path, "table.json", status=2)
    assert not called
    assert errors == "error: table.json: server_list[0] has 2 devices, DEVICE_NUM says 3 a machine\n"


def test_in_the_background_it_says_where_the_logs_are_and_how_to_stop_it(tmp_path):
    (tmp_path / "data").mkdir()
    process = start_script("run_standalone_train.sh", 0, "CPU", "data", cwd=tmp_path, WAIT="0")
    output, errors = process.communicate(timeout=20)
    assert (process.returncode, errors) == (0, "")
    assert "output: ms_log/output.log, losses: loss.log, scores: auc.log" in output
    started = psutil.Process(int(re.search(r"kill (\d+)$", output)[1]))
    started.wait(timeout=60)
    assert "error: data holds no dataset_meta.json" in (tmp_path / "ms_log" / "output.log").read_text()
    assert "error: data holds no dataset_meta.json" in (tmp_path / "ms_log" / "launch.log").read_text()


def test_a_run_that_fails_at_once_returns_its_status_and_shows_why(tmp_path):
    (tmp_path / "data").mkdir()
    process = start_script("run_standalone_train.sh", 0, "CPU", "data", cwd=tmp_path)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    first, *lines = errors.splitlines()
    assert first == "error: the run has failed; the end of ms_log/output.log:"
    assert lines[-1].startswith("error: data holds no dataset_meta.json")


FLAGS = ("--embedding_size=4", "--hidden_sizes=16,8", "--keep_prob=1", "--learning_rate=0.01", "--log_every=1",
         "--l2_coef=1e-3", "--clip_norm=1", "--eval_every_steps=7", "--lr_schedule=plateau", "--train_epochs=4",
         "--keep_checkpoint_max=0")  # fmt: skip
STEPS = 4 * 12


def two_ranks(data, folder, *flags):
    arguments = (2, data, "--batch_size=200", *FLAGS, *flags)
    return start_script("run_distribute_train.sh", *arguments, cwd=folder, DEVICE_TARGET="CPU")


def read_losses(path):
    """Return from a loss log the places and the losses."""
    lines = [line.split(" ", 2)[2] for line in path.read_text().splitlines()]
    places, losses = zip(*(line.split(", loss is ") for line in lines))
    return list(places), [float(loss) for loss in losses]


def read_looks(path):
    return [line.split(" ", 2)[2].split(", eval_time")[0] for line in path.read_text().splitlines()]


def wait_for_steps(count, folder, process):
    log = folder / "log0" / "loss.log"
    while process.poll() is None and not (log.exists() and log.read_bytes().count(b"\n") >= count):
        time.sleep(0.01)


def ranks_of(process):
    """Return the process of each rank of a script."""
    ranks = {}
    for child in psutil.Process(process.pid).children(recursive=True):
        environment = child.environ()
        if environment.get("MS_ROLE") == "MS_WORKER":
            ranks[int(environment["RANK_ID"])] = child
    return ranks


@pytest.fixture(scope="module")
def stopped(data, tmp_path_factory):
    """A run of two ranks that SIGTERM ended: its folder, the processes there were, the script's process and errors."""
    folder = tmp_path_factory.mktemp("two")
    process = two_ranks(data, folder)
    wait_for_steps(15, folder, process)
    processes = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    return folder, processes, process.returncode, errors


@pytest.fixture(scope="module")
def of_two(stopped, data):
    """The folder of that run after it was gone on with to its end."""
    folder, *_ = stopped
    process = two_ranks(data, folder, "--resume=True")
    _, errors = process.communicate(timeout=200)
    assert process.returncode == 0, errors
    return folder


def history_of(folder):
    return json.loads((folder / "checkpoint" / "run.json").read_text())["history"]


def test_sigterm_stops_all_ranks_after_the_same_step(stopped):
    folder, processes, status, errors = stopped
    assert status == 143
    assert "stopped by SIGTERM; the same command with --resume=True resumes from there" in errors
    assert not [left for left in processes if left.is_running() and left.status() != psutil.STATUS_ZOMBIE]
    _, losses = read_losses(folder / "log0" / "loss.log")
    model = json.loads((folder / "checkpoint" / "model.json").read_text())
    assert model["checkpoints"][-1]["state"]["step"] == len(losses) < STEPS


def test_two_ranks_that_were_stopped_and_went_on_do_as_one_with_batches_of_twice_the_size(of_two, data, tmp_path, run):
    finished = run(
        ROOT / "train.py", f"--dataset_path={data}", "--batch_size=400", "--device_target=CPU", *FLAGS, cwd=tmp_path
    )
    assert finished.returncode == 0, finished.stderr
    places, losses = read_losses(tmp_path / "loss.log")
    their_places, their_losses = read_losses(of_two / "log0" / "loss.log")
    assert len(places) == STEPS
    assert their_places == places
    assert their_losses == pytest.approx(losses, rel=2e-6)
    assert read_looks(of_two / "log0" / "auc.log") == read_looks(tmp_path / "auc.log")
    for look, theirs in zip(history_of(tmp_path), history_of(of_two)):
        assert theirs["valid"]["auc"] == pytest.approx(look["valid"]["auc"], abs=2e-6)
    assert re.search(r"rank 1 of 2\ngoing on from .*, after step \d+", (of_two / "log1" / "output.log").read_text())


@pytest.mark.slow
def test_two_ranks_score_a_checkpoint_exactly_as_one(of_two, data, tmp_path, run):
    flags = (
        f"--dataset_path={data}",
        "--batch_size=200",
        "--device_target=CPU",
        f"--checkpoint_path={of_two / 'checkpoint'}",
    )
    alone = run(ROOT / "eval.py", *flags, cwd=tmp_path)
    together = subprocess.run(
        [pathlib.Path(sys.executable).with_name("msrun"), "--worker_num=2", "--local_worker_num=2", "--join=True",
         "--log_dir=logs", "--master_port=8131", str(ROOT / "eval.py"), *flags],
        cwd=tmp_path, check=True, capture_output=True, text=True, timeout=100,
        env={**os.environ, "PATH": f"{pathlib.Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"},
    )  # fmt: skip
    assert together.returncode == 0
    results = [
        re.sub(r", 'eval_time.*", "", re.search(r"\{'result.*", text)[0])
        for text in (alone.stdout, (tmp_path / "logs" / "worker_0.log").read_text())
    ]
    assert "'AUC': 0." in results[0]
    assert results[0] == results[1]
    assert "result" not in (tmp_path / "logs" / "worker_1.log").read_text()


@pytest.mark.slow
def test_a_rank_that_dies_ends_the_run_which_one_process_can_take_up(data, tmp_path, run):
    process = two_ranks(data, tmp_path, "--save_checkpoint_steps=5")
    wait_for_steps(16, tmp_path, process)
    ranks_of(process)[1].kill()
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    # Rank 0 may end so soon after it that both are named.
    assert "error: rank 1 has failed; the end of log1/output.log:\ndevice: CPU\nrank 1 of 2\n" in errors
    assert errors.startswith("error: rank ")
    finished = run(
        ROOT / "train.py", f"--dataset_path={data}", "--batch_size=200", "--device_target=CPU", *FLAGS, "--resume=True",
        "--train_epochs=2", cwd=tmp_path,
    )  # fmt: skip
    assert finished.returncode == 0, finished.stderr
    step = int(re.search(r"after step (\d+)", finished.stdout)[1])
    assert 14 <= step < STEPS
    # A rank alone goes on with the rows that are left of the epoch, in steps of half as many.
    places, _ = read_losses(tmp_path / "loss.log")
    first = 2 * step
    assert places[0] == f"epoch: {first // 24 + 1} step: {first % 24 + 1}"
    assert places[-1] == "epoch: 2 step: 24"
    assert len(places) == 48 - first
