"""A child process ends with its parent, however the parent ends."""

import contextlib
import multiprocessing
import multiprocessing.connection
import os
import sys
import threading

from parties.errors import ExitCode


def follow_parent() -> None:
    """End this process as soon as its parent is gone.

    The parent of a process pool is watched by the sentinel that multiprocessing makes; any other
    holds the write end of a pipe that is this process's standard input.
    """
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
    else:
        with contextlib.suppress(OSError, ValueError):
            while os.read(sys.stdin.fileno(), 1024):
                pass
    os._exit(ExitCode.PEER)  # nobody is left to read an error or to wait for a clean end
