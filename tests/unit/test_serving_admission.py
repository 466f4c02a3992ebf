# SPDX-License-Identifier: Apache-2.0
"""Work in progress is bounded."""

import pytest

from src.serving.admission import Admission
from src.serving.request_errors import Overloaded, RequestTooLarge


def test_units_are_held_as_they_come_until_the_end():
    rows = Admission("rows", 10)
    with rows.holding() as hold:
        hold(2)
        assert rows.in_flight == 2
        hold(4)
        with pytest.raises(Overloaded, match=r"^6 rows .* limit is 10; try later$"), rows.holding() as hold_more:
            hold_more(5)
        with rows.holding() as hold_more:
            hold_more(4)
            assert rows.in_flight == 10
        assert rows.in_flight == 6
    assert rows.in_flight == 0


def test_an_error_releases_them():
    rows = Admission("rows", 10)
    with pytest.raises(KeyError), rows.holding() as hold:
        hold(10)
        raise KeyError
    with rows.holding() as hold:
        hold(10)
        assert rows.in_flight == 10


def test_what_never_fits_is_too_large_however_idle_the_server_is():
    with (
        pytest.raises(RequestTooLarge, match="11 rows, the limit is 10; split it"),
        Admission("rows", 10).holding() as hold,
    ):
        hold(5)
        hold(6)
