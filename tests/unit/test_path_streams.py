"""The path of streams and of content: from counts and packets that were made up, and through a stream on loopback."""

from __future__ import annotations

import contextlib
import random
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from ipaddress import IPv4Address
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.lab.counters import Flow
from harness.lab.tap import Passing
from harness.model.words import Verdict
from harness.overlay.contract import StreamEndpoint
from harness.probes import asking, contentpath
from harness.probes.burst import send_and_wait
from harness.probes.carriage import Attributed, Carried, attribute, first_direct, share_of_direct
from harness.probes.contentpath import Fetch, found_of
from harness.probes.measurement import Target
from harness.probes.pathfigures import PathFound, figures_of
from harness.probes.pings import HEADERS_BYTES, Ping
from harness.probes.requester import LARGEST_BYTES, SMALLEST_BYTES, Requester, echoes
from harness.probes.tracks import PairTracks
from harness.probes.verdict import MemberAddresses, path_of_content
from tests.unit.test_path_figures import DEADLINE_S, SINCE, target

A_OWN, A_PUBLIC = IPv4Address("10.1.0.2"), IPv4Address("203.0.113.11")
B_OWN, B_PUBLIC = IPv4Address("10.2.0.2"), IPv4Address("203.0.113.12")
SERVER = IPv4Address("203.0.113.2")
A = MemberAddresses(frozenset({A_OWN}), "lan_a", frozenset({A_OWN, A_PUBLIC}))
B = MemberAddresses(frozenset({B_OWN}), "lan_b", frozenset({B_OWN, B_PUBLIC}))
MB = 1_000_000


def counts(*, a_direct: int = 0, a_server: int = 0, b_direct: int = 0, b_server: int = 0) -> dict[Flow, int]:
    """Return what left `a` and reached `b`, directly and by way of the server; some acknowledgements the other way."""
    return {
        Flow("lan_a", A_OWN, B_PUBLIC): a_direct,
        Flow("lan_a", A_OWN, SERVER): a_server,
        Flow("lan_b", A_PUBLIC, B_OWN): b_direct,
        Flow("lan_b", SERVER, B_OWN): b_server,
        Flow("lan_a", SERVER, A_OWN): 300_000,
        Flow("lan_b", B_OWN, SERVER): 300_000,
    }


