"""Bringing a host up to what a run needs, by `overlaybench install` there."""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from typing import Any, Final

from harness.hosts.calibrate import run_until

COMMAND: Final = (sys.executable, "-m", "harness.cli", "install")
PATIENCE_S: Final = 3600.0


def install(overlays: Sequence[str], ended: threading.Event) -> dict[str, Any]:
    """Get what these overlays lack on this machine, until `ended` is set at most.

    Returns:
        `failed`: the last that `overlaybench install` said where it did not succeed, else empty.
    """
    ran = run_until((*COMMAND, *overlays), ended, PATIENCE_S)
    if ran is None:
        return {"failed": f"it did not end within {PATIENCE_S:g} s"}
    _, complaint, status = ran
    said = complaint.strip().splitlines()
    return {"failed": "" if status == 0 else said[-1] if said else f"status {status}"}
