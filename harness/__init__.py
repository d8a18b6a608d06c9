"""overlaybench as a library. These names are stable; everything else may move.

`load` and `compare` read result folders, `Record` is a line of one; `Overlay`, `Probe` and `Event` are the contracts
that packages outside this repository implement and register by entry point (CONTRIBUTING.md).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.overlay.contract import Overlay
    from harness.probes.contract import Probe
    from harness.results.compare import compare
    from harness.results.loading import load
    from harness.results.record import Record
    from harness.timeline.contract import Event

# Loaded when first asked for: `overlaybench --help` must not wait for pandas.
_SURFACE = {
    "load": "harness.results.loading",
    "compare": "harness.results.compare",
    "Record": "harness.results.record",
    "Overlay": "harness.overlay.contract",
    "Probe": "harness.probes.contract",
    "Event": "harness.timeline.contract",
}

__all__ = ["Event", "Overlay", "Probe", "Record", "compare", "load"]


def __getattr__(name: str) -> Any:
    if name in _SURFACE:
        return getattr(importlib.import_module(_SURFACE[name]), name)
    raise AttributeError(f"module 'harness' has no attribute {name!r}")
