"""The coordinator of WireGuard's mesh: who begins, who opens its NAT, and when traffic moves. Pure."""

from __future__ import annotations

import socket
import struct

import pytest

from overlays.wireguard.coordinator import opening, outer_addresses, parse_dump
from overlays.wireguard.turns import (
    FAST_ATTEMPTS,
    OPENINGS_AT_ONCE,
    PATIENCE_S,
    REOPEN_S,
    SILENT_S,
    SLOW_PATIENCE_S,
    Peer,
    Report,
    Seen,
    Step,
    Told,
    Turns,
)

PLACES = {"A": "45.45.1.1:9", "B": "45.45.2.1:9"}


def asked(turns: Turns, now: float, who: str, places: dict[str, str] = PLACES, **report: object) -> Told | None:
    peer = {"A": "B", "B": "A"}[who]
    return turns.answer(now, who, Report(**report), places).get(peer)  # type: ignore[arg-type]


def begun(turns: Turns, now: float, attempt: int = 0) -> None:
    """Return an attempt up to where one of the two has been told to begin."""
    opens = "BA"[attempt % 2]
    asked(turns, now, opens, opened={"AB"[attempt % 2]: attempt})
    told = asked(turns, now, "AB"[attempt % 2])
    assert told is not None and (told.role, told.attempt) == ("begin", attempt)


