"""The TCP twins of the UDP tests (RFC 5382)."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass

from harness.errors import LabError
from harness.model.nat import Filtering, Hairpinning, Mapping, Unsolicited
from harness.nat import stun
from harness.nat.discovery import ALLOCATION_FLOWS, UNUSED_PORT, Allocation, classify_mapping
from harness.nat.discovery_setup import GRACE_S, DiscoverySetup
from harness.nat.packet import Endpoint
from harness.nat.wire import Vantage, port_of


@dataclass
class Call:
    """A TCP connection attempt: `state` is waiting, open or refused; `why` is the kernel's word for the last."""

    bound: socket.socket
    state: str = "waiting"
    why: str = ""
    mapped: Endpoint | None = None


def call(setup: DiscoverySetup, place: Vantage, to: Endpoint, port: int = 0) -> Call:
    """Begin a TCP connection from `place` (`port` 0: a fresh one); its state changes while the wire is pumped."""
    if place in setup.inside:
        port = port or setup.fresh_port()
    made = Call(place.bound(socket.SOCK_STREAM, port))

    def done(error: OSError | None) -> None:
        made.state = "refused" if error else "open"
        made.why = f" ({error.strerror})" if error else ""

    setup.wire.connect(made.bound, to, done)
    return made


def ask(setup: DiscoverySetup, made: Call) -> None:
    """Send a Binding request over an open connection; the answer sets `mapped`."""

    def read(data: bytes, _: Endpoint) -> None:
        if data:
            message = stun.decode(data)
            if isinstance(message, stun.Response):
                made.mapped = message.mapped

    setup.wire.listen(made.bound, read)
    made.bound.send(stun.Request(setup.transaction()).encode())


def connected(setup: DiscoverySetup, place: Vantage, to: Endpoint, port: int = 0) -> Call:
    """Return an open connection that knows its mapping.

    Raises:
        LabError: it did not come about.
    """
    made = call(setup, place, to, port)
    if not setup.until(lambda: made.state != "waiting") or made.state != "open":
        raise LabError(f"TCP to {to.address}:{to.port} through the router: {made.state}{made.why}")
    ask(setup, made)
    if not setup.until(lambda: made.mapped is not None):
        raise LabError(f"TCP to {to.address}:{to.port} through the router: connected, but no answer")
    return made


def hang_up(setup: DiscoverySetup, *calls: Call) -> None:
    """Close by reset, so that neither end keeps TIME-WAIT state on a port that the next test may use."""
    for made in calls:
        made.bound.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        setup.wire.forget(made.bound)


def tcp_mapping_test(setup: DiscoverySetup) -> Mapping:
    """Test how the TCP mapping depends on the destination: one inside port, four destinations (RFC 5382 REQ-1).

    Raises:
        LabError: a connection failed, or the mappings fit no behaviour.
    """
    place = setup.inside[0]
    first = connected(setup, place, setup.primary)
    port = port_of(first.bound)
    others = [e for row in setup.responder.endpoints for e in row][1:]
    calls = [first, *(connected(setup, place, to, port) for to in others)]
    seen = [made.mapped for made in calls if made.mapped is not None]
    hang_up(setup, *calls)
    return classify_mapping(Endpoint(place.address, port), seen)


def tcp_allocation_test(setup: DiscoverySetup, flows: int = ALLOCATION_FLOWS) -> Allocation:
    """Test the external ports of many connections in turn (RFC 5382 REQ-7, RFC 4787 section 4.2).

    Raises:
        LabError: none came about.
    """
    calls = [call(setup, setup.inside[0], setup.primary) for _ in range(flows)]
    if not setup.until(lambda: all(made.state != "waiting" for made in calls)):
        raise LabError(f"TCP through the router: of {flows} connections some are not answered")
    for made in calls:
        ask(setup, made)
    if not setup.until(lambda: all(made.mapped for made in calls)):
        raise LabError("TCP through the router: connected, but no answer")
    pairs = [(port_of(made.bound), made.mapped) for made in calls if made.mapped]
    hang_up(setup, *calls)
    return Allocation(pairs, flows)


