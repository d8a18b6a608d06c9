"""Where streams begin and end on every member: one service port, and one listening port for each other member."""

from __future__ import annotations

from collections.abc import Sequence

from harness.overlay.contract import StreamEndpoint
from harness.overlay.endpoints import FIRST_LISTEN_PORT, SERVICE_PORT

__all__ = ["SERVICE_PORT", "listen_port", "streams_between"]


def listen_port(members: Sequence[str], dst: str) -> int:
    """Return the local port that leads to `dst`, the same at every other member.

    Raises:
        ValueError: `dst` is no member.
    """
    return FIRST_LISTEN_PORT + list(members).index(dst)


def streams_between(members: Sequence[str]) -> tuple[StreamEndpoint, ...]:
    """Return an endpoint for every ordered pair, from `127.0.0.1:listen_port` to `127.0.0.1:SERVICE_PORT`."""
    return tuple(
        StreamEndpoint(src=src, dst=dst, listen_port=listen_port(members, dst), service_port=SERVICE_PORT)
        for src in members
        for dst in members
        if src != dst
    )
