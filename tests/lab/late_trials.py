"""Tells trials that this machine was too busy for from those that are wrong, for tests of whole runs.

A busy machine delivers late, which makes a trial `invalid` and leaves its figures: the run then ends with 1, and no
more is wrong with it.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from tests.lab.running import records

# How `harness.link.accounting`, and `harness.probes.seek`, say so.
LATE = "us late"
TOO_BUSY = (LATE, "frames dropped before", "this machine was too busy to ask")
# How they do where the trial went no further (`harness.trial.lateness` for both words of links).
ENDS_EARLY = ("what failed over such links shows nothing", "this machine was too busy to ask")


def late_trials(folder: Path) -> set[str]:
    """Return the trials of a run that are invalid because links delivered late."""
    return {one["trial"] for one in ends(folder) if one["outcome"] == "invalid" and LATE in str(one["error"])}


def require_no_worse_than_late(done: subprocess.CompletedProcess[str], folder: Path) -> None:
    """Hold that each trial of a run was ok or late, and that the command ended accordingly."""
    late = late_trials(folder)
    wrong = [
        (one["trial"], one["error"]) for one in ends(folder) if one["outcome"] != "ok" and one["trial"] not in late
    ]
    assert not wrong, (wrong, done.stderr)
    assert done.returncode == (1 if late else 0), done.stderr


def ends(folder: Path) -> list[dict[str, Any]]:
    """Return the record by which each trial of a run ended."""
    return [line for line in records(folder) if (line["probe"], line["metric"]) == ("trial", "duration_s")]