class TestTurns:
    """The coordinator's side."""

    def test_a_peer_that_never_asked_is_not_told(self) -> None:
        assert asked(Turns(), 0.0, "A") is None

    def test_one_begins_when_the_other_has_opened_its_nat(self) -> None:
        turns = Turns()
        asked(turns, 0.0, "A")
        told = asked(turns, 0.1, "B")
        assert told == Told("45.45.1.1:9", 0, "open")
        assert asked(turns, 0.2, "A") == Told("45.45.2.1:9", 0, "wait")
        asked(turns, 0.3, "B", opened={"A": 0})
        assert asked(turns, 0.4, "A") == Told("45.45.2.1:9", 0, "begin")

    def test_never_both_begin(self) -> None:
        turns, roles = Turns(), {"A": "", "B": ""}
        for tick in range(400):
            for who in "AB":
                told = asked(turns, tick / 20, who, opened={"AB"[who == "A"]: tick // 40})
                roles[who] = told.role if told else ""
            assert list(roles.values()).count("begin") <= 1

    def test_who_is_told_to_begin_in_vain_opens_next(self) -> None:
        turns = Turns()
        asked(turns, 0.0, "A")
        begun(turns, 0.0)
        late = PATIENCE_S + 0.01
        assert asked(turns, PATIENCE_S - 0.01, "A") == Told("45.45.2.1:9", 0, "begin")
        assert asked(turns, late, "A") == Told("45.45.2.1:9", 1, "open")
        begun(turns, late, attempt=1)

    def test_a_long_way_is_given_its_time(self) -> None:
        turns = Turns()
        asked(turns, 0.0, "A", rtt_s=0.4)
        asked(turns, 0.0, "B", rtt_s=0.4, opened={"A": 0})
        asked(turns, 0.0, "A", rtt_s=0.4)
        told = asked(turns, 2.8, "A", rtt_s=0.4)
        assert told is not None and told.attempt == 0

    def test_a_pair_that_nothing_helps_is_tried_slowly(self) -> None:
        turns, now = Turns(), 0.0
        asked(turns, now, "A")
        for attempt in range(FAST_ATTEMPTS):
            begun(turns, now, attempt)
            now += PATIENCE_S + 0.01
        begun(turns, now, FAST_ATTEMPTS)
        told = asked(turns, now + SLOW_PATIENCE_S - 0.01, "A")
        assert told is not None and told.slow and told.attempt == FAST_ATTEMPTS

    def test_a_direct_pair_is_left_alone_until_both_have_lost_it(self) -> None:
        turns = Turns()
        asked(turns, 0.0, "A")
        begun(turns, 0.0)
        asked(turns, 0.2, "A", direct=frozenset("B"))
        asked(turns, 99.0, "B")
        told = asked(turns, 99.0, "A", direct=frozenset("B"))
        assert told is not None and told.attempt == 0
        told = asked(turns, 100.0, "A")
        assert told is not None and (told.attempt, told.slow) == (1, False)

    def test_a_new_outer_address_begins_anew(self) -> None:
        turns = Turns()
        asked(turns, 0.0, "A")
        begun(turns, 0.0)
        told = asked(turns, 0.1, "A", PLACES | {"B": "45.45.2.1:10"})
        assert told == Told("45.45.2.1:10", 1, "open")


class TestPeer:
    """A member's side."""

    def peer(self) -> Peer:
        return Peer("b", "KEY", "10.11.0.3")

    def test_who_opens_lets_wireguard_send_nothing(self) -> None:
        step = self.peer().step(0.0, None, Told("45.45.2.1:9", 0, "open"))
        assert step == Step((("peer", "KEY", "endpoint", "45.45.2.1:9"),), open_to="45.45.2.1:9")

    def test_openings_are_few_and_go_on(self) -> None:
        peer, told = self.peer(), Told("45.45.2.1:9", 0, "open")
        sent = [peer.step(tick / 10, None, told).open_to for tick in range(10 + OPENINGS_AT_ONCE)]
        assert sum(one is not None for one in sent) == OPENINGS_AT_ONCE + 1
        assert peer.step(2 + REOPEN_S, None, told).open_to is not None
        assert peer.opened == 0

    def test_who_begins_keeps_alive_without_taking_traffic(self) -> None:
        peer = self.peer()
        assert peer.step(0.0, None, Told("45.45.2.1:9", 0, "wait")) == Step()
        step = peer.step(0.1, None, Told("45.45.2.1:9", 0, "begin"))
        assert step == Step((("peer", "KEY", "endpoint", "45.45.2.1:9", "persistent-keepalive", "1"),))
        assert peer.step(0.2, Seen("45.45.2.1:9", 0, 0), Told("45.45.2.1:9", 0, "begin")) == Step()

    def test_who_begins_no_more_stops_it(self) -> None:
        peer = self.peer()
        peer.step(0.0, None, Told("45.45.2.1:9", 0, "begin"))
        step = peer.step(1.0, Seen("45.45.2.1:9", 0, 0), Told("45.45.2.1:9", 1, "open"))
        assert step.commands == (("peer", "KEY", "remove"), ("peer", "KEY", "endpoint", "45.45.2.1:9"))

    def test_traffic_moves_with_the_handshake(self) -> None:
        peer = self.peer()
        peer.step(0.0, None, Told("45.45.2.1:1000", 0, "open"))
        step = peer.step(0.2, Seen("45.45.2.1:2000", 1, 92), Told("45.45.2.1:1000", 0, "open"))
        assert step == Step((("peer", "KEY", "allowed-ips", "10.11.0.3/32", "persistent-keepalive", "1"),))
        assert str(peer) == "b: direct at 45.45.2.1:2000"

    def test_a_silent_peer_goes_back_to_the_hub_and_is_tried_again(self) -> None:
        peer, told = self.peer(), Told("45.45.2.1:1000", 0, "open")
        peer.step(0.0, None, told)
        seen = Seen("45.45.2.1:1000", 1, 92)
        peer.step(0.2, seen, told)
        assert peer.step(0.2 + SILENT_S, seen, told) == Step()
        assert peer.step(0.3 + SILENT_S, seen, told) == Step((("peer", "KEY", "remove"),))
        assert str(peer) == "b: through the hub"
        again = peer.step(0.4 + SILENT_S, None, Told("45.45.2.1:1000", 1, "begin"))
        assert again.commands[0][2:4] == ("endpoint", "45.45.2.1:1000")


def test_a_dump_is_read() -> None:
    dump = "priv\tpub\t51820\toff\nA\t(none)\t45.45.1.1:9\t10.11.0.2/32\t1700000000\t148\t92\toff\n"
    dump += "B\t(none)\t(none)\t10.11.0.3/32\t0\t0\t0\t15\n"
    peers = parse_dump(dump)
    assert peers == {"A": Seen("45.45.1.1:9", 1700000000, 148), "B": Seen(None, 0, 0)}
    assert outer_addresses(peers) == {"A": "45.45.1.1:9"}


def test_an_opening_comes_from_wireguards_own_port() -> None:
    packet = opening(51820, "45.45.2.1:9")
    assert packet[0] == 0x45 and packet[9] == socket.IPPROTO_UDP
    assert packet[16:20] == socket.inet_aton("45.45.2.1")
    assert struct.unpack("!HHHH", packet[20:]) == (51820, 9, 8, 0)


def test_an_opening_to_no_address_is_refused() -> None:
    with pytest.raises(ValueError, match="nowhere"):
        opening(1, "nowhere:9")
