# SPDX-License-Identifier: Apache-2.0
import ast
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.common.errors import UserError
from src.distributed.environment import (
    LAUNCHER_VARIABLES,
    Address,
    Launcher,
    Node,
    choose_devices,
    clear_other_launchers,
    find_rank,
    has_node_rank,
    read_launcher,
    read_master,
    read_node,
    replace_launcher,
    set_joining_defaults,
    variables_of_scheduler,
    variables_of_worker,
    without_launcher,
)
from tests.conftest import ROOT

MSRUN = {"MS_ROLE": "MS_WORKER", "MS_SCHED_HOST": "10.0.0.1", "MS_SCHED_PORT": "8118", "MS_WORKER_NUM": "4"}
MPIRUN = {"OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_RANK": "3", "OMPI_COMM_WORLD_LOCAL_RANK": "1"}
TABLE = {"RANK_TABLE_FILE": "/t", "RANK_SIZE": "8", "RANK_ID": "2", "DEVICE_ID": "5"}
OMPI = tuple(MPIRUN)


@pytest.mark.parametrize(
    ("environment", "kind", "rank", "count", "device_id"),
    [
        ({}, None, 0, 1, 7),
        ({"DEVICE_ID": "3", "RANK_ID": "2", "RANK_SIZE": "4"}, None, 0, 1, 7),  # left over from something else
        ({"ASCEND_DEVICE_ID": "2"}, None, 0, 1, 7),  # a notebook of ModelArts
        ({**TABLE, "DEVICE_ID": "", "ASCEND_DEVICE_ID": "2"}, "rank table", 2, 8, 2),  # ModelArts, eight devices
        (TABLE, "rank table", 2, 8, 5),
        ({**TABLE, "ASCEND_DEVICE_ID": "0"}, "rank table", 2, 8, 5),
        ({**TABLE, "RANK_TABLE_FILE": "", "MINDSPORE_HCCL_CONFIG_PATH": "/t"}, "rank table", 2, 8, 5),
        ({**MSRUN, "MS_NODE_ID": "1", "ASCEND_DEVICE_ID": "0"}, "msrun", 1, 4, None),
        ({**MSRUN, "RANK_ID": "1", "DEVICE_ID": "1"}, "msrun", 1, 4, None),
        ({**MSRUN, "MS_NODE_ID": "3", "RANK_ID": "1"}, "msrun", 3, 4, None),
        ({**MSRUN, "MS_NODE_ID": "first"}, "msrun", None, 4, None),  # MindSpore chooses the rank
        ({**TABLE, **MPIRUN, **MSRUN}, "msrun", 2, 4, None),
        ({**TABLE, "RANK_SIZE": "", "RANK_ID": "0"}, None, 0, 1, 7),
        (MPIRUN, "mpirun", 3, 4, 1),
        ({**MPIRUN, "ASCEND_DEVICE_ID": "0"}, "mpirun", 3, 4, 1),
        ({**MPIRUN, "OMPI_COMM_WORLD_SIZE": "1"}, None, 0, 1, 7),
        ({**dict.fromkeys(LAUNCHER_VARIABLES + OMPI, "")}, None, 0, 1, 7),
        ({**dict.fromkeys(LAUNCHER_VARIABLES, " "), **MPIRUN}, "mpirun", 3, 4, 1),
    ],
)
def test_the_environment_gives_the_launcher_the_rank_and_the_device(environment, kind, rank, count, device_id):
    launcher = read_launcher(environment)
    assert (launcher.kind, launcher.rank, launcher.count, launcher.device_id(7)) == (kind, rank, count, device_id)
    assert launcher.scheduler == (Address("10.0.0.1", 8118) if kind == "msrun" else None)


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({"MS_ROLE": "MS_WORKER"}, ["MS_ROLE=MS_WORKER", "MS_SCHED_HOST"]),
        ({**MSRUN, "MS_SCHED_PORT": ""}, ["MS_ROLE=MS_WORKER", "MS_SCHED_PORT"]),
        ({**MSRUN, "MS_SCHED_PORT": "70000"}, ["MS_SCHED_PORT=70000"]),
        ({**MSRUN, "MS_SCHED_PORT": "x"}, ["MS_SCHED_PORT=x"]),
        ({**MSRUN, "MS_WORKER_NUM": "0"}, ["MS_WORKER_NUM=0"]),
        ({**MSRUN, "MS_NODE_ID": "4"}, ["MS_NODE_ID=4", "0 to 3"]),
        ({**MSRUN, "MS_ROLE": "MS_PSERVER"}, ["MS_ROLE=MS_PSERVER"]),
        ({"MS_SCHED_HOST": "127.0.0.1"}, ["MS_SCHED_HOST=127.0.0.1", "MS_ROLE"]),
        ({"OMPI_COMM_WORLD_SIZE": "four"}, ["OMPI_COMM_WORLD_SIZE=four"]),
        ({"OMPI_COMM_WORLD_SIZE": "4"}, ["OMPI_COMM_WORLD_SIZE=4", "OMPI_COMM_WORLD_RANK"]),
        ({**MPIRUN, "OMPI_COMM_WORLD_LOCAL_RANK": "-1"}, ["OMPI_COMM_WORLD_LOCAL_RANK=-1"]),
        ({"RANK_TABLE_FILE": "/t", "RANK_SIZE": "8"}, ["RANK_TABLE_FILE=/t", "RANK_ID"]),
        ({"RANK_TABLE_FILE": "/t", "RANK_ID": "1"}, ["RANK_TABLE_FILE=/t", "RANK_SIZE is not"]),
        ({**TABLE, "RANK_SIZE": "1", "RANK_ID": "1"}, ["RANK_ID=1", "0 to 0"]),
        ({"RANK_TABLE_FILE": "/t", "RANK_SIZE": "8.0"}, ["RANK_SIZE=8.0"]),
        ({**TABLE, "RANK_ID": "8"}, ["RANK_ID=8", "0 to 7"]),
        ({**TABLE, "DEVICE_ID": ""}, ["RANK_TABLE_FILE=/t", "DEVICE_ID"]),
    ],
)
def test_missing_and_invalid_variables_are_named_with_their_value_and_the_fix(environment, named):
    with pytest.raises(UserError) as caught:
        read_launcher(environment)
    message = str(caught.value)
    assert all(part in message for part in named), message
    assert "unset" in message


