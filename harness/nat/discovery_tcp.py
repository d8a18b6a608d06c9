"""The TCP twins of the UDP tests (RFC 5382)."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass

from harness.errors import LabError
from harness.model.nat import Filtering, Hairpinning, Mapping, Unsolicited
from harness.nat import stun
from harness.nat.discovery import ALLOCATION_FLOWS, UNUSED_PORT, Allocation, classify_mapping
from harness.nat.field import GRACE_S, Field
from harness.nat.simulated import Endpoint
from harness.nat.wire import Vantage, port_of


@dataclass
class Call:
    """A TCP connection attempt: `state` is waiting, open or refused; `why` is the kernel's word for the last."""

    bound: socket.socket
    state: str = "waiting"
    why: str = ""
    mapped: Endpoint | None = None


def call(field: Field, place: Vantage, to: Endpoint, port: int = 0) -> Call:
    """Begin a TCP connection from `place` (`port` 0: a fresh one); its state changes while the wire is pumped."""
    if place in field.inside:
        port = port or field.fresh_port()
    made = Call(place.bound(socket.SOCK_STREAM, port))

    def done(error: OSError | None) -> None:
        made.state = "refused" if error else "open"
        made.why = f" ({error.strerror})" if error else ""

    field.wire.connect(made.bound, to, done)
    return made


def ask(field: Field, made: Call) -> None:
    """Send a Binding request over an open connection; the answer sets `mapped`."""

    def read(data: bytes, _: Endpoint) -> None:
        if data:
            message = stun.decode(data)
            if isinstance(message, stun.Response):
                made.mapped = message.mapped

    field.wire.listen(made.bound, read)
    made.bound.send(stun.Request(field.transaction()).encode())


def connected(field: Field, place: Vantage, to: Endpoint, port: int = 0) -> Call:
    """An open connection that knows its mapping.

    Raises:
        LabError: it did not come about.
    """
    made = call(field, place, to, port)
    if not field.until(lambda: made.state != "waiting") or made.state != "open":
        raise LabError(f"TCP to {to.address}:{to.port} through the router: {made.state}{made.why}")
    ask(field, made)
    if not field.until(lambda: made.mapped is not None):
        raise LabError(f"TCP to {to.address}:{to.port} through the router: connected, but no answer")
    return made


def hang_up(field: Field, *calls: Call) -> None:
    """Close by reset, so that neither end keeps TIME-WAIT state on a port that the next test may use."""
    for made in calls:
        made.bound.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        field.wire.forget(made.bound)


def tcp_mapping_test(field: Field) -> Mapping:
    """How the TCP mapping depends on the destination: one inside port, four destinations (RFC 5382 REQ-1).

    Raises:
        LabError: a connection failed, or the mappings fit no behaviour.
    """
    place = field.inside[0]
    first = connected(field, place, field.primary)
    port = port_of(first.bound)
    others = [e for row in field.responder.endpoints for e in row][1:]
    calls = [first, *(connected(field, place, to, port) for to in others)]
    seen = [made.mapped for made in calls if made.mapped is not None]
    hang_up(field, *calls)
    return classify_mapping(Endpoint(place.address, port), seen)


def tcp_allocation_test(field: Field, flows: int = ALLOCATION_FLOWS) -> Allocation:
    """The external ports of many connections, begun one after the other (RFC 5382 REQ-7, RFC 4787 section 4.2).

    Raises:
        LabError: none came about.
    """
    calls = [call(field, field.inside[0], field.primary) for _ in range(flows)]
    if not field.until(lambda: all(made.state != "waiting" for made in calls)):
        raise LabError(f"TCP through the router: of {flows} connections some are not answered")
    for made in calls:
        ask(field, made)
    if not field.until(lambda: all(made.mapped for made in calls)):
        raise LabError("TCP through the router: connected, but no answer")
    pairs = [(port_of(made.bound), made.mapped) for made in calls if made.mapped]
    hang_up(field, *calls)
    return Allocation(pairs, flows)


