"""A node's TLS connections to servers: one that is of no use is closed, and the next one tried."""

from __future__ import annotations

import dataclasses
import errno
import signal
import socket
from collections.abc import Iterator

import pytest
from refmesh_daemon import HOST

from overlays.refmesh.config import Address
from overlays.refmesh.core import server_link
from overlays.refmesh.core.server_link import ServerLink
from overlays.refmesh.driver import addresses, streams
from overlays.refmesh.driver.loop import Loop
from overlays.refmesh.driver.stream import ACKNOWLEDGED_MS, Stream
from overlays.refmesh.driver.streams import NodeStreams
from overlays.refmesh.simulation.world import World

CONNECTS_S = server_link.TLS_AFTER_S


class Tried:
    """A node that is nothing but its streams, and a listener for TLS that takes connections and never shakes hands."""

    def __init__(self, loop: Loop, listener: socket.socket) -> None:
        listener.settimeout(0.0)
        self._listener = listener
        world = World({"a": None})
        world.stop_server("s0")
        address = Address(HOST, listener.getsockname()[1])
        (entry,) = world.config("a").servers
        self.node = world.start("a", config=world.config("a", servers=(dataclasses.replace(entry, tls=address),)))
        self.streams = NodeStreams(self.node, loop)

    @property
    def link(self) -> ServerLink:
        return self.node.servers.links[0]

    @property
    def stream(self) -> Stream | None:
        return self.streams.get(0)

    def look(self, now: float) -> float:
        """Do what the driver does when something is due; return when something is, next."""
        self.node.tick(now)
        self.streams.look(now)
        self.node.outbox.main.clear()
        return self.node.deadline

    def connections(self) -> int:
        """How many have come since this was last asked."""
        count = 0
        while True:
            try:
                self._listener.accept()[0].close()
            except BlockingIOError:
                return count
            count += 1

    def opened(self, now: float, *, up: bool) -> Stream:
        """Have the handshake done, as it were, and the server reached over the stream, or not."""
        assert self.stream is not None
        self.stream.open = True
        self.stream._on_open(now)
        if up:
            self.link.up, self.link.endpoint = True, self.link.tls
        return self.stream


@pytest.fixture
def tried() -> Iterator[Tried]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    with socket.create_server((HOST, 0)) as listener:
        tried = Tried(Loop(), listener)
        yield tried
        tried.streams.close()
    signal.set_wakeup_fd(-1)
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_server_that_does_not_shake_hands_is_tried_again_and_costs_nothing_in_between(tried: Tried) -> None:
    now, looks, until_s = CONNECTS_S, 0, CONNECTS_S + 10 * streams.DEAD_S
    tries = 0
    while now < until_s:
        due_s = tried.look(now)
        tries += tried.connections()
        looks += 1
        assert looks < 500
        now = max(due_s, now + 1e-6)
    assert 7 <= tries <= 10


def test_a_stream_over_which_the_server_does_not_answer_is_closed(tried: Tried) -> None:
    tried.look(CONNECTS_S)
    opened_s = CONNECTS_S + 5.0
    stream = tried.opened(opened_s, up=False)
    assert tried.look(opened_s + streams.DEAD_S - 0.1) <= opened_s + streams.DEAD_S
    assert not stream.closed
    assert tried.link.tls_open
    tried.look(opened_s + streams.DEAD_S)
    assert stream.closed
    assert not tried.link.tls_open


def test_a_stream_is_closed_when_its_server_has_been_lost_for_long_and_not_before(tried: Tried) -> None:
    tried.look(CONNECTS_S)
    stream = tried.opened(CONNECTS_S, up=True)
    for now in (60.0, 120.0):
        tried.streams.look(now)
        assert not stream.closed
    tried.link.lost(130.0)
    tried.streams.look(130.0)
    tried.streams.look(130.0 + streams.DEAD_S - 0.1)
    assert not stream.closed
    tried.link.up = True  # it has answered
    tried.streams.look(145.0)
    assert not stream.closed
    tried.link.lost(150.0)
    tried.streams.look(150.0)
    assert tried.node.outbox.deadline <= 150.0 + streams.DEAD_S
    tried.streams.look(150.0 + streams.DEAD_S)
    assert stream.closed
    assert not tried.link.tls_open
    assert tried.link.wants_tls(151.0 + streams.DEAD_S)


def test_a_stream_that_takes_nothing_is_closed_and_the_server_tried_over_udp_again(tried: Tried) -> None:
    tried.look(CONNECTS_S)
    stream = tried.opened(CONNECTS_S, up=True)
    stream.stuck_since_s = 50.0
    tried.streams.look(50.0 + streams.DEAD_S - 0.1)
    assert not stream.closed
    tried.streams.look(50.0 + streams.DEAD_S)
    assert stream.closed
    assert not tried.link.up
    assert tried.link.endpoint == tried.link.udp


def test_a_stream_from_an_address_that_is_gone_is_closed_at_once(tried: Tried, monkeypatch: pytest.MonkeyPatch) -> None:
    tried.look(CONNECTS_S)
    stream = tried.opened(CONNECTS_S, up=True)
    tried.streams.addresses_changed(20.0)
    assert not stream.closed
    monkeypatch.setattr(stream, "local_host", lambda: "192.0.2.7")
    assert not addresses.is_ours("192.0.2.7")
    tried.streams.addresses_changed(21.0)
    assert stream.closed
    assert not tried.link.up


def test_the_kernel_is_told_how_long_a_node_waits_for_an_acknowledgement(tried: Tried) -> None:
    tried.look(CONNECTS_S)
    assert tried.stream is not None
    told = tried.stream._raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
    assert told == ACKNOWLEDGED_MS


def test_an_address_that_cannot_be_asked_about_is_not_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(*_: object) -> socket.socket:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(addresses.socket, "socket", none_left)
    assert addresses.is_ours("192.0.2.7")
