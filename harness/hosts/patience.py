"""For how long a host may be silent before it counts as lost, and a client before its host gives it up.

A host that is being started may take DEFAULT_S for its first word, however short a silence it is given.
"""

from __future__ import annotations

import math
import os
from typing import Final

from harness.errors import Problem, ScenarioError

VARIABLE: Final = "OVERLAYBENCH_HOST_SILENCE_S"
DEFAULT_S: Final = 60.0


def silence_s() -> float:
    """Return the time in seconds; the environment may say another, which hosts that this process starts take over.

    Raises:
        ScenarioError: what it says is no time.
    """
    said = os.environ.get(VARIABLE, "").strip()
    if not said:
        return DEFAULT_S
    try:
        found = float(said)
    except ValueError:
        found = math.nan
    if not 0 < found < math.inf:
        text = f"{said[:80]!r} is no number of seconds above 0; the default is {DEFAULT_S:g}"
        raise ScenarioError([Problem("environment", 0, VARIABLE, text)])
    return found