# A job of ModelArts on one card has all four variables; a notebook has ASCEND_DEVICE_ID, but no RANK_ID.
JOB = {"RANK_TABLE_FILE": "/t", "RANK_SIZE": "1", "RANK_ID": "0", "ASCEND_DEVICE_ID": "3"}


@pytest.mark.parametrize(
    ("environment", "flag", "device_id"),
    [(JOB, 0, 3), (JOB, 5, 5), ({"ASCEND_DEVICE_ID": "3"}, 0, 0), ({"ASCEND_DEVICE_ID": "3"}, 5, 5), ({}, 0, 0)],
)
def test_a_single_process_takes_its_flag_and_then_the_device_of_its_job(environment, flag, device_id):
    launcher = read_launcher(environment)
    assert (launcher.kind, launcher.device_id(flag)) == (None, device_id)


def test_a_job_on_one_card_loses_the_rank_table_and_keeps_its_card():
    left = dict(JOB)
    clear_other_launchers(read_launcher(left), left)
    assert left == {"RANK_ID": "0", "ASCEND_DEVICE_ID": "3"}
    assert read_launcher(left).device_id(0) == 3
    notebook = {"ASCEND_DEVICE_ID": "3", "RANK_TABLE_FILE": "/t"}
    clear_other_launchers(read_launcher(notebook), notebook)
    assert notebook == {}


@pytest.mark.parametrize("text", ["0,1", "one", "-1"])
def test_an_invalid_device_id_of_modelarts_is_refused_where_there_are_devices(text):
    launcher = read_launcher({"ASCEND_DEVICE_ID": text, "RANK_ID": "0"})
    with pytest.raises(UserError, match=f"ASCEND_DEVICE_ID={text}: must be the number of one device"):
        launcher.device_id(0)


TEXTS = st.sampled_from(["", " ", "0", "1", "8", "-1", "0,1", "abc", "MS_WORKER", "MS_SCHED", "127.0.0.1", "/t", "٣"])


@given(st.dictionaries(st.sampled_from(LAUNCHER_VARIABLES + OMPI), TEXTS))
def test_no_environment_makes_a_traceback_and_clearing_keeps_the_launcher(environment):
    try:
        launcher = read_launcher(environment)
    except UserError as error:
        assert "\n" not in str(error)
        assert any(f"{name}={value.strip()}" in str(error) for name, value in environment.items() if value.strip())
        return
    left = {"HOME": "/root", **environment}
    clear_other_launchers(launcher, left)
    assert left["HOME"] == "/root"
    assert read_launcher(left) == launcher
    # The variables by which MindSpore assumes several processes are left only if there are several.
    signs = {
        "MS_ROLE": "msrun",
        "MS_SCHED_HOST": "msrun",
        "OMPI_COMM_WORLD_RANK": "mpirun",
        "RANK_TABLE_FILE": "rank table",
        "MINDSPORE_HCCL_CONFIG_PATH": "rank table",
    }
    assert all(launcher.kind == kind for name, kind in signs.items() if name in left)
    if launcher.kind is None:
        assert launcher == Launcher(device=launcher.device)


