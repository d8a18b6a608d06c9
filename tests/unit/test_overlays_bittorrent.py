"""BitTorrent's pure half: messages, who is told what, and where a log says that content came from."""

from __future__ import annotations

import socket

import pytest

from harness.model.nat_words import Egress
from harness.model.probes import Probes
from harness.model.trial import Trial
from harness.model.words import Mode
from harness.scenario.load import load_topology
from overlays.bittorrent import messages
from overlays.bittorrent.adapter import BitTorrent
from overlays.bittorrent.messages import Source, shares, sources
from overlays.bittorrent.node import Settings
from overlays.bittorrent.swarm import session_settings

S = "45.45.0.10"


def trial_of(mode: Mode, **options: object) -> Trial:
    source = load_topology("parties")
    return Trial(
        id="t",
        scenario="s",
        repeat=1,
        seed=1,
        overlay="bittorrent",
        mode=mode,
        options=options,
        topology=source.resolve(source.complete({"n": 3})),
        probes=Probes.model_validate({"path": {}}),
    )


def test_messages_arrive_one_by_one_and_a_giant_one_is_refused() -> None:
    here, there = socket.socketpair()
    with here, there:
        messages.send(here, b"first")
        messages.send(here, b"")
        assert (messages.receive(there), messages.receive(there)) == (b"first", b"")
        here.sendall(b"\xff\xff\xff\xff")
        with pytest.raises(ConnectionError, match="4294967295"):
            messages.receive(there)
        here.sendall(b"\x00\x00\x00\x09half")
        here.close()
        with pytest.raises(ConnectionError, match="hung up"):
            messages.receive(there)


def test_the_introducer_alone_may_carry_and_only_in_a_mesh() -> None:
    for mode, carries in (("mesh", {"s"}), ("direct", set())):
        deployment = BitTorrent().render(trial_of(mode))
        settings = {file.node: Settings.parse(file.text) for file in deployment.files}
        assert {node for node, own in settings.items() if own.introduces} == {"s"}
        assert {node for node, own in settings.items() if own.carries and own.introduces} == carries


def test_any_member_publishes_and_any_other_fetches() -> None:
    ways = {(one.src, one.dst) for one in BitTorrent().render(trial_of("direct")).contents}
    assert len(ways) == 6
    assert all(src != dst for src, dst in ways)


def test_peers_speak_tcp_as_well_unless_asked_not_to_and_ask_their_routers_alone() -> None:
    for tcp in (True, False):
        settings = session_settings("10.0.0.1", 6881, tcp=tcp)
        assert settings["enable_incoming_tcp"] is settings["enable_outgoing_tcp"] is tcp
        assert settings["enable_dht"] is False and "enable_upnp" not in settings
    for options, tcp in (({}, True), ({"tcp": False}, False)):
        deployment = BitTorrent().render(trial_of("mesh", **options))
        assert {Settings.parse(file.text).tcp for file in deployment.files} == {tcp}


def test_an_introducer_that_carries_is_reached_by_tcp_where_no_udp_gets_out() -> None:
    bittorrent = BitTorrent()
    assert bittorrent.paths_behind(Egress.NO_UDP, trial_of("mesh")) == ("relayed",)
    assert bittorrent.paths_behind(Egress.NO_UDP, trial_of("mesh", tcp=False)) == ("none",)
    assert bittorrent.paths_behind(Egress.NO_UDP, trial_of("direct")) == ("none",)
    assert bittorrent.paths_behind(Egress.TCP_443, trial_of("mesh")) == ("none",)


def test_a_peers_connections_are_one_source_and_who_gave_nothing_is_none() -> None:
    peers = [Source("45.45.1.1", 5), Source(S, 0), Source("45.45.1.1", 7, True)]
    assert shares(peers) == [Source("45.45.1.1", 12, True)]


def test_a_log_says_what_was_got_from_whom() -> None:
    written = [Source(S, 5), Source("45.45.1.1", 7, True)]
    log = "bittorrent: ready\n" + "".join(f"{source.line('ab12')}\n" for source in written)
    assert sources(log) == {"ab12": written}


@pytest.mark.parametrize(
    ("addresses", "claim"),
    [(["45.45.1.1"], "direct"), ([S], "relayed"), ([S, "45.45.1.1"], "mixed"), ([], None)],
)
def test_the_claim_is_about_the_content_that_came_last(addresses: list[str], claim: str | None) -> None:
    earlier = f"{Source('45.45.9.9', 1).line('00')}\n" if claim else ""
    log = earlier + "".join(f"{Source(address, 9).line('ff')}\n" for address in addresses)
    evidence = {"introducer": Settings(S, S).text(), "bittorrent-p2": log}
    assert BitTorrent().claimed_path("p1", "p2", evidence) == claim
    assert BitTorrent().claimed_path("p1", "p2", {"bittorrent-p2": log}) is None
