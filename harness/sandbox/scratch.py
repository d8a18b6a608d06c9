"""A folder that is gone when its process is, however that ends: trials of a station, labs of a contract test."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import time
from pathlib import Path

PREFIX = "overlaybench-station-"
"""Of a station's folder."""
# Sandboxes end a moment after the process that made them; until then they may still write.
_PATIENCE_S = 20.0


def scratch_folder(prefix: str = PREFIX) -> Path:
    """Make a folder that a process of its own removes as soon as this process has ended, killed or not.

    To be called before there are threads: the other process is a fork of this one.
    """
    folder = Path(tempfile.mkdtemp(prefix=prefix))
    read, write = os.pipe()  # `write` ends with this process: programs that it starts do not inherit it
    if os.fork() == 0:
        try:
            os.setsid()
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)
            os.close(write)
            null = os.open(os.devnull, os.O_RDWR)
            for fd in (0, 1, 2):  # whoever reads them would wait for this process too
                os.dup2(null, fd)
            os.read(read, 1)
            _remove(folder)
        finally:
            os._exit(0)
    os.close(read)
    return folder


def _remove(folder: Path) -> None:
    until = time.monotonic() + _PATIENCE_S
    while folder.exists() and time.monotonic() < until:
        shutil.rmtree(folder, ignore_errors=True)
        time.sleep(0.05)
