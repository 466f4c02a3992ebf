# SPDX-License-Identifier: Apache-2.0
"""The paths of a scoring: the files that it writes, none of which may be one of its inputs."""

import os
import pathlib

from src.common.errors import UserError
from src.common.files import is_special, listed_paths, partial_path, resolved
from src.scoring.options import STANDARD_STREAM, ScoringOptions
from src.scoring.row_source import RowSource


def journal_path(path: pathlib.Path) -> pathlib.Path:
    """Return the path of the journal of an output."""
    return path.with_name(f"{path.name}.journal")


def written_files(output_path: str) -> list[pathlib.Path]:
    """Return the files that --output_path stands for, without links; none for a stream."""
    if output_path == STANDARD_STREAM or is_special(pathlib.Path(output_path)):
        return []
    path = resolved(output_path)
    return [pathlib.Path(os.path.realpath(each)) for each in (path, partial_path(path), journal_path(path))]


def check_paths(options: ScoringOptions) -> None:
    """Raise UserError unless the model and the rows are there, and the output replaces neither of them."""
    for path in listed_paths(options.model_path):
        if not os.path.exists(path):
            raise UserError(f"--model_path={path}: no such file or folder; export.py --file_format=PACKAGE writes one")
    source = RowSource.find(options.input_path).source
    inputs = {pathlib.Path(os.path.realpath(file)) for file in source.files} if source is not None else set()
    for file in written_files(options.output_path):
        if any(_is_of_model(file, path) for path in listed_paths(options.model_path)):
            raise UserError(f"--output_path={options.output_path}: {file} is where the model is; name another path")
        if file in inputs:
            raise UserError(f"--output_path={options.output_path}: {file} is the file of the rows; name another path")


def _is_of_model(file, model_path):
    """Tell whether a file is inside the folder of a model, or one of the files in the folder of a checkpoint file."""
    model = pathlib.Path(os.path.realpath(model_path))
    if model.is_dir():
        return model in file.parents
    return file == model or file.parent == pathlib.Path(os.path.realpath(os.path.dirname(model_path)))
