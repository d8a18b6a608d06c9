"""The order in which subjects are shown: the same in every table and plot, whatever ran first.

That of NATs is `harness.model.nat_order.nat_rank`.
"""

from __future__ import annotations

from harness.model.words import MODES


def subject_key(subject: tuple[str, str]) -> tuple[bool, str, int, str]:
    """Return the sort key of (overlay, mode): the underlay first, overlays by name, modes from mesh to hub."""
    overlay, mode = subject
    rank = [*MODES, mode].index(mode)
    return overlay != "underlay", overlay, rank, mode


def subject_name(overlay: str, mode: str) -> str:
    """Return how a subject is called in tables and plots."""
    return overlay if overlay == mode else f"{overlay} {mode}"
