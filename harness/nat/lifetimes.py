"""How long mappings live (RFC 4787 section 4.3, RFC 5780 section 4.6, RFC 5382 section 5).

Bisection with all its branches at once: one mapping for each idle time of interest, each looked at exactly once, so
that looking does not refresh what is measured, and the whole takes no longer than the longest idle time.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Sequence

from harness.errors import LabError
from harness.model.nat import Refresh
from harness.nat.discovery_tcp import Call, call, connected, hang_up, listener
from harness.nat.field import Field
from harness.nat.simulated import Endpoint
from harness.nat.wire import port_of

Step = tuple[float, Callable[[], None]]
Bracket = tuple[float, float]
Lifetimes = tuple[Bracket, Refresh, Bracket | None, Bracket | None]

# Of the expected lifetime; it must fall between two of them.
FRACTIONS = (0.4, 0.75, 1.25, 1.6)

# How much longer than planned, of the expected lifetime, an idle time may be before it proves nothing.
LATENESS = 0.2
ATTEMPTS = 4


def lifetime_tests(field: Field, expected_s: float, *, tcp_established: bool, tcp_transitory: bool) -> Lifetimes:
    """UDP lifetime and refresh direction, and the TCP lifetimes where asked for; all at the same time.

    Args:
        expected_s: about how long mappings live; the idle times tried are FRACTIONS of it.
        tcp_transitory: whether to measure how long a mapping outlives its connection; needs a filter that lets
            strangers in, or nobody could tell.

    Raises:
        LabError: a server did not answer, a longer idle time survived where a shorter one did not, or the machine was
            too busy, time and again, to keep to the idle times.
    """
    for _ in range(ATTEMPTS):
        result, late_s = _all_at_once(field, expected_s, tcp_established, tcp_transitory)
        if late_s < LATENESS * expected_s:
            return result()
    raise LabError(f"this machine is too busy to wait for {expected_s} s: it was {late_s:.2f} s late")


def _all_at_once(
    field: Field, expected_s: float, tcp_established: bool, tcp_transitory: bool
) -> tuple[Callable[[], Lifetimes], float]:
    """What to ask for the results, and by how much an idle time was at most longer than it should have been."""
    made = time.monotonic()
    idle_s = [fraction * expected_s for fraction in FRACTIONS]
    udp_steps, udp_result = _udp_idle(field, idle_s)
    refresh_steps, refresh_result = _udp_refresh(field, expected_s)
    steps = [*udp_steps, *refresh_steps]
    results: list[Callable[[], Bracket]] = []
    for wanted, test in ((tcp_established, _tcp_idle), (tcp_transitory, _tcp_after_close)):
        if wanted:
            more, result = test(field, idle_s)
            steps += more
            results.append(result)
    begun = time.monotonic()
    late_s = 0.0
    for at_s, act in sorted(steps, key=lambda step: step[0]):
        field.wire.wait(begun + at_s - time.monotonic())
        act()
        late_s = max(late_s, time.monotonic() - begun - at_s)
    field.fence(field.open())

    def all_results() -> Lifetimes:
        brackets = [each() for each in results]
        established = brackets.pop(0) if tcp_established else None
        return udp_result(), refresh_result(), established, brackets.pop(0) if tcp_transitory else None

    return all_results, late_s + begun - made


def bracket(idle_s: Sequence[float], alive: Sequence[bool]) -> Bracket:
    """The longest idle time that a mapping survived and the shortest that it did not.

    Raises:
        LabError: a longer one survived where a shorter one did not.
    """
    survived = [idle for idle, lives in zip(idle_s, alive, strict=True) if lives]
    died = [idle for idle, lives in zip(idle_s, alive, strict=True) if not lives]
    longest, shortest = max(survived, default=0.0), min(died, default=float("inf"))
    if longest > shortest:
        raise LabError(f"a mapping idle for {longest:.2f} s lived, one idle for {shortest:.2f} s did not")
    return longest, shortest


def _udp_idle(field: Field, idle_s: Sequence[float]) -> tuple[list[Step], Callable[[], Bracket]]:
    bound = [field.open() for _ in idle_s]
    external = [field.mapped(each) for each in bound]

    def probe(to: Endpoint) -> Callable[[], None]:
        return lambda: field.responder.send(0, 0, b"still there?", to)

    steps = [(idle, probe(to)) for idle, to in zip(idle_s, external, strict=True)]
    return steps, lambda: bracket(idle_s, [bool(field.inbox[each]) for each in bound])


def _udp_refresh(field: Field, lifetime_s: float) -> tuple[list[Step], Callable[[], Refresh]]:
    """One mapping is kept alive by inbound packets alone; a second, by outbound ones, proves that the test works."""
    inward, outward = field.open(), field.open()
    to_inward, to_outward = field.mapped(inward), field.mapped(outward)

    def send_in(data: bytes, to: Endpoint) -> Callable[[], None]:
        return lambda: field.responder.send(0, 0, data, to)

    steps: list[Step] = [
        (0.6 * lifetime_s, send_in(b"refresh", to_inward)),
        (0.6 * lifetime_s, lambda: _send_out(field, outward)),
        (1.3 * lifetime_s, send_in(b"last", to_inward)),
        (1.3 * lifetime_s, send_in(b"last", to_outward)),
    ]

    def result() -> Refresh:
        if not _heard(field, outward, b"last"):
            raise LabError("outbound packets did not keep a UDP mapping alive (RFC 4787 REQ-6)")
        return Refresh.BOTH if _heard(field, inward, b"last") else Refresh.OUTBOUND

    return steps, result


def _send_out(field: Field, bound: socket.socket) -> None:
    bound.sendto(b"refresh", field.primary)


def _heard(field: Field, bound: socket.socket, data: bytes) -> bool:
    return any(received == data for received, _ in field.inbox[bound])


def _tcp_idle(field: Field, idle_s: Sequence[float]) -> tuple[list[Step], Callable[[], Bracket]]:
    calls = [connected(field, field.inside[0], field.primary) for _ in idle_s]
    heard: set[int] = set()
    steps: list[Step] = []
    for number, (idle, made) in enumerate(zip(idle_s, calls, strict=True)):
        assert made.mapped is not None
        server = field.responder.tcp[made.mapped]
        field.wire.relisten(made.bound, lambda _data, _source, number=number: heard.add(number))  # type: ignore[misc]
        steps.append((idle, lambda server=server: server.send(b"still there?")))  # type: ignore[misc]
    return steps, lambda: bracket(idle_s, [number in heard for number in range(len(calls))])


def _tcp_after_close(field: Field, idle_s: Sequence[float]) -> tuple[list[Step], Callable[[], Bracket]]:
    place = field.inside[0]
    attempts: list[Call] = []
    steps: list[Step] = []
    for idle in idle_s:
        made = connected(field, place, field.primary)
        assert made.mapped is not None
        listener(field, place, port_of(made.bound))
        hang_up(field, made)

        def attempt(to: Endpoint = made.mapped) -> None:
            attempts.append(call(field, field.strangers[0], to))

        steps.append((idle, attempt))
    return steps, lambda: bracket(idle_s, [made.state == "open" for made in attempts])
