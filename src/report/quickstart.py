# SPDX-License-Identifier: Apache-2.0
"""The summary at the end of scripts/run_quickstart.sh: python -m src.report.quickstart WORK_FOLDER"""

from src.distributed.entry_point import enter

if __name__ == "__main__":
    enter()

import argparse
import pathlib
from collections.abc import Sequence

from src.common.errors import UserError, run_main
from src.common.flags import Parser


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the flags."""
    parser = Parser(prog="python -m src.report.quickstart", description="Print the summary of a quick start.")
    parser.add_argument("work", metavar="WORK_FOLDER", type=pathlib.Path, help="folder of its data and results")
    return parser.parse_args(argv)


if __name__ == "__main__":
    run_main(parse_arguments)  # a mistake in a flag ends here, before the imports that take time

import json
import math
import re

from src.criteo_like import best_metrics_path
from src.dataset_meta import DatasetMeta

TEST_LINE = re.compile(r" test AUC: (\S+), log_loss: (\S+), ")  # of eval.py in auc.log


def main(argv: Sequence[str] | None = None) -> None:
    """Print the summary; argv: flags, those of the command line if None."""
    print(summarise(parse_arguments(argv).work))


def summarise(work: pathlib.Path) -> str:
    """Return the summary of the run in the folder `work`: rows, vocabulary, metrics, files."""
    data = DatasetMeta.load(work / "data" / "mindrecord")
    model = json.loads((work / "checkpoint" / "model.json").read_text(encoding="utf-8"))  # without MindSpore: at once
    best = next(entry for entry in model["checkpoints"] if entry["file"] == model["best"])
    splits = ", ".join(f"{name} {split.rows:,}" for name, split in data.splits.items())
    lines = [
        "",
        f"rows         {splits}; malformed lines {sum(data.bad_lines.values()):,}",
        f"vocabulary   {data.vocabulary_size:,} ids, {len(data.sparse_fields)} sparse and "
        f"{len(data.dense_fields)} dense fields",
        f"valid        {_describe_metrics(**best['valid'])}  (epoch {best['epoch']}, the best)",
        f"test         {_describe_metrics(*read_test_metrics(work / 'auc.log'))}",
    ]
    possible_path = best_metrics_path(work / "data" / "origin_data" / "train.txt")
    if possible_path.exists():
        possible = json.loads(possible_path.read_text(encoding="utf-8"))
        lines.append(f"possible     {_describe_metrics(**possible)}  (the true click probabilities, all rows)")
    files = {
        "data": "data/mindrecord",
        "checkpoint": f"checkpoint/{model['best']}",
        "logs": "loss.log, auc.log",
        "report": "report.html",
    }
    return "\n".join([*lines, *(f"{title:12} {work / path}" for title, path in files.items())])


def read_test_metrics(log_path: pathlib.Path) -> tuple[float, float]:
    """Return AUC and log loss on the test split, from the last line of auc.log."""
    lines = log_path.read_text(encoding="utf-8").splitlines() if log_path.exists() else []
    found = TEST_LINE.search(lines[-1]) if lines else None
    if found is None:
        raise UserError(f"{log_path} does not end with a line of eval.py; run eval.py first")
    return float(found[1]), float(found[2])


def _describe_metrics(auc=math.nan, log_loss=math.nan, **others):
    return f"AUC {auc:.4f}  log loss {log_loss:.4f}"


if __name__ == "__main__":
    run_main(main, prints_result=True)
