"""Requests through a stream on loopback: their connections, and what becomes of them when it breaks."""

from __future__ import annotations

import contextlib
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from held_port import hold_port

from harness.overlay.contract import StreamEndpoint
from harness.probes import asking
from harness.probes.burst import send_and_wait
from harness.probes.measurement import Target
from harness.probes.pings import HEADERS_BYTES
from harness.probes.requester import LARGEST_BYTES, SMALLEST_BYTES, Requester, echoes


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
    held, service = hold_port()
    carrier = Carrier(service)
    end = StreamEndpoint(src="a", dst="b", listen_port=carrier.port, service_port=service)
    lab: Any = SimpleNamespace(nodes={name: SimpleNamespace(pid=0) for name in "ab"}, asleep=Counter())
    yield Target(lab=lab, src="a", dst="b", mode="mesh", folder=tmp_path, streams={("a", "b"): end}), carrier
    carrier.listener.close()
    held.close()


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


def test_whoever_sleeps_asks_nothing_and_is_not_answered_later(stream: tuple[Target, Carrier]) -> None:
    pair, carrier = stream
    with asking.asking([pair], [random.Random(1)], patience_s=0.01) as (asker,):
        pair.lab.asleep["a"] += 1
        send_and_wait(asker, 3)
        assert carrier.connections == 0 and len(asker.pings) == 3
        pair.lab.asleep["a"] -= 1
        send_and_wait(asker, 1)
        assert [bool(ping.answered_s) for ping in asker.pings] == [False, False, False, True]


def test_whoever_wakes_asks_at_once(stream: tuple[Target, Carrier]) -> None:
    pair, _ = stream
    with asking.asking([pair], [random.Random(1)], patience_s=3600) as (asker,):
        pair.lab.asleep["a"] += 1
        asker.ask(2, 0.0)
        while not asker.pings:
            time.sleep(0.005)
        pair.lab.asleep["a"] -= 1
        while asker.left or not asker.pings[-1].answered_s:
            time.sleep(0.005)
        assert [bool(ping.answered_s) for ping in asker.pings] == [False, True]


def test_a_requester_that_waits_for_an_answer_can_be_ended(stream: tuple[Target, Carrier]) -> None:
    pair, carrier = stream
    with echoes([]):
        silent = socket.create_server(("127.0.0.1", pair.streams["a", "b"].service_port))
        requester = Requester(pair, random.Random(1), patience_s=3600)
        requester.ask(1, 0.0)
        while not carrier.connections:
            time.sleep(0.005)
        began = time.monotonic()
        requester.close()
        assert time.monotonic() - began < 60, "it did not wait out its patience"
        silent.close()
