# SPDX-License-Identifier: Apache-2.0
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.common.errors import UserError
from src.distributed.environment import (
    ALL_VARIABLES,
    Launcher,
    clear_others,
    find_rank,
    read_launcher,
    without_launcher,
)

MSRUN = {"MS_ROLE": "MS_WORKER", "MS_SCHED_HOST": "10.0.0.1", "MS_SCHED_PORT": "8118", "MS_WORKER_NUM": "4"}
MPIRUN = {"OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_RANK": "3", "OMPI_COMM_WORLD_LOCAL_RANK": "1"}
TABLE = {"RANK_TABLE_FILE": "/t", "RANK_SIZE": "8", "RANK_ID": "2", "DEVICE_ID": "5"}
OMPI = tuple(MPIRUN)


@pytest.mark.parametrize(
    ("environment", "kind", "rank", "count", "device_id"),
    [
        ({}, None, 0, 1, 7),
        ({"DEVICE_ID": "3", "RANK_ID": "2", "RANK_SIZE": "4"}, None, 0, 1, 7),  # left over from something else
        ({"ASCEND_DEVICE_ID": "2", "RANK_TABLE_FILE": "/t", "RANK_SIZE": "1"}, None, 0, 1, 2),  # ModelArts, one card
        ({**TABLE, "DEVICE_ID": "", "ASCEND_DEVICE_ID": "2"}, "rank table", 2, 8, 2),  # ModelArts, eight cards
        (TABLE, "rank table", 2, 8, 5),
        ({**TABLE, "ASCEND_DEVICE_ID": "0"}, "rank table", 2, 8, 5),
        ({**MSRUN, "RANK_ID": "1", "DEVICE_ID": "1"}, "msrun", 1, 4, None),
        ({**MSRUN, "MS_NODE_ID": "3", "RANK_ID": "1"}, "msrun", 3, 4, None),
        ({**MSRUN, "MS_NODE_ID": "first"}, "msrun", None, 4, None),  # MindSpore numbers such ones itself
        ({**TABLE, **MPIRUN, **MSRUN}, "msrun", 2, 4, None),
        (MPIRUN, "mpirun", 3, 4, 1),
        ({**MPIRUN, "ASCEND_DEVICE_ID": "0"}, "mpirun", 3, 4, 1),
        ({**MPIRUN, "OMPI_COMM_WORLD_SIZE": "1"}, None, 0, 1, 7),
        ({**dict.fromkeys(ALL_VARIABLES + OMPI, "")}, None, 0, 1, 7),
        ({**dict.fromkeys(ALL_VARIABLES, " "), **MPIRUN}, "mpirun", 3, 4, 1),
    ],
)
def test_a_process_finds_its_launcher_its_rank_and_its_card(environment, kind, rank, count, device_id):
    launcher = read_launcher(environment)
    assert (launcher.kind, launcher.rank, launcher.count, launcher.device_id(7)) == (kind, rank, count, device_id)
    assert launcher.scheduler == (("10.0.0.1", 8118) if kind == "msrun" else None)


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
        ({"RANK_TABLE_FILE": "/t", "RANK_SIZE": "8.0"}, ["RANK_SIZE=8.0"]),
        ({**TABLE, "RANK_ID": "8"}, ["RANK_ID=8", "0 to 7"]),
        ({**TABLE, "DEVICE_ID": ""}, ["RANK_TABLE_FILE=/t", "DEVICE_ID"]),
    ],
)
def test_what_is_missing_or_wrong_is_named_with_its_value_and_the_way_out(environment, named):
    with pytest.raises(UserError) as caught:
        read_launcher(environment)
    message = str(caught.value)
    assert all(part in message for part in named), message
    assert "unset" in message


@pytest.mark.parametrize("text", ["0,1", "one", "-1"])
def test_the_card_of_modelarts_matters_only_where_there_are_cards(text):
    launcher = read_launcher({"ASCEND_DEVICE_ID": text})
    with pytest.raises(UserError, match=f"ASCEND_DEVICE_ID={text}: must be the number of one card"):
        launcher.device_id(0)


TEXTS = st.sampled_from(["", " ", "0", "1", "8", "-1", "0,1", "abc", "MS_WORKER", "MS_SCHED", "127.0.0.1", "/t", "٣"])


@given(st.dictionaries(st.sampled_from(ALL_VARIABLES + OMPI), TEXTS))
def test_no_environment_makes_a_traceback_and_what_is_read_does_not_depend_on_what_is_cleared(environment):
    try:
        launcher = read_launcher(environment)
    except UserError as error:
        assert "\n" not in str(error)
        assert any(f"{name}={value.strip()}" in str(error) for name, value in environment.items() if value.strip())
        return
    left = {"HOME": "/root", **environment}
    clear_others(left, launcher)
    assert left["HOME"] == "/root"
    assert read_launcher(left) == launcher
    # What MindSpore takes for a sign of several processes is there only if there are several.
    signs = {
        "MS_ROLE": "msrun",
        "MS_SCHED_HOST": "msrun",
        "OMPI_COMM_WORLD_RANK": "mpirun",
        "RANK_TABLE_FILE": "rank table",
    }
    assert all(launcher.kind == kind for name, kind in signs.items() if name in left)
    if launcher.kind is None:
        assert launcher == Launcher(device=launcher.device)


def test_nothing_of_a_launcher_is_passed_on():
    environment = dict.fromkeys([*ALL_VARIABLES, *OMPI, "OMPI_MCA_x"], "1")
    assert without_launcher({**environment, "PATH": "/bin"}) == {"PATH": "/bin"}


def test_a_rank_is_found_wherever_a_launcher_has_put_it():
    for mpi, other in itertools.product(["", "3"], ["", "5", "x"]):
        expected = 3 if mpi else 5 if other == "5" else None
        assert find_rank({"OMPI_COMM_WORLD_RANK": mpi, "RANK_ID": other}) == expected
