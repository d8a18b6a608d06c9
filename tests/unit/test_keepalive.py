"""A waiting trial uses its paths: those of streams too, over one connection, and nothing stays behind."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from held_port import hold_port

from harness.overlay.contract import StreamEndpoint
from harness.probes.measurement import Target
from harness.trial.keepalive import paths_kept


class Tunnel:
    """An overlay's stream whose mapping dies once it was silent for `lifetime_s`; the product does not find another."""

    def __init__(self, lifetime_s: float) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._held, self.service_port = hold_port()
        self._lifetime_s, self._used_s = lifetime_s, time.monotonic()
        self.connections = 0
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def alive(self) -> bool:
        return time.monotonic() - self._used_s < self._lifetime_s

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
                self._used_s = time.monotonic()
                sink.sendall(piece)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._held.close()


@pytest.fixture
def ways(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[tuple[Target, list[Tunnel]]]:
    monkeypatch.setattr("harness.probes.requester.inside_network_of", lambda _pid: contextlib.nullcontext())
    tunnels = [Tunnel(0.8), Tunnel(0.8)]
    pairs = (("a", "b"), ("b", "a"))
    streams = {
        (src, dst): StreamEndpoint(src=src, dst=dst, listen_port=one.port, service_port=one.service_port)
        for (src, dst), one in zip(pairs, tunnels, strict=True)
    }
    lab: Any = SimpleNamespace(nodes={name: SimpleNamespace(pid=0, name=name) for name in ("a", "b")})
    yield Target(lab=lab, src="a", dst="b", mode="mesh", folder=tmp_path, streams=streams), tunnels
    for one in tunnels:
        one.close()


def test_streams_outlast_their_mappings_while_a_trial_waits(ways: tuple[Target, list[Tunnel]]) -> None:
    target, tunnels = ways
    with paths_kept([target], 0.1):
        assert not becomes(lambda: not all(one.alive for one in tunnels), 1.8)
    assert [one.connections for one in tunnels] == [1, 1]
    assert becomes(lambda: not any(one.alive for one in tunnels), 2.0)
    for one in tunnels:  # the service's port is the next probe's
        socket.create_server(("127.0.0.1", one.service_port)).close()


def test_content_alone_is_left_to_its_overlay(ways: tuple[Target, list[Tunnel]], tmp_path: Path) -> None:
    target, tunnels = ways
    content = Target(lab=target.lab, src="a", dst="b", mode="mesh", folder=tmp_path)
    with paths_kept([content], 0.1):
        pass
    assert [one.connections for one in tunnels] == [0, 0]


def becomes(holds: Callable[[], bool], within_s: float) -> bool:
    """Tell whether a condition comes to hold in time."""
    end_s = time.monotonic() + within_s
    while time.monotonic() < end_s:
        if holds():
            return True
        time.sleep(0.01)
    return holds()
