"""Whether a trial ended because the machine ran out of disk or descriptors: then it says nothing about its subject."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from harness.errors import StorageError

_EXHAUSTED = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.EROFS})
# iperf3 alone wants a file of 128 KiB for each stream before it says a word.
_LEAST_ROOM_BYTES = 1 << 20
_PROBE_BYTES = 64 << 10


def exhausted(folder: Path, error: OSError | None = None) -> str | None:
    """Return what ran out, in a line; None where there is room. It is tried, since every tool words it differently.

    Args:
        folder: the trial's own; a file is written there and removed again.
        error: what the trial itself ended with, if it was an error of the operating system.
    """
    if error is not None and error.errno in _EXHAUSTED:
        return str(StorageError.of(error, folder))
    room = os.statvfs(folder)
    if room.f_bavail * room.f_frsize < _LEAST_ROOM_BYTES:
        return str(StorageError.of(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), folder))
    probe = folder / ".room"  # a quota does not show above
    try:
        probe.write_bytes(bytes(_PROBE_BYTES))
    except OSError as full:
        return str(StorageError.of(full, folder)) if full.errno in _EXHAUSTED else None
    finally:
        probe.unlink(missing_ok=True)
    return None
