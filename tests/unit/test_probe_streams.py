"""The stream tool at both ends, on loopback, against peers that break in one way each; and what the figures say."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from held_port import hold_port

from harness.probes import stream_peer
from harness.probes.measurement import Target
from harness.probes.stream import PORT, Streamed, summarise_streams

PEER = [sys.executable, "-I", "-S", stream_peer.__file__]
SIZE, SEED = 300_000, 3


@pytest.fixture
def server() -> Iterator[int]:
    """Return the tool's own server, as the probe starts it; gives its port."""
    held, port = hold_port()
    process = subprocess.Popen([*PEER, "serve", "127.0.0.1", str(port)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "listening\n"
    yield port
    process.kill()
    process.wait()
    process.stdout.close()
    held.close()


def relay(
    port: int, *, drop_tail: bool = False, half_close: bool = True, flip: bool = False, near_close_s: float = 0.05
) -> int:
    """Return a carrier of one stream at a time in front of `port`, which breaks as it is told; gives its own port.

    One that drops the tail takes what came for none when nothing follows for `near_close_s`.
    """
    listener = socket.create_server(("127.0.0.1", 0))

    def carry(source: socket.socket, sink: socket.socket, *, back: bool) -> None:
        while piece := source.recv(4096):
            if flip and not back and len(piece) > 100:
                piece = piece[:-1] + bytes([piece[-1] ^ 1])  # the first bytes are the request
            try:
                sink.sendall(piece)
            except OSError:
                return
        if half_close or back:
            sink.shutdown(socket.SHUT_WR)

    def serve() -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", port))
            threading.Thread(target=carry, args=(near, far), kwargs={"back": False}, daemon=True).start()
            if drop_tail:
                threading.Thread(target=cut, args=(far, near), daemon=True).start()
            else:
                threading.Thread(target=carry, args=(far, near), kwargs={"back": True}, daemon=True).start()

    def cut(far: socket.socket, near: socket.socket) -> None:
        far.settimeout(near_close_s)
        held = b""
        while True:
            try:
                piece = far.recv(4096)
            except TimeoutError:
                near.sendall(held)  # nothing more comes for a while: no close is near
                held = b""
                continue
            except OSError:
                return
            if not piece:
                break  # what is still under way is lost with the close
            near.sendall(held)
            held = piece
        near.shutdown(socket.SHUT_WR)

    threading.Thread(target=serve, daemon=True).start()
    return int(listener.getsockname()[1])


def test_connecting_and_round_trips(server: int) -> None:
    assert len(stream_peer.connect("127.0.0.1", server, 3)["seconds"]) == 3  # type: ignore[arg-type]
    said = stream_peer.trips("127.0.0.1", server, 0.05, 100_000, 7, 0.01)
    trips, late = said["seconds"], said["late_s"]
    assert isinstance(trips, list) and len(trips) == 5 and all(0 < trip < 5 for trip in trips)
    assert (
        isinstance(late, list)
        and len(late) == 5
        and all(0 <= one < trip for one, trip in zip(late, trips, strict=True))
    )


def test_a_stream_that_stalls_delays_all_requests_that_were_due_meanwhile() -> None:
    """The peer answers at once but for one stall of 0.5 s: a client that waits would see it once, in 1 of 100."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        near, _ = listener.accept()
        asked = near.makefile("rb", buffering=0)
        asked.readline()  # what is wanted; the first requests may have come with it
        for number in range(100):
            if number == 30:
                time.sleep(0.5)
            near.sendall(asked.read(1))

    threading.Thread(target=serve, daemon=True).start()
    trips = stream_peer.trips("127.0.0.1", listener.getsockname()[1], 1.0, 1, 1, 0.01)["seconds"]
    listener.close()
    assert isinstance(trips, list) and len(trips) == 100
    assert sum(trip > 0.1 for trip in trips) >= 35, "all that were due in the stall waited for its end"
    assert max(trips) > 0.45


@pytest.mark.parametrize("what", ["push", "pull", "half_close", "server_closes"])
def test_whole_streams_are_intact(server: int, what: str) -> None:
    assert getattr(stream_peer, what)("127.0.0.1", server, SIZE, SEED)["intact"] is True
    assert getattr(stream_peer, what)("127.0.0.1", relay(server), SIZE, SEED)["intact"] is True


def test_a_carrier_that_loses_the_tail_is_seen(server: int) -> None:
    # A server that stands still for a moment before its close must not make the last piece look like any other.
    carrier = relay(server, drop_tail=True, near_close_s=10.0)
    found = stream_peer.server_closes("127.0.0.1", carrier, SIZE, SEED)
    assert found["intact"] is False
    assert 0 < found["bytes"] < SIZE  # type: ignore[operator]


@pytest.mark.parametrize("what", ["push", "pull", "half_close"])
def test_what_is_lost_with_the_servers_close_is_no_other_figures_fault(server: int, what: str) -> None:
    assert getattr(stream_peer, what)("127.0.0.1", relay(server, drop_tail=True), SIZE, SEED)["intact"] is True


def test_a_carrier_that_changes_a_byte_is_seen(server: int) -> None:
    assert stream_peer.push("127.0.0.1", relay(server, flip=True), SIZE, SEED)["intact"] is False


def test_a_carrier_that_passes_no_half_close_is_seen(server: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_peer, "PATIENCE_S", 0.5)
    with pytest.raises(TimeoutError):
        stream_peer.half_close("127.0.0.1", relay(server, half_close=False), SIZE, SEED)


def test_nobody_there_is_said_in_json() -> None:
    held, port = hold_port()
    with held:
        done = subprocess.run(
            [*PEER, "connect", "127.0.0.1", str(port), "1"], capture_output=True, text=True, check=False, timeout=60
        )
    assert done.returncode == 1 and "refused" in json.loads(done.stdout)["error"]


def target(tmp_path: Path) -> Target:
    return Target(lab=None, src="a", dst="b", mode="mesh", folder=tmp_path)  # type: ignore[arg-type]


def test_figures_of_a_pair(tmp_path: Path) -> None:
    trips = tuple(0.001 * number for number in range(1, 101))
    whole = {"push": True, "pull": True, "half-close": False, "server-closes": True}
    under = Streamed((0.002,), (0.001, 0.003, 0.002))
    figures = {m.metric: m for m in summarise_streams(target(tmp_path), Streamed((0.01, 0.03), trips, whole), under)}
    values = {name: round(m.value or 0.0, 6) for name, m in figures.items()}
    assert values == {
        "stream_rtt_p50_ms": 50.5,
        "stream_rtt_p99_ms": 99.0,
        "stream_connect_p50_ms": 20.0,
        "underlay_stream_rtt_p50_ms": 2.0,
        "added_stream_rtt_p50_ms": 48.5,
        "underlay_stream_connect_p50_ms": 2.0,
        "stream_intact": 1.0,
        "stream_half_close": 0.0,
        "stream_server_close": 1.0,
    }
    assert figures["underlay_stream_rtt_p50_ms"].evidence == str(tmp_path / "underlay-a-b-stream-trips.json")
    assert figures["stream_rtt_p50_ms"].evidence == str(tmp_path / "overlay-a-b-stream-trips.json")


def test_what_was_not_tried_is_no_figure(tmp_path: Path) -> None:
    names = {m.metric for m in summarise_streams(target(tmp_path), Streamed((0.01,), (0.001,)), None)}
    assert names == {"stream_rtt_p50_ms", "stream_connect_p50_ms"}
    assert PORT < 32768, "below the ports that the kernel gives out"
