"""Loads `large`, and numpy with it, next to the running loop once the first large transfer is there.

Many a node never moves anything large, and numpy takes 11 MiB and 50 ms; on a busy machine up to a second, in which a
loop that loaded it itself would leave all packets lying. Until it is there the general way does.
"""

from __future__ import annotations

import importlib
import threading
from typing import Any

_loaded: list[Any] = []
_threads: list[threading.Thread] = []


def large() -> Any:
    """Return the module `overlays.refmesh.core.large`, or None while it is being loaded; the first call begins that."""
    if _loaded:
        return _loaded[0]
    if not _threads:
        _threads.append(threading.Thread(target=_load, name="load-large", daemon=True))
        _threads[0].start()
    return None


def _load() -> None:
    _loaded.append(importlib.import_module("overlays.refmesh.core.large"))
