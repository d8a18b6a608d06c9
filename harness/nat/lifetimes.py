"""The lifetimes of mappings (RFC 4787 section 4.3, RFC 5780 section 4.6, RFC 5382 section 5).

Bisection with all its branches at once: one mapping for each idle time of interest, each looked at exactly once, so
that looking does not refresh what is measured, and the whole takes no longer than the longest idle time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from harness.errors import LabError
from harness.model.nat import Filtering, NatBehaviour, Refresh
from harness.nat.closing import TcpClosing
from harness.nat.discovery_setup import DiscoverySetup
from harness.nat.discovery_tcp import Call, call, connected, hang_up, listener
from harness.nat.packet import Endpoint
from harness.nat.refreshing import Step, TcpRefreshing, UdpRefreshing
from harness.nat.wire import port_of

Bracket = tuple[float, float]
Lifetimes = tuple[Bracket, Refresh, Bracket, Bracket | None]

# Of the expected lifetime; it must fall between two of them.
FRACTIONS = (0.4, 0.75, 1.25, 1.6)

# How much longer than planned, of the expected lifetime, an idle time may be before it proves nothing.
LATENESS = 0.2
ATTEMPTS = 4


def lifetime_tests(setup: DiscoverySetup, behaviour: NatBehaviour) -> Lifetimes:
    """Test the UDP lifetime and refresh direction, and the TCP lifetimes; all at the same time.

    How long a mapping outlives its connection is measured only with a filter that lets strangers in: no other test
    can tell.

    Args:
        behaviour: its lifetimes say about how long mappings live: the idle times tried are FRACTIONS of them.

    Raises:
        LabError: a server did not answer, a longer idle time survived where a shorter one did not, what is in use was
            not refreshed, or the machine was too busy, time and again, to keep to the idle times.
    """
    shortest_s = min(
        behaviour.udp_lifetime_s, behaviour.tcp_established_lifetime_s, behaviour.tcp_transitory_lifetime_s
    )
    for _ in range(ATTEMPTS):
        result, late_s = _all_at_once(setup, behaviour)
        if late_s < LATENESS * shortest_s:
            return result()
    raise LabError(f"this machine is too busy to wait for {shortest_s} s: it was {late_s:.2f} s late")


def _all_at_once(setup: DiscoverySetup, behaviour: NatBehaviour) -> tuple[Callable[[], Lifetimes], float]:
    """Return what to ask for the results, and by how much an idle time was at most longer than it should be."""
    made = time.monotonic()
    refreshing = UdpRefreshing(setup, behaviour, behaviour.udp_lifetime_s)
    udp_steps, udp_result = _udp_idle(setup, _idle_times(behaviour.udp_lifetime_s))
    established_steps, established_result = _tcp_idle(setup, _idle_times(behaviour.tcp_established_lifetime_s))
    steps = [*udp_steps, *refreshing.steps(), *established_steps]
    transitory_result: Callable[[], Bracket] | None = None
    tcp_refreshing: TcpRefreshing | None = None
    closing: TcpClosing | None = None
    if behaviour.translates:
        tcp_refreshing = TcpRefreshing(setup, behaviour, behaviour.tcp_established_lifetime_s)
        closing = TcpClosing(setup, behaviour)
        steps += [*tcp_refreshing.steps(), *closing.steps()]
        if behaviour.filtering is Filtering.EIF:
            more, transitory_result = _tcp_after_close(setup, _idle_times(behaviour.tcp_transitory_lifetime_s))
            steps += more
    begun = time.monotonic()
    late_s = 0.0
    for at_s, act in sorted(steps, key=lambda step: step[0]):
        setup.wire.wait(begun + at_s - time.monotonic())
        act()
        late_s = max(late_s, time.monotonic() - begun - at_s)
    setup.fence(setup.open())

    def all_results() -> Lifetimes:
        if tcp_refreshing is not None:
            tcp_refreshing.check()
        if closing is not None:
            closing.check()
        transitory = None if transitory_result is None else transitory_result()
        return udp_result(), refreshing.result(), established_result(), transitory

    return all_results, late_s + begun - made


def _idle_times(lifetime_s: float) -> list[float]:
    return [fraction * lifetime_s for fraction in FRACTIONS]


def bracket(idle_s: Sequence[float], alive: Sequence[bool]) -> Bracket:
    """Return the longest idle time that a mapping survived and the shortest that it did not.

    Raises:
        LabError: a longer one survived where a shorter one did not.
    """
    survived = [idle for idle, lives in zip(idle_s, alive, strict=True) if lives]
    died = [idle for idle, lives in zip(idle_s, alive, strict=True) if not lives]
    longest, shortest = max(survived, default=0.0), min(died, default=float("inf"))
    if longest > shortest:
        raise LabError(f"a mapping idle for {longest:.2f} s lived, one idle for {shortest:.2f} s did not")
    return longest, shortest


def _udp_idle(setup: DiscoverySetup, idle_s: Sequence[float]) -> tuple[list[Step], Callable[[], Bracket]]:
    bound = [setup.open() for _ in idle_s]
    external = [setup.mapped(each) for each in bound]

    def probe(to: Endpoint) -> Callable[[], None]:
        return lambda: setup.responder.send(0, 0, b"still there?", to)

    steps = [(idle, probe(to)) for idle, to in zip(idle_s, external, strict=True)]
    return steps, lambda: bracket(idle_s, [bool(setup.inbox[each]) for each in bound])


def _tcp_idle(setup: DiscoverySetup, idle_s: Sequence[float]) -> tuple[list[Step], Callable[[], Bracket]]:
    calls = [connected(setup, setup.inside[0], setup.primary) for _ in idle_s]
    heard: set[int] = set()
    steps: list[Step] = []
    for number, (idle, made) in enumerate(zip(idle_s, calls, strict=True)):
        assert made.mapped is not None
        server = setup.responder.tcp[made.mapped]
        setup.wire.relisten(made.bound, lambda _data, _source, number=number: heard.add(number))  # type: ignore[misc]
        steps.append((idle, lambda server=server: server.send(b"still there?")))  # type: ignore[misc]
    return steps, lambda: bracket(idle_s, [number in heard for number in range(len(calls))])


def _tcp_after_close(setup: DiscoverySetup, idle_s: Sequence[float]) -> tuple[list[Step], Callable[[], Bracket]]:
    place = setup.inside[0]
    attempts: list[Call] = []
    steps: list[Step] = []
    for idle in idle_s:
        made = connected(setup, place, setup.primary)
        assert made.mapped is not None
        listener(setup, place, port_of(made.bound))
        hang_up(setup, made)

        def attempt(to: Endpoint = made.mapped) -> None:
            attempts.append(call(setup, setup.strangers[0], to))

        steps.append((idle, attempt))
    return steps, lambda: bracket(idle_s, [made.state == "open" for made in attempts])
