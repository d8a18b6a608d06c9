"""Getting the programs that overlays lack on a host: a station runs `python -m harness.hosts.installing OVERLAY...`.

A run installs only what the host's user could install without root and within a reasonable time: pinned source builds
and Python packages. Packages of the distribution, and builds that are made on request alone, are left to the user.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import Any, Final

from harness.errors import OverlaybenchError
from harness.hosts.running import run_until
from harness.overlay import install as overlay_install
from harness.overlay.contract import Overlay
from harness.overlay.registry import load_overlay
from harness.overlay.requirement import Requirement
from harness.overlay.search_path import programs_folder

COMMAND: Final = (sys.executable, "-m", "harness.hosts.installing")
PATIENCE_S: Final = 3600.0
# The output of a compiler has no end; what went wrong stands at its end, what was called at its start.
_HEAD, _TAIL = 100, 300


def install(overlays: Sequence[str], ended: threading.Event) -> dict[str, Any]:
    """Get what these overlays lack on this machine, until `ended` is set at most.

    Of several at once, of stations in namespaces of one machine or on hosts that share a home, one runs at a time.

    Returns:
        `failed`: why, by each program that could not be had; by the overlays where the installation itself failed.

    Raises:
        OSError: the folder of built programs cannot be written.
    """
    folder = programs_folder()
    folder.mkdir(parents=True, exist_ok=True)
    alone = ("flock", "--no-fork", str(folder / ".installing.lock"))
    ran = run_until((*alone, *COMMAND, *overlays), ended, PATIENCE_S)
    if ran is None:
        return {"failed": {", ".join(overlays): f"it did not end within {PATIENCE_S:g} s"}}
    out, complaint, status = ran
    try:
        return {"failed": {str(program): str(why) for program, why in dict(json.loads(out)).items()}}
    except (TypeError, ValueError):
        said = complaint.strip().splitlines()
        last = f" ({said[-1].strip()})" if said else ""
        return {"failed": {", ".join(overlays): f"the installation ended with status {status}{last}"}}


def get_missing(overlays: Mapping[str, Overlay]) -> dict[str, str]:
    """Get the programs that are missing, all or none of them; return why, by each program that could not be had."""
    missing = overlay_install.missing([one for overlay in overlays.values() for one in overlay.requirements()])
    refused = {one.program: why for one in missing if (why := _why_not(one)) is not None}
    if refused:
        return refused  # the host is refused anyway: builds that take minutes would be for nothing
    failures = overlay_install.install(missing, lambda _who, _line: None)
    return {program: _brief(error) for program, error in failures.items()}


def out_of_reach(overlays: Mapping[str, Overlay]) -> dict[str, str]:
    """Return, by the name of each overlay that lacks a program which no run installs here, why the first one is not."""
    lacking = {name: overlay_install.missing(overlay.requirements()) for name, overlay in overlays.items()}
    refused = {name: [f"{one.program}: {why}" for one in of if (why := _why_not(one))] for name, of in lacking.items()}
    return {name: of[0] for name, of in refused.items() if of}


def _why_not(needed: Requirement) -> str | None:
    """Return why a program is not installed on this machine, as far as can be known before it is tried."""
    why = _why_left_to_user(needed)
    obstacle = overlay_install.obstacle(needed) if why is None else None
    return why if obstacle is None else str(obstacle)


def _why_left_to_user(needed: Requirement) -> str | None:
    if needed.debian is not None:
        return f"a run installs no packages of the distribution: {needed.install}"
    if needed.on_request:
        return f"its build takes long, so a run does not start it: {needed.install}"
    return None if needed.is_installable else needed.install


def _brief(error: OverlaybenchError) -> str:
    """Return an error in one line, without the middle of what is long."""
    text = " ".join(str(error).split())
    return text if len(text) <= _HEAD + _TAIL else f"{text[:_HEAD]} ... {text[-_TAIL:]}"


def main() -> None:
    """Print as JSON why programs of the named overlays could not be had."""
    print(json.dumps(get_missing({name: load_overlay(name) for name in sys.argv[1:]})))


if __name__ == "__main__":
    main()
