"""Stacks of routers, drawn at random: who punches as ICE does reaches the other exactly where the oracle says so."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from harness.model.nat import Egress, NatBehaviour, Unsolicited, parse_nat
from harness.nat.oracle import expected_path
from harness.simulation.internet import Internet, Link, Router

PORT, SERVER_PORT = 4000, 3478
NAMES = ("full-cone", "address-restricted", "port-restricted", "symmetric", "address-symmetric", "cgn", "firewall")
layers = st.sampled_from([parse_nat(name) for name in (*NAMES, "home-router")])


class Puncher:
    """Asks a server where it is seen, checks where the other is seen, answers, and checks where a check came from."""

    def __init__(self, internet: Internet, router: Router | None, server: tuple[str, int]) -> None:
        self.internet, self.server = internet, server
        self.seen: tuple[str, int] | None = None
        self.answered = False
        self.candidates: dict[tuple[str, int], None] = {}
        self.host = internet.host(router, self.receive, Link(0.01))

    def receive(self, payload: bytes, source: tuple[str, int], _: int) -> None:
        if source == self.server:
            host, _, port = payload.decode().rpartition(" ")
            self.seen = (host, int(port))
        elif payload == b"ping":
            self.host.send(b"pong", PORT, source)
            self.candidates[source] = None  # peer-reflexive (RFC 8445 section 7.3.1.3)
        else:
            self.answered = True


def direct(a: list[NatBehaviour], b: list[NatBehaviour], shared: int) -> bool:
    """Whether both have an answer within three seconds."""
    internet = Internet(random.Random(1))
    server = internet.host(None, lambda *_: None)

    def tell(_: bytes, source: tuple[str, int], __: int) -> None:
        server.send(f"{source[0]} {source[1]}".encode(), SERVER_PORT, source)

    server.receive = tell
    common = None
    for behaviour in reversed(a[len(a) - shared :]):
        common = internet.router(behaviour, common, carrier=True)
    sides = []
    for stack in (a, b):
        router = common
        for behaviour in reversed(stack[: len(stack) - shared]):
            router = internet.router(behaviour, router)
        sides.append(Puncher(internet, router, (server.address, SERVER_PORT)))
    for side in sides:
        side.host.send(b"who am I", PORT, side.server)
    internet.events.run(0.5)
    for _ in range(25):
        for side, other in (sides, sides[::-1]):
            if other.seen is not None:
                side.candidates[other.seen] = None
            for candidate in side.candidates:
                side.host.send(b"ping", PORT, candidate)
        internet.events.run(0.1)
    return all(side.answered for side in sides)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(a=st.lists(layers, min_size=0, max_size=2), b=st.lists(layers, min_size=0, max_size=2), shared=st.booleans())
def test_stacks_are_crossed_where_the_oracle_says(
    a: list[NatBehaviour], b: list[NatBehaviour], *, shared: bool
) -> None:
    layers_shared = int(shared and bool(a) and len(b) > 0)
    if layers_shared:
        b = [*b[:-1], a[-1]]
    for router in (*a, *b):
        assert router.egress is Egress.ANY and router.unsolicited is not Unsolicited.POISONS
    expected = expected_path(a, b, "peer-reflexive", layers_shared, host_candidates=False)
    if expected.path == "either":
        return
    labels = [router.label for router in a], [router.label for router in b], layers_shared
    assert direct(a, b, layers_shared) is (expected.path == "direct"), (labels, expected)
