# SPDX-License-Identifier: Apache-2.0
"""One process alone; several are in tests/system."""

import pytest

from src.common.errors import UserError
from src.distributed.process_group import ProcessGroup


def test_the_first_rank_does_it_and_its_error_stays_what_it_is():
    done = []
    ProcessGroup().first_does(lambda: done.append(1))
    assert done == [1]
    for error in (UserError("a mistake"), PermissionError(13, "Permission denied", "x")):

        def fail(error=error):
            raise error

        with pytest.raises(type(error)) as caught:
            ProcessGroup().first_does(fail)
        assert caught.value is error


def test_one_process_is_alone_on_its_machine():
    assert ProcessGroup().local_count() == 1
