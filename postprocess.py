# SPDX-License-Identifier: Apache-2.0
"""Print the AUC of the predictions of ascend310_infer: python postprocess.py --result_path=... --label_path=..."""

from src.distributed.entry_point import enter

if __name__ == "__main__":
    enter("Print the AUC of the predictions of the C++ runner.", needs=("result_path", "label_path"))

from collections.abc import Sequence

from src.common.errors import run_main
from src.config import load_config
from src.evaluation.metrics import roc_auc
from src.export.inference_files import read_outputs


def main(argv: Sequence[str] | None = None) -> None:
    """Evaluate the predictions of the C++ runner; argv: flags, those of the command line if None."""
    config = load_config(argv)
    print(f"auc : {roc_auc(*read_outputs(config.result_path, config.label_path))}")


if __name__ == "__main__":
    run_main(main, prints_result=True)
