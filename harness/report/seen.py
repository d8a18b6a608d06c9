"""What a path is the verdict of, by engine: a lab has counters, a simulation follows a probe."""

from __future__ import annotations

import pandas as pd

EMULATED, SIMULATED = "what the lab's counters saw", "what a probe took, followed from host to host in the simulation"


def verdict_of(rows: pd.DataFrame) -> str:
    """Return what the paths of these trials are; without the column all were emulated."""
    engines = set(rows["engine"].astype(str)) if "engine" in rows else {"emulated"}
    if engines == {"simulated"}:
        return SIMULATED
    return f"{EMULATED} (in simulated trials: {SIMULATED})" if "simulated" in engines else EMULATED


def saw(engine: str, path: str) -> str:
    """Return that a path was seen, as half a sentence."""
    return f"a probe went {path}" if engine == "simulated" else f"the counters saw {path}"
