"""What events that affect an overlay's daemons have in common."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from harness.timeline.contract import RunningDaemons, Topology

if TYPE_CHECKING:
    from harness.lab.process import Daemon


def as_tuple(value: Any) -> Any:
    """Take one word for a list of one."""
    return (value,) if isinstance(value, str) else value


def host_names(topology: Topology) -> tuple[str, ...]:
    """Return the hosts of a topology: members, server, helpers."""
    return tuple(topology.hosts)


def daemons_on(overlay: RunningDaemons, node: str) -> Iterator[tuple[str, Daemon]]:
    """Service and daemon of everything that the overlay runs on a node; nothing where it needs nothing there."""
    yield from ((name, daemon) for name, daemon in list(overlay.daemons.items()) if daemon.where == node)
