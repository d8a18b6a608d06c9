"""For how long a host may be silent before it counts as lost, and a client before its host gives it up."""

from __future__ import annotations

import os
from typing import Final

VARIABLE: Final = "OVERLAYBENCH_HOST_SILENCE_S"
DEFAULT_S: Final = 60.0


def silence_s() -> float:
    """Return the time in seconds; the environment may say another, which hosts that this process starts take over."""
    try:
        return float(os.environ[VARIABLE])
    except (KeyError, ValueError):
        return DEFAULT_S
