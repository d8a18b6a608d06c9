"""A waiting trial uses its paths: those of streams too, over one connection, and nothing stays behind."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from held_port import hold_port

from harness.overlay.contract import StreamEndpoint
from harness.probes.measurement import Target
from harness.trial.keepalive import paths_kept


class Clock:
    """Ticks ten times a second, but stands still while this machine does: nothing can be used then either."""

    def __init__(self) -> None:
        self.ticks, self._stopped = 0, threading.Event()
        threading.Thread(target=self._tick, daemon=True).start()

    def _tick(self) -> None:
        while not self._stopped.wait(0.1):
            self.ticks += 1

    def becomes(self, holds: Callable[[], bool], within: int) -> bool:
        """Tell whether a condition comes to hold within so many ticks."""
        end = self.ticks + within
        while self.ticks < end:
            if holds():
                return True
            time.sleep(0.01)
        return holds()

    def stop(self) -> None:
        self._stopped.set()


class Tunnel:
    """An overlay's stream whose mapping dies once it was silent for 8 ticks; the product does not find another."""

    def __init__(self, clock: Clock) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._held, self.service_port = hold_port()
        self.clock, self._used = clock, clock.ticks
        self.connections = 0
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def alive(self) -> bool:
        return self.clock.ticks - self._used < 8

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                self.connections += 1
                far = socket.create_connection(("127.0.0.1", self.service_port))
                for source, sink in ((near, far), (far, near)):
                    threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError), sink:
            while piece := source.recv(65536):
                if not self.alive:
                    return
                self._used = self.clock.ticks
                sink.sendall(piece)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._held.close()


@pytest.fixture
def ways(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[tuple[Target, list[Tunnel]]]:
    monkeypatch.setattr("harness.probes.requester.inside_network_of", lambda _pid: contextlib.nullcontext())
    clock = Clock()
    tunnels = [Tunnel(clock), Tunnel(clock)]
    pairs = (("a", "b"), ("b", "a"))
    streams = {
        (src, dst): StreamEndpoint(src=src, dst=dst, listen_port=one.port, service_port=one.service_port)
        for (src, dst), one in zip(pairs, tunnels, strict=True)
    }
    nodes = {name: SimpleNamespace(pid=0, name=name) for name in ("a", "b")}
    lab: Any = SimpleNamespace(nodes=nodes, asleep=Counter())
    yield Target(lab=lab, src="a", dst="b", mode="mesh", folder=tmp_path, streams=streams), tunnels
    for one in tunnels:
        one.close()
    clock.stop()


def test_streams_outlast_their_mappings_while_a_trial_waits(ways: tuple[Target, list[Tunnel]]) -> None:
    target, tunnels = ways
    clock = tunnels[0].clock
    with paths_kept([target], 0.1):
        assert not clock.becomes(lambda: not all(one.alive for one in tunnels), 18)
    assert [one.connections for one in tunnels] == [1, 1]
    assert clock.becomes(lambda: not any(one.alive for one in tunnels), 20)
    for one in tunnels:  # the service's port is the next probe's
        socket.create_server(("127.0.0.1", one.service_port)).close()


def test_content_alone_is_left_to_its_overlay(ways: tuple[Target, list[Tunnel]], tmp_path: Path) -> None:
    target, tunnels = ways
    content = Target(lab=target.lab, src="a", dst="b", mode="mesh", folder=tmp_path)
    with paths_kept([content], 0.1):
        pass
    assert [one.connections for one in tunnels] == [0, 0]
