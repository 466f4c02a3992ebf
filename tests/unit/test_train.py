# SPDX-License-Identifier: Apache-2.0
import pytest

from src.config import load_config
from src.training.trainer import TrainPlan
from train import learning_rate


@pytest.mark.parametrize(("scaling", "expected"), [("none", 0.01), ("linear", 0.04), ("sqrt", 0.02)])
def test_the_learning_rate_is_scaled_with_the_number_of_devices(scaling, expected):
    config = load_config([f"--lr_scaling={scaling}", "--learning_rate=0.01", "--warmup_ratio=0.5"])
    rate = learning_rate(config, TrainPlan(epochs=2, steps_per_epoch=10), rank_count=4)
    assert rate.peak == pytest.approx(expected)
    assert [rate.at(step) / rate.peak for step in (0, 9, 10)] == pytest.approx([0.1, 1, 1])
