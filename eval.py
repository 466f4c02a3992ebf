# SPDX-License-Identifier: Apache-2.0
"""Score a checkpoint: python eval.py --dataset_path=./data/mindrecord --checkpoint_path=./checkpoint"""

import time

from src.checkpoint import find_checkpoint
from src.config import load_config
from src.dataset import create_dataset
from src.dataset_meta import DatasetMeta
from src.deepfm import DeepFMPredict
from src.device import place
from src.errors import exit_on_user_error
from src.evaluation import evaluate
from src.logs import append_line, format_scores


def main(argv=None):
    config = load_config(argv, description="Score a checkpoint on every row of the test split.")
    place(config.device_target, config.device_id)
    folder, saved = find_checkpoint(config.checkpoint_path)
    folder.check_data(DatasetMeta.load(config.dataset_path), config.dataset_path)
    network = folder.load_network(saved)
    test_data = create_dataset(config.dataset_path, "test", config.batch_size)
    start = time.monotonic()
    scores = evaluate(DeepFMPredict(network), test_data)
    scores["eval_time"] = time.monotonic() - start
    append_line(config.eval_file_name, f"{saved.file} test {format_scores(scores)}")
    print(f"checkpoint: {folder.path / saved.file}, test rows: {scores.pop('rows')}")
    print({"result": scores})


if __name__ == "__main__":
    exit_on_user_error(main)
