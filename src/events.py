# SPDX-License-Identifier: Apache-2.0
"""The scalars of a run as event files, which TensorBoard shows."""

import time

from src.errors import UserError

SCORES = ("AUC", "log_loss", "normalised_entropy", "calibration")


class Events:
    """Event files in `folder`, of a run that goes on after `step` steps; of an earlier one only those show.

    The package tensorboard writes them; it is asked for only here.
    """

    def __init__(self, folder, step):
        try:
            from tensorboard.compat.proto import event_pb2, summary_pb2
            from tensorboard.summary.writer.event_file_writer import EventFileWriter
        except ImportError:
            raise UserError(f"--tensorboard_dir={folder} needs a package: pip install tensorboard") from None
        self._event, self._summary = event_pb2.Event, summary_pb2.Summary
        self._writer = EventFileWriter(str(folder))
        start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
        self._writer.add_event(self._event(wall_time=time.time(), step=step + 1, session_log=start))

    def add_loss(self, step, loss, learning_rate):
        """Write the loss of a step counted from 1, and the rate that it had."""
        self._add(step, {"train/loss": loss, "train/learning_rate": learning_rate})

    def add_look(self, step, scores):
        """Write the scores on valid after a step."""
        self._add(step, {f"valid/{name}": scores[name] for name in SCORES})

    def flush(self):
        """Bring what was written to the disk."""
        self._writer.flush()

    def close(self):
        self._writer.close()

    def _add(self, step, scalars):
        values = [self._summary.Value(tag=tag, simple_value=value) for tag, value in scalars.items()]
        self._writer.add_event(self._event(wall_time=time.time(), step=step, summary=self._summary(value=values)))
