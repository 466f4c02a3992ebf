# SPDX-License-Identifier: Apache-2.0
"""The summary at the end of scripts/run_quickstart.sh: python -m src.report.quickstart WORK_FOLDER"""

from src.distributed.entry_point import enter

if __name__ == "__main__":
    enter()

import ast
import json
import pathlib
import sys

from src.common.errors import UserError, run_main
from src.criteo_like import best_metrics_path
from src.dataset_meta import DatasetMeta


def main(argv=None):
    arguments = sys.argv[1:] if argv is None else argv
    if len(arguments) != 1:
        raise UserError("usage: python -m src.report.quickstart WORK_FOLDER")
    print(summarise(pathlib.Path(arguments[0])))


def summarise(work):
    """Return the summary of the run in the folder `work`: rows, vocabulary, scores, files."""
    meta = DatasetMeta.load(work / "data" / "mindrecord")
    model = json.loads((work / "checkpoint" / "model.json").read_text(encoding="utf-8"))
    best = next(saved for saved in model["checkpoints"] if saved["file"] == model["best"])
    test = ast.literal_eval((work / "eval.txt").read_text(encoding="utf-8").splitlines()[-1])["result"]
    splits = ", ".join(f"{name} {split.rows:,}" for name, split in meta.splits.items())
    lines = [
        "",
        f"rows         {splits}; malformed lines {sum(meta.bad_lines.values()):,}",
        f"vocabulary   {meta.vocabulary_size:,} ids, {len(meta.sparse_fields)} sparse and "
        f"{len(meta.dense_fields)} dense fields",
        f"valid        AUC {best['valid']['auc']:.4f}  log loss {best['valid']['log_loss']:.4f}  "
        f"(epoch {best['epoch']}, the best)",
        f"test         AUC {test['AUC']:.4f}  log loss {test['log_loss']:.4f}",
    ]
    possible_path = best_metrics_path(work / "data" / "origin_data" / "train.txt")
    if possible_path.exists():
        possible = json.loads(possible_path.read_text(encoding="utf-8"))
        lines.append(
            f"possible     AUC {possible['auc']:.4f}  log loss {possible['log_loss']:.4f}  "
            "(the true click probabilities, all rows)"
        )
    lines += [
        f"{title:12} {work / path}"
        for title, path in (
            ("data", "data/mindrecord"),
            ("checkpoint", f"checkpoint/{model['best']}"),
            ("logs", "loss.log, auc.log"),
            ("report", "report.html"),
        )
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    run_main(main, prints_result=True)
