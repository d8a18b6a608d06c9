"""One EasyTier node in the foreground: `node.py CONFIG.toml`. It logs every change of its routes, and so its paths."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

_LOOK_EVERY_S = 0.1


def lines_of(routes: Iterable[Mapping[str, Any]], told: dict[str, int]) -> list[str]:
    """Return what has changed since `told` (host name -> cost), which is brought up to date.

    Args:
        routes: EasyTier's; `cost` counts the hops, so 1 is direct and 2 is through a relay.
    """
    now = {str(route["hostname"]): int(route["cost"]) for route in routes}
    lines = [f"easytier: route to {name} costs {cost}" for name, cost in now.items() if told.get(name) != cost]
    lines += [f"easytier: no route to {name}" for name in told if name not in now]
    told.clear()
    told.update(now)
    return lines


def main() -> None:
    """Run until SIGTERM."""
    import easytier_pyo3  # noqa: PLC0415  # a shared object: only the node itself needs it

    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    node = easytier_pyo3.Node(Path(sys.argv[1]).read_text())
    node.start()
    print("easytier: running", flush=True)
    told: dict[str, int] = {}
    while not ended.wait(_LOOK_EVERY_S):
        for line in lines_of(node.routes(), told):
            print(line, flush=True)
    node.stop()


if __name__ == "__main__":
    main()
