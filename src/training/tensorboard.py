# SPDX-License-Identifier: Apache-2.0
"""The scalars of a run as event files, which TensorBoard shows."""

import contextlib
import os
import pathlib
import platform
import time

from src.common.errors import UserError

SCORES = ("AUC", "log_loss", "normalised_entropy", "calibration")
FILE_VERSION = "brain.Event:2"


class Events:
    """Event files in `folder`, of a run that goes on after `step` steps; of an earlier one only those show.

    The package tensorboard writes them; it is asked for only here.  Each event is written at once, not by a thread, so
    that a write that fails is an OSError of the call, which names the file.
    """

    def __init__(self, folder, step):
        check_package(folder)
        from tensorboard.compat.proto import event_pb2, summary_pb2
        from tensorboard.summary.writer.record_writer import RecordWriter

        self._event, self._summary = event_pb2.Event, summary_pb2.Summary
        start_time = time.time()
        name = f"events.out.tfevents.{int(start_time):010d}.{platform.node()}.{os.getpid()}.{time.monotonic_ns()}"
        self._path = pathlib.Path(folder, name)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._writer = RecordWriter(open(self._path, "wb"))
        self._write(self._event(wall_time=start_time, file_version=FILE_VERSION))
        start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
        self._write(self._event(wall_time=time.time(), step=step + 1, session_log=start))

    def add_loss(self, step, loss, learning_rate):
        """Write the loss of a step counted from 1, and the rate that it had."""
        self._add(step, {"train/loss": loss, "train/learning_rate": learning_rate})

    def add_look(self, step, scores):
        """Write the scores on valid after a step."""
        self._add(step, {f"valid/{name}": scores[name] for name in SCORES})

    def close(self):
        with contextlib.suppress(OSError):  # the write that failed has said so
            self._writer.close()

    def _add(self, step, scalars):
        values = [self._summary.Value(tag=tag, simple_value=value) for tag, value in scalars.items()]
        self._write(self._event(wall_time=time.time(), step=step, summary=self._summary(value=values)))

    def _write(self, event):
        try:
            self._writer.write(event.SerializeToString())
            self._writer.flush()
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self._path)) from error


def check_package(folder):
    """Raise UserError unless the package that writes event files is there.  folder: that of --tensorboard_dir."""
    try:
        import tensorboard.summary.writer.record_writer  # noqa: F401
        from tensorboard.compat.proto import event_pb2  # noqa: F401
    except ImportError:
        raise UserError(f"--tensorboard_dir={folder} needs a package: pip install tensorboard") from None
