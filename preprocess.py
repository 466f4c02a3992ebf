# SPDX-License-Identifier: Apache-2.0
"""Write the test split as .bin files for ascend310_infer: python preprocess.py --dataset_path=... --result_path=..."""

from src.distributed.entry_point import enter

if __name__ == "__main__":
    enter("Write the test set as files for the C++ runner.", needs=("dataset_path",))

from collections.abc import Sequence

from src.common.errors import run_main
from src.config import load_config
from src.dataset_meta import DatasetMeta
from src.export.inference_files import write_inputs


def main(argv: Sequence[str] | None = None) -> None:
    """Write the inputs of the C++ runner; argv: flags, those of the command line if None."""
    config = load_config(argv)
    manifest = write_inputs(DatasetMeta.load(config.dataset_path), config.result_path)
    print(f"{config.result_path}: {manifest.rows:,} rows in {len(manifest.files)} files of each input")


if __name__ == "__main__":
    run_main(main)