OF_ALL_LAUNCHERS = (
    "MS_ROLE", "MS_SCHED_HOST", "MS_SCHED_PORT", "MS_SCHED_NEW", "MS_WORKER_NUM", "MS_NODE_ID", "RANK_TABLE_FILE",
    "MINDSPORE_HCCL_CONFIG_PATH", "ASCEND_DEVICE_ID", "RANK_SIZE", "RANK_ID", "DEVICE_ID", *OMPI, "OMPI_MCA_x",
)  # fmt: skip


def test_no_variable_of_a_launcher_is_passed_on():
    environment = {**dict.fromkeys(OF_ALL_LAUNCHERS, "1"), "PATH": "/bin"}
    assert without_launcher(environment) == {"PATH": "/bin"}
    replace_launcher({"RANK_ID": "4"}, environment)
    assert environment == {"PATH": "/bin", "RANK_ID": "4"}


@pytest.mark.parametrize(
    ("launcher", "kept"),
    [
        (Launcher(), set()),
        (Launcher("mpirun"), {*OMPI, "OMPI_MCA_x"}),
        (
            Launcher("msrun"),
            {"MS_ROLE", "MS_SCHED_HOST", "MS_SCHED_PORT", "MS_SCHED_NEW", "MS_WORKER_NUM", "MS_NODE_ID", "RANK_SIZE",
             "RANK_ID", "DEVICE_ID"},
        ),
    ],
)  # fmt: skip
def test_a_process_keeps_the_variables_of_its_own_launcher_only(launcher, kept):
    environment = {**dict.fromkeys(OF_ALL_LAUNCHERS, "1"), "PATH": "/bin"}
    clear_other_launchers(launcher, environment)
    assert environment.keys() == kept | {"PATH"}


def test_a_scheduler_and_a_rank_get_the_variables_of_msrun():
    shared = {"MS_SCHED_HOST": "10.0.0.1", "MS_SCHED_PORT": "8118", "MS_WORKER_NUM": "16", "RANK_SIZE": "16"}
    scheduler, address = {**shared, "MS_ROLE": "MS_SCHED", "RANK_ID": "0"}, Address("10.0.0.1", 8118)
    assert variables_of_scheduler(address, 16) == scheduler
    assert variables_of_worker(address, 16, 11, 3) == {
        **shared, "MS_ROLE": "MS_WORKER", "MS_NODE_ID": "11", "RANK_ID": "11", "DEVICE_ID": "3",
    }  # fmt: skip


def test_devices_become_visible_in_ascending_order_unless_the_user_has_chosen_enough_of_them():
    assert choose_devices([6, 4], {}) == {"ASCEND_RT_VISIBLE_DEVICES": "4,6"}
    assert choose_devices([6, 4], {"ASCEND_RT_VISIBLE_DEVICES": "0,1"}) == {"ASCEND_RT_VISIBLE_DEVICES": "0,1"}
    assert choose_devices([6], {"ASCEND_RT_VISIBLE_DEVICES": "2,10"}) == {"ASCEND_RT_VISIBLE_DEVICES": "2,10"}


# CANN ignores what follows the first id that does not ascend, and the first other character: a blank, for example.
@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("0", "this node has 2 ranks in the rank table; name at least that many devices, or unset it"),
        *(
            (text, "must be device ids in ascending order")
            for text in ("1,0", "x,", "1,1", "0,", "0, 1", "-1,0", "٣,5")
        ),
    ],
)
def test_visible_devices_of_the_user_that_cannot_all_be_used_are_refused(text, rule):
    with pytest.raises(UserError) as caught:
        choose_devices([6, 4], {"ASCEND_RT_VISIBLE_DEVICES": text})
    assert str(caught.value).startswith(f"ASCEND_RT_VISIBLE_DEVICES={text}: {rule}")


def test_the_rank_is_found_in_the_variables_of_every_launcher():
    for mpi, other in itertools.product(["", "3"], ["", "5", "x"]):
        expected = 3 if mpi else 5 if other == "5" else None
        assert find_rank({"OMPI_COMM_WORLD_RANK": mpi, "RANK_ID": other}) == expected


@pytest.mark.parametrize(
    ("environment", "node"),
    [
        ({}, Node()),
        ({"NODE_NUM": "", "MASTER_ADDR": ""}, Node()),
        ({"MASTER_PORT": "9000"}, Node(master_port=9000)),
        ({"NODE_NUM": "3", "NODE_RANK": "2", "MASTER_ADDR": "10.0.0.1"}, Node(2, 3, "10.0.0.1")),
    ],
)
def test_the_node_is_read_from_the_variables_of_the_scripts(environment, node):
    assert read_node(environment) == node


