# SPDX-License-Identifier: Apache-2.0
"""Score a checkpoint: python eval.py --dataset_path=./data/mindrecord --checkpoint_path=./checkpoint"""

import pathlib
import time

from src.checkpoint import find_checkpoint
from src.config import AUTO, load_config
from src.dataset import create_dataset
from src.dataset_meta import VOCABULARY_NAME, DatasetMeta
from src.deepfm import DeepFMPredict
from src.device import dense_dtype, set_up
from src.errors import UserError, exit_on_user_error
from src.evaluation import describe_by_value, predict, score_by_id
from src.features import Vocabulary
from src.logs import append_line, format_scores
from src.metrics import drop_padding, score
from src.modelarts import open_job
from src.preprocess_data import make_records


def main(argv=None):
    config = load_config(argv, description="Score a checkpoint on every row of the test split.")
    with open_job(config, ("eval_file_name",), "checkpoint_path", make_records) as job:
        evaluate(job.config)


def evaluate(config):
    device, ranks = set_up(config.device_target, config.device_id)
    folder, saved = find_checkpoint(config.ckpt_path if config.checkpoint_path == AUTO else config.checkpoint_path)
    meta = DatasetMeta.load(config.dataset_path)
    folder.check_data(meta, config.dataset_path)
    field = find_field(config.by_field, meta)
    network = folder.load_network(saved, dense_dtype(config.convert_dtype, device))
    test_data = create_dataset(config.dataset_path, "test", config.batch_size, False, ranks.rank, ranks.count)
    start = time.monotonic()
    columns = predict(DeepFMPredict(network), test_data, field)
    labels, probabilities, *ids = drop_padding(*map(ranks.gather, columns))
    scores = score(labels, probabilities)
    scores["eval_time"] = time.monotonic() - start
    if not ranks.is_first:
        return
    append_line(config.eval_file_name, f"{saved.file} test {format_scores(scores)}")
    if ids:
        vocabulary = Vocabulary.load(pathlib.Path(config.dataset_path, VOCABULARY_NAME))
        print(describe_by_value(config.by_field, score_by_id(labels, probabilities, *ids), vocabulary))
    print(f"checkpoint: {folder.path / saved.file}, test rows: {scores.pop('rows')}")
    print({"result": scores})


def find_field(name, meta):
    """Return the place of a sparse field among the ids of a row; None for None."""
    if name is None:
        return None
    if name not in meta.sparse_fields:
        raise UserError(f"--by_field={name}: the sparse fields of these data are {', '.join(meta.sparse_fields)}")
    return meta.sparse_fields.index(name)


if __name__ == "__main__":
    exit_on_user_error(main)
