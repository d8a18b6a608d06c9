"""Programs that a station runs at length: they end with the station, and with them whatever they have started."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from typing import Final

_LOOK_S: Final = 0.2
# The kernel tells a program's own death to one process alone, this shell; it takes the whole group with it.
_WITH_ITS_GROUP: Final = ("sh", "-c", 'trap "kill -KILL 0" TERM; "$@" & wait $!', "sh")


def run_until(argv: Sequence[str], ended: threading.Event, patience_s: float) -> tuple[str, str, int] | None:
    """Run a program in a process group of its own; it reads nothing.

    The group is killed after `patience_s` seconds, or when `ended` is set, or when the calling thread or its process
    is gone.

    Returns:
        Its stdout, its stderr and its status, as a shell has it; None: it was killed by time or `ended`.
    """
    deadline = time.monotonic() + patience_s
    tied = ("setpriv", "--pdeathsig", "TERM", "--", *_WITH_ITS_GROUP, *argv)
    pipe, nothing = subprocess.PIPE, subprocess.DEVNULL
    with subprocess.Popen(tied, stdin=nothing, stdout=pipe, stderr=pipe, text=True, start_new_session=True) as process:
        try:
            while True:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    return *process.communicate(timeout=_LOOK_S), process.returncode
                if ended.is_set() or time.monotonic() > deadline:
                    return None
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
