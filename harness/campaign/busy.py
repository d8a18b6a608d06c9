"""How busy others kept the machine when trials began to load it: the manifest's summary of what hosts left behind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from harness.hosts.contract import BUSY_FILE


def busy_of(run_dir: Path) -> dict[str, Any]:
    """Return the share of processor time that others wanted and the seconds waited, by trial; empty where none loaded.

    Of a trial's several loads it is the busiest. `began_busy` are those that began nevertheless.
    """
    found: dict[str, Any] = {}
    for path in sorted(run_dir.glob(f"trials/*/{BUSY_FILE}")):
        try:
            looks = json.loads(path.read_text(encoding="utf-8"))
            found[path.parent.name] = {
                "share": max(one["share"] for one in looks),
                "waited_s": round(sum(one["waited_s"] for one in looks), 3),
                "by": looks[0]["by"],
                "began_busy": any(one["is_busy"] for one in looks),
            }
        except (OSError, ValueError, TypeError, KeyError, IndexError):
            continue  # a trial that was killed while it wrote
    return found
