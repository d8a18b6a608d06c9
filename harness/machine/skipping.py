"""Which overlays of a plan this machine has no programs for, where a scenario lets those be skipped."""

from __future__ import annotations

from collections.abc import Mapping

from harness.overlay.contract import Overlay
from harness.overlay.install import missing


def not_installed(overlays: Mapping[str, Overlay]) -> dict[str, str]:
    """Return, by the name of each overlay that lacks a program, the first that it lacks and how to get it."""
    lacking = {name: missing(overlay.requirements()) for name, overlay in overlays.items()}
    return {name: f"it needs {of[0].program}: {of[0].install}" for name, of in lacking.items() if of}
