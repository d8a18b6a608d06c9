"""Overlays, found by entry point, never by import: an adapter outside this repository is as good as one inside."""

from __future__ import annotations

from functools import cache
from importlib.metadata import EntryPoint, entry_points

from harness.errors import MissingPrerequisite
from harness.overlay.contract import Overlay

GROUP = "overlaybench.overlays"


@cache
def _found() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)}


def overlay_names() -> list[str]:
    """Return all overlays that can be named in a scenario, the baseline first."""
    return sorted(_found(), key=lambda name: (name != "underlay", name))


@cache
def load_overlay(name: str) -> Overlay:
    """Return the adapter of that name.

    Raises:
        MissingPrerequisite: its package is installed but cannot be imported, or has no such class.
        KeyError: there is none.
    """
    point = _found()[name]
    try:
        adapter = point.load()()
    except (ImportError, AttributeError) as error:
        raise MissingPrerequisite(
            f"overlay {name}: {point.value} cannot be loaded: {error}", "pip install -e ."
        ) from error
    if not isinstance(adapter, Overlay):
        raise MissingPrerequisite(
            f"overlay {name}: {point.value} does not offer the overlay contract", "see CONTRIBUTING.md"
        )
    return adapter
