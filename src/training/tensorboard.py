# SPDX-License-Identifier: Apache-2.0
"""The scalars of a run as event files, which TensorBoard shows."""

import contextlib
import os
import pathlib
import platform
import time
from typing import Any

from mindspore.train import RunContext

from src.callback import Callback
from src.common.errors import UserError

FILE_VERSION = "brain.Event:2"


class TensorBoard(Callback):
    """Writes losses, learning rates and validation metrics to event files in `folder`.

    Of a run that is resumed after a step TensorBoard shows the earlier events only up to that step.

    The package tensorboard writes the files; it is asked for only here.  Each event is written at once, not by a
    thread, so that a write that fails is an OSError of the call, which names the file.
    """

    rank_zero_only = True

    def __init__(self, folder: os.PathLike | str):
        self._folder = pathlib.Path(folder)
        self._path: pathlib.Path | None = None
        self._writer: Any = None  # a RecordWriter, once training begins

    def __exit__(self, *error):
        if self._writer is not None:
            with contextlib.suppress(OSError):  # the write that failed has said so
                self._writer.close()

    def on_train_begin(self, run_context: RunContext) -> None:
        check_package(self._folder)
        from tensorboard.compat.proto import event_pb2, summary_pb2
        from tensorboard.summary.writer.record_writer import RecordWriter

        self._event, self._summary = event_pb2.Event, summary_pb2.Summary
        now = time.time()
        name = f"events.out.tfevents.{int(now):010d}.{platform.node()}.{os.getpid()}.{time.monotonic_ns()}"
        self._path = self._folder / name
        self._folder.mkdir(parents=True, exist_ok=True)
        self._writer = RecordWriter(open(self._path, "wb"))
        self._write(self._event(wall_time=now, file_version=FILE_VERSION))
        first_step = run_context.original_args().cur_step_num + 1
        start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
        self._write(self._event(wall_time=time.time(), step=first_step, session_log=start))

    def on_train_step_end(self, run_context: RunContext) -> None:
        params = run_context.original_args()
        if params.loss is not None:
            self._add(params.cur_step_num, {"train/loss": params.loss, "train/learning_rate": params.learning_rate})

    def on_eval_end(self, run_context: RunContext) -> None:
        params = run_context.original_args()
        if params.metrics:
            tags = {"auc": "AUC"}  # as it has always been shown
            self._add(
                params.cur_step_num,
                {f"valid/{tags.get(name, name)}": number for name, number in params.metrics.items()},
            )

    def _add(self, step, scalars):
        values = [self._summary.Value(tag=tag, simple_value=value) for tag, value in scalars.items()]
        self._write(self._event(wall_time=time.time(), step=step, summary=self._summary(value=values)))

    def _write(self, event):
        try:
            self._writer.write(event.SerializeToString())
            self._writer.flush()
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self._path)) from error


def check_package(folder: os.PathLike | str) -> None:
    """Raise UserError unless the package that writes event files is installed.  folder: that of --tensorboard_dir."""
    try:
        import tensorboard.summary.writer.record_writer  # noqa: F401
        from tensorboard.compat.proto import event_pb2  # noqa: F401
    except ImportError:
        raise UserError(f"--tensorboard_dir={folder} needs a package: pip install tensorboard") from None
