# SPDX-License-Identifier: Apache-2.0
"""Progress of a long job: a bar on a terminal (stderr), a line every few seconds elsewhere (stdout)."""

import sys
import time

from tqdm import tqdm

SECONDS_BETWEEN_LINES = 10


def epoch_and_step(step: int, steps_per_epoch: int) -> tuple[int, int]:
    """Return the epoch and the step within it, both from 1, of a step counted from 1 over all epochs."""
    return (step - 1) // steps_per_epoch + 1, (step - 1) % steps_per_epoch + 1


class Progress:
    """Count units of work towards `total` (0: unknown), with their rate and the time left.

    leave: False shows nothing once the work is done; disable: True shows nothing at all; both as in tqdm.
    done: units that an earlier run has done; the rate is that of this run.
    """

    def __init__(
        self, title: str, total: int, unit: str = "rows", *, leave: bool = True, disable: bool = False, done: int = 0
    ):
        self._title, self._total, self._unit, self._leave, self._disable = title, total, unit, leave, disable
        self._done = self._done_earlier = done
        self._is_total_exact = True
        self._postfix = "some of it by an earlier run" if done else ""
        self._start = self._last_line = time.monotonic()
        self._bar = None
        if sys.stderr.isatty() and not disable:
            self._bar = tqdm(
                desc=title, total=total or None, initial=done, unit=f" {unit}", unit_scale=True, dynamic_ncols=True,
                leave=leave,
            )  # fmt: skip

    def advance(self, count: int, postfix: str = "", total: int = 0) -> None:
        """Report `count` more units as done.

        postfix: a short text to show after the numbers; it stays until the next one.  total: a new estimate of the
        number of units, if that is not known.
        """
        self._done += count
        self._postfix = postfix or self._postfix
        if total:
            self._total, self._is_total_exact = total, False
        if self._bar is not None:
            self._bar.total = self._total or None
            self._bar.set_postfix_str(self._postfix, refresh=False)
            self._bar.update(count)
        elif time.monotonic() - self._last_line > SECONDS_BETWEEN_LINES:
            self._print_line()

    def close(self) -> None:
        """End the bar, or print the last line."""
        if self._bar is not None:
            self._bar.close()
        elif self._leave:
            self._print_line()

    def _print_line(self):
        if self._disable:
            return
        self._last_line = time.monotonic()
        seconds = self._last_line - self._start
        rate = (self._done - self._done_earlier) / max(seconds, 1e-9)
        line = f"{self._title}: {self._done:,}"
        if self._total > self._done:
            seconds_left = (self._total - self._done) / max(rate, 1e-9)
            about = "" if self._is_total_exact else "about "
            line += f" of {about}{self._total:,} {self._unit}, {rate:,.0f} {self._unit}/s, {seconds_left:,.0f} s left"
        else:
            line += f" {self._unit} in {seconds:,.1f} s, {rate:,.0f} {self._unit}/s"
        print(f"{line}, {self._postfix}" if self._postfix else line, flush=True)
