"""Port mapping: PCP, the way back to NAT-PMP, refusal, renewal; and what it is good for."""

from __future__ import annotations

import random
import struct

from overlays.refmesh.core.portmap import LIFETIME_S, RETRY_S, PortMapper

ROUTER = ("192.168.1.1", 5351)


def mapper() -> PortMapper:
    return PortMapper("192.168.1.1", "192.168.1.2", 40000, random.Random(1).randbytes)


def mapped(host: str) -> bytes:
    return bytes(10) + b"\xff\xff" + bytes(map(int, host.split(".")))


def pcp_answer(request: bytes, result: int = 0, lifetime_s: int = LIFETIME_S) -> bytes:
    """RFC 6887, sections 7.2 and 11.1."""
    head = struct.pack("!BBBBII12x", 2, 0x81, 0, result, lifetime_s, 1)
    return head + request[24:42] + struct.pack("!H", 50000) + mapped("45.0.0.1")


def test_pcp_gives_an_external_endpoint_and_is_renewed_at_half_time() -> None:
    ours = mapper()
    (request,) = ours.requests(0.0)
    assert len(request) == 60
    assert request[0] == 2
    assert request[8:24] == mapped("192.168.1.2")
    assert struct.unpack("!H", request[40:42])[0] == 40000
    assert ours.receive(pcp_answer(request), ROUTER, 0.1)
    assert ours.external == ("45.0.0.1", 50000)
    assert ours.requests(LIFETIME_S / 2 - 1) == []
    (again,) = ours.requests(LIFETIME_S / 2 + 1)
    assert struct.unpack("!H", again[42:44])[0] == 50000


def test_a_router_of_natpmp_alone_is_asked_in_its_words() -> None:
    ours = mapper()
    ours.requests(0.0)
    ours.receive(struct.pack("!BBHI", 0, 0, 1, 9), ROUTER, 0.1)
    address, port = ours.requests(0.1)
    assert address == b"\0\0"
    assert port == struct.pack("!BBHHHI", 0, 1, 0, 40000, 40000, LIFETIME_S)
    assert not ours.receive(struct.pack("!BBHI4B", 0, 128, 0, 9, 45, 0, 0, 1), ROUTER, 0.2)
    assert ours.receive(struct.pack("!BBHIHHI", 0, 129, 0, 9, 40000, 41000, 600), ROUTER, 0.3)
    assert ours.external == ("45.0.0.1", 41000)


def test_answers_of_others_to_others_and_refusals_give_nothing() -> None:
    ours = mapper()
    (request,) = ours.requests(0.0)
    assert not ours.receive(pcp_answer(request), ("192.168.1.9", 5351), 0.1)
    other = bytearray(pcp_answer(request))
    other[24] ^= 1
    assert not ours.receive(bytes(other), ROUTER, 0.1)
    for length in range(60):
        assert not ours.receive(pcp_answer(request)[:length], ROUTER, 0.1) or ours.external is None
    ours = mapper()
    (request,) = ours.requests(0.0)
    ours.receive(pcp_answer(request, result=2), ROUTER, 0.1)
    assert ours.external is None
    assert ours.requests(60.0) == []


def test_a_router_that_is_silent_is_left_alone_after_four_tries() -> None:
    ours = mapper()
    now, asked = 0.0, 0
    while now < 60.0:
        asked += len(ours.requests(now))
        now += 0.05
    assert asked == len(RETRY_S)
