"""Overlays, found by entry point, never by import: an adapter outside this repository is as good as one inside."""

from __future__ import annotations

from functools import cache
from importlib.metadata import EntryPoint

from harness.model.extensions import load, registered
from harness.overlay.contract import Overlay

GROUP = "overlaybench.overlays"


def _found() -> dict[str, EntryPoint]:
    return registered(GROUP)


def overlay_names() -> list[str]:
    """Return all overlays that can be named in a scenario, the baseline first."""
    return sorted(_found(), key=lambda name: (name != "underlay", name))


@cache
def load_overlay(name: str) -> Overlay:
    """Return the adapter of that name; no other is loaded, since one that is broken must not stop the rest.

    Raises:
        MissingPrerequisite: as `harness.model.extensions.load`.
        KeyError: there is none.
    """
    adapter: Overlay = load(_found()[name], Overlay)
    return adapter
