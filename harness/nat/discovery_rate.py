"""The rate to which a router polices UDP, seen from what it lets pass of more."""

from __future__ import annotations

import time
from collections.abc import Callable, Sized

from harness.nat.discovery_setup import DiscoverySetup
from harness.nat.packet import Endpoint
from harness.nat.policing import burst_bytes

# IP and UDP headers count as well; a rate is known to one datagram in such a window, which is shorter than the bucket.
_PAYLOAD_BYTES, _PACKET_BYTES = 972, 1000
_WINDOW_S = 0.3
# A datagram crosses the lab within the call that sends it, unless the kernel puts it off to its own thread.
_ARRIVES_S = 0.05
LEEWAY = 0.1

Bracket = tuple[float, float]


def udp_rate_tests(setup: DiscoverySetup, expected_mbit: float) -> tuple[Bracket, Bracket]:
    """Return between which rates (Mbit/s) what passes outward and inward lies; where nothing is policed far above.

    Raises:
        LabError: the server did not answer.
    """
    bound = setup.open()
    mapped = setup.mapped(bound)
    primary = setup.primary
    data = bytes(_PAYLOAD_BYTES)

    def outward() -> None:
        bound.sendto(data, (primary.address, primary.port))

    def inward() -> None:
        setup.responder.send(0, 0, data, Endpoint(*mapped))

    found = (
        _passed_mbit(setup, outward, setup.responder.strange, expected_mbit),
        _passed_mbit(setup, inward, setup.inbox[bound], expected_mbit),
    )
    setup.close(bound)
    return found


def _passed_mbit(setup: DiscoverySetup, send: Callable[[], None], arrived: Sized, expected_mbit: float) -> Bracket:
    """Empty the bucket, let it fill for a while, empty it again: what passed the second time is what it filled by.

    However busy the machine is, since only the moments count at which a datagram found no tokens. Where more than a
    second lies between them the bucket may have been full meanwhile, and filled for no more than that second.
    """
    most = 4 * burst_bytes(expected_mbit) // _PACKET_BYTES
    begun, before = _empty(setup, send, arrived, most)
    setup.wire.wait(_WINDOW_S)
    ended, after = _empty(setup, send, arrived, most)
    passed_mbit, lasted_s = (after - before) * _PACKET_BYTES / 125_000, ended - begun
    return passed_mbit / lasted_s * (1 - LEEWAY), passed_mbit / min(lasted_s, 1.0) * (1 + LEEWAY)


def _empty(setup: DiscoverySetup, send: Callable[[], None], arrived: Sized, most: int) -> tuple[float, int]:
    """Send until a datagram does not arrive, at most so many; return when that was, and how many have arrived."""
    for _ in range(most):
        before, now = len(arrived), time.monotonic()
        send()
        if not setup.wire.pump(lambda before=before: len(arrived) > before, _ARRIVES_S):  # type: ignore[misc]
            return now, before
    return time.monotonic(), len(arrived)
