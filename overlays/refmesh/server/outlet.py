"""What a server has to send and to say, and when it wants to be looked at again: what all its parts write to."""

from __future__ import annotations

from collections.abc import Sequence

from overlays.refmesh.core.schedule import Schedule
from overlays.refmesh.server.registry import Registration
from overlays.refmesh.wire.control import Endpoint


class Outlet:
    """Whoever drives the server empties the lists; they stay the same objects."""

    def __init__(self) -> None:
        self.datagrams: list[tuple[bytes, Endpoint]] = []
        self.to_tun: list[bytes] = []
        self.events: list[str] = []
        self.deadline = 0.0
        self.schedule: Schedule[Registration] = Schedule()
        """When each member is to be looked at."""

    def send(self, registration: Registration, payload: bytes, now: float, to: Endpoint | None = None) -> None:
        """Send a control frame to a member, at `to` instead of where it has proved to be."""
        self.send_many(registration, (payload,), now, to)

    def send_many(
        self, registration: Registration, payloads: Sequence[bytes], now: float, to: Endpoint | None = None
    ) -> None:
        """Payloads for a member, sealed; lost when it is nowhere."""
        endpoint = to or registration.endpoint
        if endpoint is None:
            return
        sealed = registration.session.sealed(payloads, now)
        if sealed is not None:
            self.datagrams.extend((message, endpoint) for message in sealed)
        self.due(registration, registration.session.deadline())

    def due(self, registration: Registration, at: float) -> None:
        """Have the member looked at again at that time, or before."""
        self.schedule.sooner(registration, at)
        self.wake(at)

    def wake(self, at: float) -> None:
        """Have the server looked at again at that time, or before."""
        self.deadline = min(self.deadline, at)
