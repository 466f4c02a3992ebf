# SPDX-License-Identifier: Apache-2.0
import math

import pytest

from src.training.learning_rate import LearningRate


def test_warm_up_by_hand():
    rate = LearningRate("constant", peak=0.4, total_steps=100, warmup_steps=4)
    assert [rate.at(step) for step in range(6)] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.4, 0.4])


def test_plateau_by_hand():
    rate = LearningRate("plateau", peak=0.4, total_steps=100, decay_factor=2.0)
    assert [rate.at(50, plateau_count) for plateau_count in range(4)] == [0.4, 0.2, 0.1, 0.05]
    assert LearningRate("constant", 0.4, 100).at(50, plateau_count=3) == 0.4


def test_one_cycle_by_hand():
    # Half a cosine from step 20 to step 120: a quarter of the way it is (1 + cos 45 degrees) / 2.
    rate = LearningRate("one_cycle", peak=2.0, total_steps=120, warmup_steps=20)
    assert rate.at(9) == pytest.approx(1.0)
    assert rate.at(19) == rate.at(20) == pytest.approx(2.0)
    assert rate.at(45) == pytest.approx(1 + math.sqrt(0.5))
    assert rate.at(70) == pytest.approx(1.0)
    assert 0 < rate.at(119) < 0.001
    assert all(rate.at(step) >= rate.at(step + 1) for step in range(20, 119))


def test_a_schedule_that_only_rises():
    assert LearningRate("one_cycle", 1.0, total_steps=10, warmup_steps=10).at(9) == 1.0
