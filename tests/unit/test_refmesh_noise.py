"""The handshake, cookies and transport of the refmesh core against each other and against fixed numbers."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overlays.refmesh import keys
from overlays.refmesh.core import introduction
from overlays.refmesh.core.cookie import Gate, Macs, xchacha20poly1305
from overlays.refmesh.core.noise import StaticKey
from overlays.refmesh.core.replay import WINDOW, ReplayWindow
from overlays.refmesh.core.session import Session
from overlays.refmesh.core.timestamp import tai64n
from overlays.refmesh.core.tunnel import Input, Tunnel
from overlays.refmesh.errors import MalformedMessage

UNIX_S = 1_700_000_000.0
SOURCE, ELSEWHERE = ("192.0.2.1", 51820), ("192.0.2.2", 51820)


class Pair:
    """Two tunnels that know each other."""

    def __init__(self, seed: int = 1, psk: bytes = bytes(32)) -> None:
        rng = random.Random(seed)
        private_a, private_b = rng.randbytes(32), rng.randbytes(32)
        self.a = Tunnel(private_a, rng.randbytes, UNIX_S)
        self.b = Tunnel(private_b, rng.randbytes, UNIX_S)
        self.to_b = self.a.add(keys.public(private_b), psk)
        self.to_a = self.b.add(keys.public(private_a), psk)

    def shake(self, now: float = 0.0) -> None:
        """One handshake, a to b, with its confirmation."""
        response = self.b.receive(self.a.initiate(self.to_b, now), SOURCE, now)
        assert isinstance(response, Input)
        assert response.reply is not None
        confirmation = self.a.receive(response.reply, SOURCE, now)
        assert isinstance(confirmation, Input)
        assert confirmation.reply is not None
        confirmed = self.b.receive(confirmation.reply, SOURCE, now)
        assert isinstance(confirmed, Input)
        assert confirmed.established

    def carry(self, session: Session, receiver: Tunnel, payload: bytes, now: float) -> list[bytes]:
        """Send one packet and return what arrives."""
        sealed = session.sealed([payload], now)
        assert sealed is not None
        result = receiver.receive(sealed[0], SOURCE, now)
        return result.payloads if isinstance(result, Input) else []


def padded(payload: bytes) -> bytes:
    return payload + bytes(-len(payload) % 16)


def test_packets_go_both_ways_after_a_handshake() -> None:
    pair = Pair()
    pair.shake()
    assert pair.carry(pair.to_b, pair.b, b"E hello", 0.1) == [padded(b"E hello")]
    assert pair.carry(pair.to_a, pair.a, b"E and back", 0.1) == [padded(b"E and back")]


def test_a_wrong_preshared_key_gives_no_session() -> None:
    pair = Pair()
    pair.to_b.psk = bytes(range(32))
    response = pair.b.receive(pair.a.initiate(pair.to_b, 0.0), SOURCE, 0.0)
    assert isinstance(response, Input)
    assert response.reply is not None
    assert pair.a.receive(response.reply, SOURCE, 0.0) is None
    assert pair.to_b.current is None


def test_a_replayed_initiation_is_ignored() -> None:
    pair = Pair()
    initiation = pair.a.initiate(pair.to_b, 0.0)
    assert pair.b.receive(initiation, SOURCE, 0.0) is not None
    assert pair.b.receive(initiation, SOURCE, 1.0) is None


def test_a_replayed_packet_is_dropped() -> None:
    pair = Pair()
    pair.shake()
    sealed = pair.to_b.sealed([b"E once"], 0.1)
    assert sealed is not None
    assert isinstance(pair.b.receive(sealed[0], SOURCE, 0.1), Input)
    assert pair.b.receive(sealed[0], SOURCE, 0.2) is None


def test_both_sides_initiating_at_once_end_with_a_working_session() -> None:
    pair = Pair()
    from_a, from_b = pair.a.initiate(pair.to_b, 0.0), pair.b.initiate(pair.to_a, 0.0)
    at_b, at_a = pair.b.receive(from_a, SOURCE, 0.1), pair.a.receive(from_b, SOURCE, 0.1)
    assert isinstance(at_b, Input)
    assert isinstance(at_a, Input)
    assert at_b.reply is not None
    assert at_a.reply is not None
    done_a, done_b = pair.a.receive(at_b.reply, SOURCE, 0.2), pair.b.receive(at_a.reply, SOURCE, 0.2)
    assert isinstance(done_a, Input)
    assert isinstance(done_b, Input)
    assert pair.carry(pair.to_b, pair.b, b"E 1", 0.3)
    assert pair.carry(pair.to_a, pair.a, b"E 2", 0.3)


def test_keys_end_after_180_s_and_the_initiator_asks_for_new_ones_after_120_s() -> None:
    pair = Pair()
    pair.shake()
    assert pair.carry(pair.to_b, pair.b, b"E", 119.0)
    assert pair.to_b.attempt_due_s > 1e9
    assert pair.carry(pair.to_b, pair.b, b"E", 121.0)
    assert pair.to_b.attempt_due_s == 121.0
    assert pair.to_b.sealed([b"E"], 180.5) is None


def test_the_old_keys_serve_until_the_new_ones_are_confirmed_and_no_index_leaks() -> None:
    pair = Pair()
    for round_ in range(20):
        pair.shake(float(round_))
        assert pair.carry(pair.to_b, pair.b, b"E", round_ + 0.5)
    assert len(pair.a._keypairs) <= 3
    assert len(pair.b._keypairs) <= 3
    assert not pair.a._pending


def test_who_was_spoken_to_and_is_silent_for_15_s_is_shaken_hands_with_again() -> None:
    pair = Pair()
    pair.shake()
    pair.to_b.sealed([b"E"], 1.0)
    assert pair.a.tick(pair.to_b, 15.0)[0] is None
    assert pair.a.tick(pair.to_b, 16.1)[0] is not None


def test_a_receiver_with_nothing_to_say_says_so_after_10_s() -> None:
    pair = Pair()
    pair.shake()
    pair.carry(pair.to_b, pair.b, b"E", 1.0)
    assert pair.b.tick(pair.to_a, 10.0)[1] is None
    keepalive = pair.b.tick(pair.to_a, 11.1)[1]
    assert keepalive is not None
    assert len(keepalive) == 32


def test_a_cookie_reply_that_was_not_asked_for_is_refused() -> None:
    remote = keys.public(bytes(range(32)))
    gate, macs = Gate(remote, random.Random(1).randbytes), Macs(remote)
    message = macs.protect(bytes(116), 0.0)
    other = Macs(remote)
    with pytest.raises(MalformedMessage):
        other.accept_reply(gate.reply(message, b"there", 0.0), 0.0)
    macs.accept_reply(gate.reply(message, b"there", 0.0), 0.0)
    assert gate.valid_mac2(macs.protect(bytes(116), 1.0), b"there", 1.0)


def test_xchacha20poly1305_of_the_draft() -> None:
    # draft-irtf-cfrg-xchacha-03, appendix A.3.1
    key = bytes(range(0x80, 0xA0))
    nonce = bytes(range(0x40, 0x58))
    plain = (
        b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, "
        b"sunscreen would be it."
    )
    associated = bytes.fromhex("50515253c0c1c2c3c4c5c6c7")
    cipher, short_nonce = xchacha20poly1305(key, nonce)
    sealed = cipher.encrypt(short_nonce, plain, associated)
    assert sealed[:16].hex() == "bd6d179d3e83d43b9576579493c0e939"
    assert sealed[-16:].hex() == "c0875924c1c7987947deafd8780acf49"


def test_tai64n_grows_with_time() -> None:
    assert tai64n(1.0) < tai64n(1.000001) < tai64n(2.0)
    assert len(tai64n(UNIX_S)) == 12


def test_an_introduction_is_for_one_reader() -> None:
    rng = random.Random(2)
    reader, other = StaticKey(rng.randbytes(32)), StaticKey(rng.randbytes(32))
    message = introduction.write("a certificate", reader.public, Macs(reader.public), rng.randbytes, 0.0)
    assert introduction.read(message, reader) == "a certificate"
    with pytest.raises(MalformedMessage):
        introduction.read(message, other)
    for position in range(len(message) - 32):
        broken = bytearray(message)
        broken[position] ^= 1
        with pytest.raises(MalformedMessage):
            introduction.read(bytes(broken), reader)
        assert not Gate(reader.public, rng.randbytes).valid_mac1(bytes(broken))


@given(st.lists(st.one_of(st.integers(0, 300), st.integers(0, 3 * WINDOW)), max_size=200))
def test_the_replay_window_accepts_what_a_set_would(counters: list[int]) -> None:
    window, seen, highest = ReplayWindow(), set[int](), -1
    for counter in counters:
        expected = counter not in seen and counter > highest - WINDOW
        assert window.fresh(counter) == expected
        assert window.accept(counter) == expected
        if expected:
            seen.add(counter)
            highest = max(highest, counter)


@given(st.lists(st.tuples(st.integers(0, 3 * WINDOW), st.integers(1, 64)), max_size=60))
def test_runs_are_accepted_whole_or_not_at_all(runs: list[tuple[int, int]]) -> None:
    window, seen, highest = ReplayWindow(), set[int](), -1
    for first, count in runs:
        wanted = range(first, first + count)
        high = max(highest, first + count - 1)
        expected = not seen.intersection(wanted) and first > high - WINDOW and (first > highest - WINDOW)
        assert window.accept_run(first, count) == expected
        if expected:
            seen.update(wanted)
            highest = high


def test_an_answer_that_was_overtaken_by_the_next_try_still_makes_a_session() -> None:
    pair = Pair()
    first, second = pair.a.initiate(pair.to_b, 0.0), pair.a.initiate(pair.to_b, 0.1)
    answer = pair.b.receive(first, SOURCE, 0.2)
    assert isinstance(answer, Input)
    assert isinstance(pair.b.receive(second, SOURCE, 0.3), Input)
    assert answer.reply is not None
    done = pair.a.receive(answer.reply, SOURCE, 0.4)
    assert isinstance(done, Input)
    assert done.established
    assert pair.carry(pair.to_b, pair.b, b"E there", 0.5)
    assert pair.carry(pair.to_a, pair.a, b"E and back", 0.5)
