"""The path of streams, from packets that were made up: requests of thousands of bytes, whose way conservation tells."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address

import pytest
from path_pair import A_OWN, A_PUBLIC, B_OWN, B_PUBLIC, SERVER, SINCE, A, B, values

from harness.lab.tap import Passing
from harness.probes.carriage import Attributed, Carried, attribute, first_direct, share_of_direct
from harness.probes.pathfigures import PathFound
from harness.probes.pings import HEADERS_BYTES, Ping
from harness.probes.tracks import PairTracks


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
    assert values(found)["new_streams_direct_ratio"] == 0.9
    assert "new_streams_direct_ratio" not in values(PathFound("direct", 103.0, 104.0, SINCE))
