"""Who is busy asks for proof of the address, and then takes so much from each (WireGuard paper, 5.3 and 5.4.7)."""

from __future__ import annotations

from test_refmesh_noise import ELSEWHERE, SOURCE, Pair

from overlays.refmesh.core import ratelimit
from overlays.refmesh.core.cookie import Macs
from overlays.refmesh.core.tunnel import BUSY_BURST, Input, Tunnel
from overlays.refmesh.wire import messages


def busy(tunnel: Tunnel, now: float) -> None:
    """Has a tunnel asked for so much that it wants cookies, by somebody who knows its key and nothing else."""
    stranger = Macs(tunnel.static.public)
    for index in range(BUSY_BURST + 1):
        junk = messages.INITIATION_HEAD.pack(messages.INITIATION, index) + bytes(messages.INITIATION_LEN - 40)
        tunnel.receive(stranger.protect(junk, now), ("6.6.6.6", index + 1), now)


def test_a_busy_responder_asks_for_a_cookie_first() -> None:
    pair = Pair()
    now = 0.5
    busy(pair.b, now)
    reply = pair.b.receive(pair.a.initiate(pair.to_b, now), SOURCE, now)
    assert isinstance(reply, bytes)
    assert len(reply) == 64
    assert pair.a.receive(reply, SOURCE, now) is None
    assert isinstance(pair.b.receive(pair.a.initiate(pair.to_b, now + 0.1), SOURCE, now + 0.1), Input)
    assert isinstance(pair.b.receive(pair.a.initiate(pair.to_b, now + 0.2), ELSEWHERE, now + 0.2), bytes)


def test_a_cookie_reply_to_an_earlier_initiation_is_taken_on_a_long_way() -> None:
    pair = Pair()
    busy(pair.b, 0.0)
    replies = [pair.b.receive(pair.a.initiate(pair.to_b, 0.1 * i), SOURCE, 0.1 * i) for i in range(4)]
    assert isinstance(replies[0], bytes)
    assert pair.a.receive(replies[0], SOURCE, 0.4) is None
    assert isinstance(pair.b.receive(pair.a.initiate(pair.to_b, 0.5), SOURCE, 0.5), Input)


def test_a_busy_initiator_and_its_responder_finish_all_the_same() -> None:
    pair = Pair()
    busy(pair.a, 0.0)
    answered = pair.b.receive(pair.a.initiate(pair.to_b, 0.0), SOURCE, 0.0)
    assert isinstance(answered, Input)
    assert answered.reply is not None
    cookie = pair.a.receive(answered.reply, SOURCE, 0.1)
    assert isinstance(cookie, bytes)
    assert pair.b.receive(cookie, SOURCE, 0.2) is None  # taken, though it answers a response
    again = pair.b.receive(pair.a.initiate(pair.to_b, 0.3), SOURCE, 0.3)
    assert isinstance(again, Input)
    assert again.reply is not None
    done = pair.a.receive(again.reply, SOURCE, 0.4)
    assert isinstance(done, Input)
    assert done.established


def test_a_response_that_answers_nothing_costs_nothing_and_gets_nothing() -> None:
    pair = Pair()
    busy(pair.a, 0.0)
    junk = messages.RESPONSE_HEAD.pack(messages.RESPONSE, 1, 2) + bytes(messages.RESPONSE_LEN - 44)
    assert pair.a.receive(Macs(pair.a.static.public).protect(junk, 0.0), SOURCE, 0.0) is None


def test_one_source_with_a_cookie_gets_20_handshakes_a_second_from_who_is_busy() -> None:
    pair = Pair()
    opened = []
    for step in range(4000):
        now = 1.0 + step / 1000
        if not step % 400:
            busy(pair.b, now)
        if not step:
            cookie = pair.b.receive(pair.a.initiate(pair.to_b, now), SOURCE, now)
            assert isinstance(cookie, bytes)
            pair.a.receive(cookie, SOURCE, now)
        opened.append(pair.b.receive(pair.a.initiate(pair.to_b, now), SOURCE, now))
    answered = sum(isinstance(each, Input) for each in opened)
    assert 20 <= answered <= ratelimit.BURST + 4 * ratelimit.PER_S
    # Another source, with its own cookie, is not in its way.
    limiter = ratelimit.RateLimiter()
    assert sum(limiter.allows(SOURCE, 0, 0.0) for _ in range(100)) == ratelimit.BURST
    assert limiter.allows(ELSEWHERE, 0, 0.0)
    assert limiter.allows(SOURCE, 7, 0.0)  # whom a relay at that address brings
    v6 = [limiter.allows((f"2001:db8::{i:x}", 5), 0, 0.0) for i in range(1, 100)]
    assert sum(v6) == ratelimit.BURST


def test_the_table_of_sources_is_bounded_and_forgets() -> None:
    limiter = ratelimit.RateLimiter()
    for number in range(ratelimit.MAX_SOURCES + 100):
        limiter.allows((f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", 1), 0, 0.0)
    assert len(limiter._buckets) == ratelimit.MAX_SOURCES
    assert not limiter.allows(("11.0.0.1", 1), 0, 0.5)
    assert limiter.allows(("11.0.0.1", 1), 0, 1.5)
    assert len(limiter._buckets) == 1
