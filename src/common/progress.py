# SPDX-License-Identifier: Apache-2.0
"""How far a long job has come: a bar on a terminal (stderr), a line now and then elsewhere (stdout)."""

import sys
import time

from tqdm import tqdm

SECONDS_BETWEEN_LINES = 10


def epoch_and_step(step: int, steps_per_epoch: int) -> tuple[int, int]:
    """Return the epoch and the step within it, both from 1, of a step counted from 1 over all epochs."""
    return (step - 1) // steps_per_epoch + 1, (step - 1) % steps_per_epoch + 1


class Progress:
    """Count units of work towards `total` (0: unknown), with the rate and the time left.

    passing: nothing is left of it on the screen, nor said in the end.  silent: nothing is shown at all.
    done: units that an earlier run has done; the rate is that of this run.
    """

    def __init__(self, title, total, unit="rows", passing=False, silent=False, done=0):
        self._title, self._total, self._unit, self._passing, self._silent = title, total, unit, passing, silent
        self._done = self._done_earlier = done
        self._is_total_exact = True
        self._note = "some of it by an earlier run" if done else ""
        self._start = self._last_line = time.monotonic()
        self._bar = None
        if sys.stderr.isatty() and not silent:
            self._bar = tqdm(
                desc=title, total=total or None, initial=done, unit=f" {unit}", unit_scale=True, dynamic_ncols=True,
                leave=not passing,
            )  # fmt: skip

    def close(self):
        """End the bar, or print the last line."""
        if self._bar is not None:
            self._bar.close()
        elif not self._passing:
            self._print_line()

    def advance(self, count, note="", total=0):
        """Report `count` more units as done; `note` is a short text to show beside them.

        total: a new estimate of how many there are in all, if that is not known.
        """
        self._done += count
        self._note = note or self._note
        if total:
            self._total, self._is_total_exact = total, False
        if self._bar is not None:
            self._bar.total = self._total or None
            self._bar.set_postfix_str(self._note, refresh=False)
            self._bar.update(count)
        elif time.monotonic() - self._last_line > SECONDS_BETWEEN_LINES:
            self._print_line()

    def _print_line(self):
        if self._silent:
            return
        self._last_line = time.monotonic()
        seconds = self._last_line - self._start
        rate = (self._done - self._done_earlier) / max(seconds, 1e-9)
        line = f"{self._title}: {self._done:,}"
        if self._total > self._done:
            left = (self._total - self._done) / max(rate, 1e-9)
            about = "" if self._is_total_exact else "about "
            line += f" of {about}{self._total:,} {self._unit}, {rate:,.0f} {self._unit}/s, {left:,.0f} s left"
        else:
            line += f" {self._unit} in {seconds:,.1f} s, {rate:,.0f} {self._unit}/s"
        print(f"{line}, {self._note}" if self._note else line, flush=True)
