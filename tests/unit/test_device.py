# SPDX-License-Identifier: Apache-2.0
import mindspore as ms
import pytest

from src.device import dense_dtype, find_device_id, find_launcher


@pytest.mark.parametrize(
    ("convert_dtype", "device", "expected"),
    [
        ("auto", "CPU", ms.float32),
        ("auto", "GPU", ms.float16),
        ("auto", "Ascend", ms.float16),
        ("True", "CPU", ms.float16),
        ("False", "Ascend", ms.float32),
    ],
)
def test_dense_layers_are_half_precision_where_it_pays_or_is_wanted(convert_dtype, device, expected):
    assert dense_dtype(convert_dtype, device) == expected


@pytest.mark.parametrize(
    ("environment", "launcher", "device_id"),
    [
        ({}, None, 7),
        ({"DEVICE_ID": "3", "RANK_ID": "0"}, None, 7),  # left behind by something else
        ({"ASCEND_DEVICE_ID": "2", "RANK_TABLE_FILE": "/t", "RANK_SIZE": "1"}, None, 2),  # ModelArts, one card
        ({"ASCEND_DEVICE_ID": "2", "RANK_TABLE_FILE": "/t", "RANK_SIZE": "8", "RANK_ID": "2"}, "rank table", 2),
        ({"DEVICE_ID": "5", "RANK_TABLE_FILE": "/t", "RANK_SIZE": "8", "RANK_ID": "1"}, "rank table", 5),
        ({"MS_ROLE": "MS_WORKER", "DEVICE_ID": "5", "RANK_SIZE": "2"}, "msrun", None),
        ({"MS_ROLE": "MS_WORKER", "RANK_TABLE_FILE": "/t", "RANK_SIZE": "8", "DEVICE_ID": "1"}, "msrun", None),
        ({"OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_RANK": "6", "OMPI_COMM_WORLD_LOCAL_RANK": "2"}, "mpirun", 2),
        ({"OMPI_COMM_WORLD_SIZE": "1", "OMPI_COMM_WORLD_RANK": "0", "OMPI_COMM_WORLD_LOCAL_RANK": "0"}, None, 7),
    ],
)
def test_a_process_finds_its_launcher_and_its_card(environment, launcher, device_id):
    assert find_launcher(environment) == launcher
    assert find_device_id(environment, launcher, 7) == device_id