def tcp_filtering_test(setup: DiscoverySetup) -> tuple[Filtering, Unsolicited | None]:
    """Test whose SYNs come in to a mapping that contacted the primary endpoint (RFC 5382 REQ-3), and what others get.

    Raises:
        LabError: the first connection failed.
    """
    place = setup.inside[0]
    first = connected(setup, place, setup.primary)
    assert first.mapped is not None
    door = listener(setup, place, port_of(first.bound))
    primary = Vantage(setup.strangers[0].pid, setup.primary.address)
    other_port = call(setup, primary, first.mapped)
    anybody = call(setup, setup.strangers[0], first.mapped)
    _fence(setup)
    hang_up(setup, first, other_port, anybody)
    setup.wire.forget(door)
    states = (anybody.state, other_port.state)
    reaction = Unsolicited.REJECT if "refused" in states else Unsolicited.DROP if "waiting" in states else None
    if anybody.state == "open":
        return Filtering.EIF, reaction
    return (Filtering.ADF if other_port.state == "open" else Filtering.APDF), reaction


def tcp_hairpinning_test(setup: DiscoverySetup) -> Hairpinning:
    """Test whether inside hosts can call each other by external endpoints, under the strictest filter: both at once.

    Only where the mapping is endpoint-independent can both know whom to call (RFC 5382 section 7.2).

    Raises:
        LabError: the first connections failed.
    """
    first, second = setup.inside[0], setup.inside[-1]
    seen = [connected(setup, place, setup.primary) for place in (first, second)]
    ports = [port_of(made.bound) for made in seen]
    assert seen[0].mapped is not None and seen[1].mapped is not None
    # A lax filter lets the first SYN in, so both sides listen as well; a strict one makes it a simultaneous open.
    doors = [listener(setup, place, port) for place, port in zip((first, second), ports, strict=True)]
    calls = [call(setup, first, seen[1].mapped, ports[0]), call(setup, second, seen[0].mapped, ports[1])]
    setup.wire.pump(lambda: "open" in (made.state for made in calls), setup.retransmit_s)
    hang_up(setup, *seen, *calls)
    for door in doors:
        setup.wire.forget(door)
    return Hairpinning.EXTERNAL_SOURCE if "open" in (made.state for made in calls) else Hairpinning.OFF


def listener(setup: DiscoverySetup, place: Vantage, port: int = 0) -> socket.socket:
    """Return a TCP listener that reads and ignores what its connections get."""
    made = place.bound(socket.SOCK_STREAM, port or setup.fresh_port())
    made.listen(8)
    setup.wire.accept(made, lambda connection, _: setup.wire.listen(connection, lambda *_: None))
    return made


def tcp_unsolicited_test(setup: DiscoverySetup, *, translates: bool) -> Unsolicited:
    """Test what a stranger's SYN gets, to a port that nothing inside uses (RFC 5382 REQ-4).

    Raises:
        LabError: the server cannot be reached.
    """
    first = connected(setup, setup.inside[0], setup.primary)
    assert first.mapped is not None
    address = first.mapped.address if translates else setup.unmapped()
    attempt = call(setup, setup.strangers[0], Endpoint(address, UNUSED_PORT))
    _fence(setup)
    hang_up(setup, first, attempt)
    return Unsolicited.REJECT if attempt.state == "refused" else Unsolicited.DROP


def _fence(setup: DiscoverySetup) -> None:
    """Wait until SYNs sent before must have been answered if they ever will; by UDP, or by TCP where UDP is blocked."""
    last = call(setup, setup.inside[0], setup.primary)
    if not setup.until(lambda: last.state != "waiting"):
        raise LabError("the primary server does not answer to TCP through the router")
    setup.wire.wait(GRACE_S)
    hang_up(setup, last)


def unused_port_answers(setup: DiscoverySetup) -> bool:
    """Tell whether a stranger reaches a listening inside port that never sent anything: there is no filter."""
    place = setup.inside[0]
    door = listener(setup, place)
    attempt = call(setup, setup.strangers[0], Endpoint(setup.unmapped(), port_of(door)))
    _fence(setup)
    hang_up(setup, attempt)
    setup.wire.forget(door)
    return attempt.state == "open"