def tcp_filtering_test(field: Field) -> tuple[Filtering, Unsolicited | None]:
    """Whose SYNs come in to a mapping that has contacted the primary endpoint (RFC 5382 REQ-3), and what others get.

    Raises:
        LabError: the first connection failed.
    """
    place = field.inside[0]
    first = connected(field, place, field.primary)
    assert first.mapped is not None
    door = listener(field, place, port_of(first.bound))
    primary = Vantage(field.strangers[0].pid, field.primary.address)
    other_port = call(field, primary, first.mapped)
    anybody = call(field, field.strangers[0], first.mapped)
    _fence(field)
    hang_up(field, first, other_port, anybody)
    field.wire.forget(door)
    states = (anybody.state, other_port.state)
    reaction = Unsolicited.REJECT if "refused" in states else Unsolicited.DROP if "waiting" in states else None
    if anybody.state == "open":
        return Filtering.EIF, reaction
    return (Filtering.ADF if other_port.state == "open" else Filtering.APDF), reaction


def tcp_hairpinning_test(field: Field) -> Hairpinning:
    """Whether an inside host can call another by its external endpoint, under the strictest filter: both call at once.

    Only where the mapping is endpoint-independent can both know whom to call (RFC 5382 section 7.2).

    Raises:
        LabError: the first connections failed.
    """
    first, second = field.inside[0], field.inside[-1]
    seen = [connected(field, place, field.primary) for place in (first, second)]
    ports = [port_of(made.bound) for made in seen]
    assert seen[0].mapped is not None and seen[1].mapped is not None
    # A lax filter lets the first SYN in, so both sides listen as well; a strict one makes it a simultaneous open.
    doors = [listener(field, place, port) for place, port in zip((first, second), ports, strict=True)]
    calls = [call(field, first, seen[1].mapped, ports[0]), call(field, second, seen[0].mapped, ports[1])]
    field.wire.pump(lambda: "open" in (made.state for made in calls), GRACE_S * 3)
    hang_up(field, *seen, *calls)
    for door in doors:
        field.wire.forget(door)
    return Hairpinning.EXTERNAL_SOURCE if "open" in (made.state for made in calls) else Hairpinning.OFF


def listener(field: Field, place: Vantage, port: int = 0) -> socket.socket:
    """A TCP listener that reads and ignores what its connections get."""
    made = place.bound(socket.SOCK_STREAM, port or field.fresh_port())
    made.listen(8)
    field.wire.accept(made, lambda connection, _: field.wire.listen(connection, lambda *_: None))
    return made


def tcp_unsolicited_test(field: Field, *, translates: bool) -> Unsolicited:
    """What a stranger's SYN gets, to a port that nothing inside uses (RFC 5382 REQ-4).

    Raises:
        LabError: the server cannot be reached.
    """
    first = connected(field, field.inside[0], field.primary)
    assert first.mapped is not None
    address = first.mapped.address if translates else field.inside[0].address
    attempt = call(field, field.strangers[0], Endpoint(address, UNUSED_PORT))
    _fence(field)
    hang_up(field, first, attempt)
    return Unsolicited.REJECT if attempt.state == "refused" else Unsolicited.DROP


def _fence(field: Field) -> None:
    """Wait until SYNs sent before must have been answered if they ever will; by UDP, or by TCP where UDP is blocked."""
    last = call(field, field.inside[0], field.primary)
    if not field.until(lambda: last.state != "waiting"):
        raise LabError("the primary server does not answer to TCP through the router")
    field.wire.wait(GRACE_S)
    hang_up(field, last)


def unused_port_answers(field: Field) -> bool:
    """Whether a stranger reaches a listening inside port that never sent anything: there is no filter at all."""
    place = field.inside[0]
    door = listener(field, place)
    attempt = call(field, field.strangers[0], Endpoint(place.address, port_of(door)))
    _fence(field)
    hang_up(field, attempt)
    field.wire.forget(door)
    return attempt.state == "open"