def test_variables_that_are_set_take_precedence_over_the_rank_table():
    table = Node(1, 2, "10.0.0.1")
    assert read_node({"NODE_NUM": "2"}, table) == table
    assert read_node({"NODE_RANK": "0", "MASTER_ADDR": "h", "MASTER_PORT": "9"}, table) == Node(0, 2, "h", 9)


def test_the_address_of_the_user_replaces_that_of_the_rank_table_and_is_named_by_its_variable():
    node = Node(1, 2, "10.0.0.1", 8118, master_name="server_id")
    for environment, expected, name in [
        ({}, node, "server_id"),
        ({"MASTER_PORT": "9"}, Node(1, 2, "10.0.0.1", 9), "server_id"),
        ({"MASTER_ADDR": "h"}, Node(1, 2, "h", 8118), "MASTER_ADDR"),
        ({"MASTER_ADDR": "h", "MASTER_PORT": "9"}, Node(1, 2, "h", 9), "MASTER_ADDR"),
    ]:
        found = read_master(node, environment)
        assert (found, found.master_name) == (expected, name)


def test_a_node_rank_counts_if_it_is_not_empty():
    assert [has_node_rank(environment) for environment in ({}, {"NODE_RANK": ""}, {"NODE_RANK": "0"})] == [0, 0, 1]


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"NODE_NUM": "0"}, "NODE_NUM=0: must be a whole number of at least 1; unset it to run alone"),
        (
            {"NODE_NUM": "2", "NODE_RANK": "2"},
            "NODE_RANK=2: must be a whole number from 0 to 1; NODE_NUM is 2; set both, or unset both to run alone",
        ),
        (
            {"NODE_RANK": "1"},
            "NODE_RANK=1: must be a whole number from 0 to 0; NODE_NUM is 1; set both, or unset both to run alone",
        ),
        ({"MASTER_PORT": "x"}, "MASTER_PORT=x: must be a whole number from 1 to 65535; unset it for the default"),
    ],
)
def test_an_invalid_node_is_refused_with_the_rule_and_the_fix(environment, message):
    with pytest.raises(UserError) as caught:
        read_node(environment)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("text", "seconds", "words"),
    [
        (None, 600, "at most 600 s (MS_TOPO_TIMEOUT)"),
        ("30", 30, "at most 30 s (MS_TOPO_TIMEOUT)"),
        ("-1", float("inf"), "no limit (MS_TOPO_TIMEOUT)"),
    ],
)
def test_the_timeout_is_that_of_mindspore_and_a_negative_one_is_no_limit(text, seconds, words):
    environment = MSRUN if text is None else {**MSRUN, "MS_TOPO_TIMEOUT": text}
    timeout = read_launcher(environment).timeout
    assert (timeout.seconds, timeout.is_default, str(timeout)) == (seconds, text is None, words)


def test_joining_defaults_keep_the_values_of_the_user():
    environment = {"MS_TOPO_TIMEOUT": "30", "MS_SUBMODULE_LOG_v": ""}
    set_joining_defaults(Launcher(is_scheduler=True), environment)
    assert environment == {"MS_TOPO_TIMEOUT": "30", "MS_SUBMODULE_LOG_v": "{DISTRIBUTED:2}"}


NODE_VARIABLES = {
    "ASCEND_RT_VISIBLE_DEVICES",
    "NODE_NUM",
    "NODE_RANK",
    "MASTER_ADDR",
    "MASTER_PORT",
    "MS_TOPO_TIMEOUT",
    "MS_SUBMODULE_LOG_v",
}
STRINGS_THAT_NAME_A_VARIABLE = {  # for a message of the called function, not to read it
    ("src.distributed.device", "MS_SCHED_HOST"),
    ("src.distributed.device", "MS_SCHED_PORT"),
    ("src.distributed.scheduler", "MS_SCHED_HOST"),
    ("src.distributed.launch", "MASTER_PORT"),
    ("src.distributed.table_start", "MASTER_PORT"),
}


def test_no_other_module_reads_the_variables_of_launchers():
    variables = {*LAUNCHER_VARIABLES, *OMPI, *NODE_VARIABLES}
    found, readers = set(), set()
    for path in [*(ROOT / "src").rglob("*.py"), *ROOT.glob("*.py")]:
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and node.value in variables:
                found.add((name, node.value))
            if isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv") and "distributed" in name:
                readers.add(name)
    assert {name for _, name in found} == variables  # the search sees them
    assert {(module, name) for module, name in found if module != "src.distributed.environment"} == (
        STRINGS_THAT_NAME_A_VARIABLE
    )
    # The last two read the environments of other processes, by psutil.
    assert readers == {"src.distributed.environment", "src.distributed.supervisor", "src.distributed.scheduler"}
