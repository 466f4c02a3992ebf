# SPDX-License-Identifier: Apache-2.0
"""Watch whether files are opened, by any process and any library: Linux tells by inotify."""

import ctypes
import os
import struct

IN_OPEN = 0x20
EVENT = struct.Struct("iIII")  # watch, mask, cookie, length of the name


class FileWatch:
    """Counts how often files have been opened since they were watched."""

    def __init__(self, paths):
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor = self._libc.inotify_init1(os.O_NONBLOCK)
        self._paths = {}
        for path in paths:
            watch = self._libc.inotify_add_watch(self._descriptor, os.fsencode(path), IN_OPEN)
            assert watch >= 0, os.strerror(ctypes.get_errno())
            self._paths[watch] = path

    def opened(self):
        """Return the paths that have been opened since the last call."""
        found = set()
        while True:
            try:
                events = os.read(self._descriptor, 1 << 16)
            except BlockingIOError:
                return found
            while events:
                watch, _, _, length = EVENT.unpack_from(events)
                found.add(self._paths[watch])
                events = events[EVENT.size + length :]

    def close(self):
        os.close(self._descriptor)