@pytest.mark.parametrize(
    ("seen", "verdict"),
    [
        ({"a_direct": MB, "b_direct": MB, "a_server": 20_000}, "direct"),
        ({"a_server": MB, "b_server": MB, "a_direct": 20_000}, "relayed"),
        # Stored on the server, and fetched from both: it left once, and came in two ways.
        ({"a_server": MB, "a_direct": MB // 2, "b_server": MB // 2, "b_direct": MB // 2}, "mixed"),
        ({"a_direct": MB, "b_direct": MB // 2}, "none"),
        ({}, "none"),
    ],
)
def test_the_path_of_content_is_that_of_its_bytes(seen: Mapping[str, int], verdict: str) -> None:
    assert path_of_content(counts(**seen), A, B, MB) == verdict


def test_the_path_of_content_has_a_direction() -> None:
    seen = counts(a_direct=MB, b_direct=MB)
    assert path_of_content(seen, B, A, MB) == "none"


def fetches(*ways: Verdict | None, every_s: float = 2.0) -> list[Fetch]:
    """Return fetches that ended one after the other; None: it failed."""
    return [
        Fetch(103.0 + n * every_s, way or "none", None if way else "fetch ended with status 1")
        for n, way in enumerate(ways)
    ]


def figures(found: PathFound, mode: str = "mesh") -> dict[str, float | None]:
    return {one.metric: one.value for one in figures_of(target(mode), found, DEADLINE_S)}


def test_content_connects_with_its_first_fetch_and_is_direct_with_the_first_that_is() -> None:
    found = found_of(fetches(None, "relayed", "mixed", "direct"), 110.0, SINCE)
    assert figures(found) == {
        "connect_success": 1,
        "time_to_connect_s": 5.0,
        "ready_to_connect_s": 3.0,
        "hole_punch_success": 1,
        "time_to_direct_s": 9.0,
        "ready_to_direct_s": 7.0,
    }


def test_the_last_fetch_in_time_is_the_verdict() -> None:
    assert found_of(fetches("direct", "relayed"), 110.0, SINCE).verdict == "relayed"
    late = found_of(fetches("relayed", "direct", every_s=20.0), 110.0, SINCE)
    assert (late.verdict, late.direct_s) == ("relayed", None)


def test_content_that_never_came_says_why() -> None:
    found = found_of(fetches(None, None), 110.0, SINCE)
    (first, *_) = figures_of(target(), found, DEADLINE_S)
    assert (first.value, first.path, first.outcome) == (0, "none", "failed")
    assert first.error == "no content was fetched within 10 s: fetch ended with status 1"


def test_a_pair_that_waited_for_another_has_as_much_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [103.0]
    monkeypatch.setattr(contentpath.time, "time", lambda: clock[0])
    monkeypatch.setattr(contentpath.time, "sleep", lambda _s: None)

    def fetched(pair: Target, *_: object) -> Fetch:
        clock[0] += 4.0
        return Fetch(clock[0], "direct" if pair.src == "b" else "relayed")

    monkeypatch.setattr(contentpath, "_fetched", fetched)
    made: Any = Target
    lab = SimpleNamespace(seed=1)
    pairs = [made(lab=lab, src=src, dst="c", mode="mesh", folder=tmp_path) for src in "ab"]
    found = contentpath.find_content_paths(pairs, DEADLINE_S, SINCE)
    # The first goes on until 10 s after the start, and the second begins then.
    assert clock[0] == 115.0
    assert figures(found["a", "c"])["hole_punch_success"] == 0
    assert figures(found["b", "c"])["time_to_direct_s"] == figures(found["a", "c"])["time_to_connect_s"] == 7.0


# Streams: requests of thousands of bytes, whose way conservation tells.


def packets(start_s: float, size: int, ends: tuple[IPv4Address, IPv4Address]) -> Iterator[Passing]:
    """`size` bytes in packets of 1,200 from one address to another."""
    for number in range(-(-size // 1200)):
        yield Passing(start_s + number * 1e-4, *ends, 1280)


def carried(ping: Ping, peers: tuple[IPv4Address, IPv4Address]) -> tuple[list[Passing], list[Passing]]:
    """Return what passes both members' ports while a request goes to and fro, by way of the peers that each sees."""
    size, there, back = ping.ip_bytes - HEADERS_BYTES[6], ping.sent_s + 0.001, ping.sent_s + 0.01
    at_a = [*packets(there, size, (A_OWN, peers[0])), *packets(back, size, (peers[0], A_OWN))]
    at_b = [*packets(there, size, (peers[1], B_OWN)), *packets(back, size, (B_OWN, peers[1]))]
    return at_a, at_b


DIRECT, RELAYED = (B_PUBLIC, A_PUBLIC), (SERVER, SERVER)


def seen(*ways: tuple[IPv4Address, IPv4Address], beside: int = 0) -> list[Attributed]:
    """Return requests that went each its way, and what the probe makes of them.

    Args:
        beside: bytes of the product's own on the other way, each time.
    """
    tracks = PairTracks(A, B)
    requests = [Ping(n, 8000 + HEADERS_BYTES[6], 100.0 + n, 100.05 + n) for n in range(len(ways))]
    for ping, way in zip(requests, ways, strict=True):
        at_a, at_b = carried(ping, way)
        if beside:
            own = Ping(0, beside + HEADERS_BYTES[6], ping.sent_s)
            more = carried(own, RELAYED if way == DIRECT else DIRECT)
            at_a, at_b = at_a + more[0], at_b + more[1]
        tracks.take(sorted(at_a, key=lambda one: one.t), sorted(at_b, key=lambda one: one.t))
    return attribute(tracks, requests)


def test_the_way_of_a_request_is_told_although_the_product_talks_beside_it() -> None:
    found = seen(RELAYED, DIRECT, DIRECT, beside=4000)
    assert [one.carried for one in found] == ["relayed", "direct", "direct"]
    first = first_direct(found)
    assert first is not None and first.seq == 1


@pytest.mark.parametrize(
    ("ways", "unanswered", "share"),
    [
        (["direct", "direct", "relayed", "direct"], 0, 0.75),
        (["direct", "unknown"], 0, 1.0),
        (["direct"], 1, 0.5),
        (["unknown"], 0, None),
    ],
)
def test_connections_that_begin_later_are_counted_by_their_way(
    ways: list[Carried], unanswered: int, share: float | None
) -> None:
    told = [Attributed(Ping(n, 8000, 100.0 + n, 100.5 + n), way) for n, way in enumerate(ways)]
    silent = [Ping(len(told) + n, 8000, 200.0) for n in range(unanswered)]
    assert share_of_direct(told, [*(one.ping for one in told), *silent]) == share


def test_what_later_connections_get_is_a_figure_of_streams_alone() -> None:
    found = PathFound("direct", 103.0, 104.0, SINCE, new_direct_ratio=0.9)
    assert figures(found)["new_streams_direct_ratio"] == 0.9
    assert "new_streams_direct_ratio" not in figures(PathFound("direct", 103.0, 104.0, SINCE))


class Carrier:
    """A stream on loopback: carries connections to the service until it is broken; counts them."""

    def __init__(self, service_port: int) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self.listener.getsockname()[1])
        self.connections = 0
        self.broken = False
        self._service_port = service_port
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            if self.broken:
                near.close()
                continue
            far = socket.create_connection(("127.0.0.1", self._service_port))
            for ends in ((near, far), (far, near)):
                threading.Thread(target=self._pump, args=ends, daemon=True).start()

    @staticmethod
    def _pump(source: socket.socket, sink: socket.socket) -> None:
        try:
            while piece := source.recv(65536):
                sink.sendall(piece)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass


@pytest.fixture
def stream(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[tuple[Target, Carrier]]:
    """Return a pair whose members both are this machine."""
    monkeypatch.setattr("harness.probes.requester.inside_network_of", lambda _pid: contextlib.nullcontext())
    with socket.create_server(("127.0.0.1", 0)) as free:
        service = int(free.getsockname()[1])
    carrier = Carrier(service)
    end = StreamEndpoint(src="a", dst="b", listen_port=carrier.port, service_port=service)
    lab: Any = SimpleNamespace(nodes={name: SimpleNamespace(pid=0) for name in "ab"})
    yield Target(lab=lab, src="a", dst="b", mode="mesh", folder=tmp_path, streams={("a", "b"): end}), carrier
    carrier.listener.close()


def test_requests_have_connections_of_their_own_and_a_burst_has_one(stream: tuple[Target, Carrier]) -> None:
    pair, carrier = stream
    with asking.asking([pair], [random.Random(1)]) as (asker,):
        assert isinstance(asker, Requester)
        send_and_wait(asker, 3)
        assert carrier.connections == 3
        asker.ask(5, 0.0, together=True)
        while asker.left:
            time.sleep(0.005)
        assert carrier.connections == 4
        pings = asker.pings
    assert len(pings) == 8 and all(ping.answered_s for ping in pings)
    assert all(SMALLEST_BYTES <= ping.ip_bytes - HEADERS_BYTES[6] <= LARGEST_BYTES for ping in pings)
    assert len({ping.ip_bytes for ping in pings}) == 8
    assert all(one.answered_s <= other.sent_s for one, other in pairwise(pings))  # type: ignore[operator]


def test_streams_of_several_members_to_one_share_its_service(stream: tuple[Target, Carrier]) -> None:
    pair, carrier = stream
    other = replace(pair, src="c", streams={("c", "b"): pair.streams["a", "b"].model_copy(update={"src": "c"})})
    other.lab.nodes["c"] = other.lab.nodes["a"]
    with asking.asking([pair, other], [random.Random(1), random.Random(2)]) as askers:
        for asker in askers:
            send_and_wait(asker, 2)
        assert all(ping.answered_s for asker in askers for ping in asker.pings)
    assert carrier.connections == 4


def test_a_stream_that_breaks_leaves_its_request_unanswered_and_the_next_tries_anew(
    stream: tuple[Target, Carrier],
) -> None:
    pair, carrier = stream
    carrier.broken = True
    with asking.asking([pair], [random.Random(1)]) as (asker,):
        send_and_wait(asker, 2)
        assert not any(ping.answered_s for ping in asker.pings)
        assert sum(asker.errors.values()) == 2
        carrier.broken = False
        send_and_wait(asker, 1)
        assert asker.pings[-1].answered_s


def test_a_requester_that_waits_for_an_answer_can_be_ended(stream: tuple[Target, Carrier]) -> None:
    pair, carrier = stream
    with echoes([]):
        silent = socket.create_server(("127.0.0.1", pair.streams["a", "b"].service_port))
        requester = Requester(pair, random.Random(1))
        requester.ask(1, 0.0)
        while not carrier.connections:
            time.sleep(0.005)
        began = time.monotonic()
        requester.close()
        assert time.monotonic() - began < 2.0
        silent.close()
