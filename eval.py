# SPDX-License-Identifier: Apache-2.0
"""Score a checkpoint: python eval.py --dataset_path=./data/mindrecord --checkpoint_path=./checkpoint"""

from src.distributed.entry_point import enter

if __name__ == "__main__":
    enter(distributed=True)

import contextlib
import sys

from src.callback import format_scores
from src.checkpoint import find_checkpoint
from src.common.errors import UserError, run_main
from src.common.files import append_line
from src.common.memory_estimate import prediction_bytes
from src.common.memory_limits import Work, check_fits
from src.common.output_paths import Kind, Output, prepared
from src.config import AUTO, load_config
from src.dataset import create_dataset
from src.dataset_meta import DatasetMeta
from src.deepfm import DeepFMPredict
from src.distributed.device import dense_dtype, set_up
from src.evaluation.evaluate import score_split
from src.evaluation.slices import describe_by_value, score_values, strongest_fields
from src.modelarts.job import open_job


def main(argv=None):
    config = load_config(argv, description="Score a checkpoint on every row of the test split.")
    with open_job(config, ("eval_file_name", "report_path"), "checkpoint_path") as job:
        evaluate(job.config)


def evaluate(config):
    device, ranks = set_up(config.device_target, config.device_id)
    checkpoint = find_checkpoint(config.ckpt_path if config.checkpoint_path == AUTO else config.checkpoint_path)
    data = DatasetMeta.load(config.dataset_path)
    checkpoint.check_data(data)
    fields = find_fields(config.by_field, data)
    with contextlib.ExitStack() as stack:
        ranks.first_does(lambda: stack.enter_context(prepared(outputs(config))))
        score(config, data, checkpoint, fields, device, ranks)


def outputs(config):
    """Return the Outputs of an evaluation."""
    report = [] if config.report_path is None else [Output("report_path", config.report_path, Kind.FILE)]
    return [Output("eval_file_name", config.eval_file_name, Kind.LOG), *report]


def score(config, data, checkpoint, fields, device, ranks):
    """Score a checkpoint, and write and print the scores."""
    sizes = checkpoint.folder.network_config
    needed, processes = prediction_bytes(sizes, config.batch_size), ranks.local_count()
    work = Work("evaluation", sizes, needed, processes)
    ranks.first_does(lambda: check_fits(work, device, "use a smaller --batch_size or a machine with more memory"))
    network = checkpoint.load_network(dense_dtype(config.convert_dtype, device))
    test_data = create_dataset(data, "test", config.batch_size, ranks=ranks)
    split = score_split("test", DeepFMPredict(network), test_data, ranks)
    if config.report_path is not None:
        fields += [field for field in strongest_fields(test_data, data.sparse_fields, ranks) if field not in fields]
    by_field = score_values(split, test_data, fields, data, ranks)
    if not ranks.is_first:
        return
    append_line(config.eval_file_name, f"{checkpoint.file} test {format_scores(split.scores)}")
    if config.by_field is not None:
        print(describe_by_value(config.by_field, by_field[config.by_field]))
    if config.report_path is not None:
        from src.report.page import write_report  # here, as matplotlib takes its time

        write_report(config.report_path, split, by_field, checkpoint, data)
    print(describe(split, checkpoint.path, config.report_path))


def describe(split, checkpoint, report_path):
    """Return the summary of an evaluation; for other programs a line that holds the scores as a Python dict follows."""
    scores = dict(split.scores)
    low, high = scores["AUC_interval"]
    lines = [
        f"{split.name:12} {scores.pop('rows'):,} rows, {int(split.labels.sum()):,} clicks, {scores['eval_time']:.1f} s",
        f"AUC          {scores['AUC']:.4f}  (95 %: {low:.4f} to {high:.4f})",
        f"log loss     {scores['log_loss']:.4f}  (normalised entropy {scores['normalised_entropy']:.4f})",
        f"calibration  {scores['calibration']:.4f}  (expected calibration error {scores['calibration_error']:.4f})",
        f"checkpoint   {checkpoint}",
    ]
    if report_path is not None:
        lines.append(f"report       {report_path}")
    if not sys.stdout.isatty():
        lines.append(str({"result": scores}))
    return "\n".join(lines)


def find_fields(name, data):
    """Return a list with the place of a sparse field among the ids of a row; an empty one for None."""
    if name is None:
        return []
    if name not in data.sparse_fields:
        raise UserError(f"--by_field={name}: the sparse fields of these data are {', '.join(data.sparse_fields)}")
    return [data.sparse_fields.index(name)]


if __name__ == "__main__":
    run_main(main, prints_result=True)
