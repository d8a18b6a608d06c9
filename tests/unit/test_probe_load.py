"""The sender and the sink at both ends, on loopback."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from held_port import hold_port

from harness.errors import OverlayError
from harness.probes import load_peer, throughput
from harness.probes.measurement import Target
from harness.probes.tcpflows import Flow, Throughput, summarise_throughput


@pytest.fixture
def server() -> Iterator[int]:
    """Run the tool's own server, as the probe starts it; give its port."""
    held, port = hold_port()
    argv = [sys.executable, "-I", "-S", load_peer.__file__, "serve", "127.0.0.1", str(port)]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "listening\n"
    yield port
    process.kill()
    process.wait()
    process.stdout.close()
    held.close()


class Scripted:
    """A connection with a clock of its own: at each moment 100 bytes come, and time passes only while it is awaited."""

    def __init__(self, sent_at_s: Sequence[float]) -> None:
        self._sent_at_s, self._timeout_s, self.now_s = list(sent_at_s), 0.0, 0.0

    def settimeout(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s

    def recv_into(self, _buffer: bytearray) -> int:
        end_s = self.now_s + self._timeout_s
        if not self._sent_at_s or self._sent_at_s[0] > end_s:
            self.now_s = end_s
            raise TimeoutError
        self.now_s = max(self.now_s, self._sent_at_s.pop(0))
        return 100


def scripted(
    sent_at_s: Sequence[float], monkeypatch: pytest.MonkeyPatch, omit_s: float, measured_s: float
) -> dict[str, float]:
    """Return what is counted of pieces that come at such moments, by their clock."""
    connection: Any = Scripted(sent_at_s)
    monkeypatch.setattr(load_peer, "time", SimpleNamespace(perf_counter=lambda: connection.now_s))
    return load_peer.received_in(connection, omit_s, measured_s)


@pytest.mark.parametrize("verb", ["fill", "drain"])
def test_a_load_is_counted_by_who_receives(server: int, verb: str) -> None:
    found = getattr(load_peer, verb)("127.0.0.1", server, 0.05, 0.2)
    assert found["seconds"] >= 0.2 and found["bytes"] > 0


def test_several_connections_count_as_one(server: int) -> None:
    found = load_peer.together(lambda: load_peer.fill("127.0.0.1", server, 0.0, 0.2), 3)
    assert found["seconds"] >= 0.2 and found["bytes"] > 0
    equal = iter(({"bytes": 100.0, "seconds": 1.0}, {"bytes": 200.0, "seconds": 2.0}))
    assert load_peer.together(lambda: next(equal), 2) == {"bytes": 300.0, "seconds": 1.5}


def test_a_path_that_takes_no_block_in_half_a_minute_has_a_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    """So slow that what was sent is still under way when the receiver has answered."""
    refused, over = threading.Semaphore(0), threading.Event()

    class Watched(socket.socket):
        def send(self, *given: Any) -> int:
            try:
                return super().send(*given)
            except TimeoutError:
                refused.release()
                raise

    def watched(*given: Any, **more: Any) -> socket.socket:
        return Watched(fileno=real(*given, **more).detach())

    real = socket.create_connection
    monkeypatch.setattr(socket, "create_connection", watched)
    # Whoever gives up when a block is not taken for so long has no figure; who looks again has it at once.
    monkeypatch.setattr(load_peer, "PATIENCE_S", 20.0)
    monkeypatch.setattr(load_peer, "_LOOK_S", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)

        def take_little() -> None:
            connection, _ = slow.accept()
            with connection:
                connection.recv(100)
                for _ in range(3):
                    refused.acquire(timeout=60)
                connection.sendall(b'{"bytes": 100, "seconds": 2.5}\n')
                over.wait(60)

        threading.Thread(target=take_little, daemon=True).start()
        found = load_peer.fill("127.0.0.1", slow.getsockname()[1], 0.0, 2.0)
        over.set()
    assert found == {"bytes": 100, "seconds": 2.5}


def test_a_connection_whose_beginning_is_lost_is_tried_again(server: int, monkeypatch: pytest.MonkeyPatch) -> None:
    tries, real = list[float](), socket.create_connection

    def lossy(address: tuple[str, int], timeout: float) -> socket.socket:
        tries.append(timeout)
        if len(tries) < 3:
            raise TimeoutError("timed out")
        return real(address, timeout)

    monkeypatch.setattr(socket, "create_connection", lossy)
    assert load_peer.drain("127.0.0.1", server, 0.0, 0.1)["bytes"] > 0
    monkeypatch.setattr(load_peer, "CONNECT_S", 0.0)
    tries.clear()
    with pytest.raises(TimeoutError):
        load_peer.drain("127.0.0.1", server, 0.0, 0.1)


@pytest.mark.parametrize(
    ("sent_at_s", "moved", "seconds"),
    [
        ((0.0, 0.15, 0.2), 100, 0.15),  # the clock ends it: measured from 0.15 on, one piece more came
        ((0.0, 0.15), 200, 0.55),  # nothing in the measured seconds: all since the first byte, silence included
        ((0.0,), 100, 0.4),
    ],
)
def test_a_path_that_falls_silent_has_the_rate_of_what_came(
    sent_at_s: tuple[float, ...], moved: int, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load_peer, "SILENCE_S", 0.4)
    found = scripted(sent_at_s, monkeypatch, 0.1, 0.15)
    assert (found["bytes"], found["seconds"]) == (moved, pytest.approx(seconds))


@pytest.mark.parametrize(
    ("sent_at_s", "moved", "seconds"),
    [
        ([number / 128 for number in range(1000)], 3200, 0.25),  # as many as came after the omitted ones, to the last
        ([0.0, 0.0625, 0.25, 5.0], 100, 0.25),  # and however long the next one takes
    ],
)
def test_a_load_is_counted_for_as_long_as_was_said(
    sent_at_s: Sequence[float], moved: int, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = scripted(sent_at_s, monkeypatch, 0.0625, 0.25)
    assert (found["bytes"], found["seconds"]) == (moved, seconds)


def test_where_nothing_comes_there_is_no_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load_peer, "SILENCE_S", 0.1)
    near, far = socket.socketpair()
    with near, far, pytest.raises(TimeoutError):
        load_peer.received_in(near, 0.0, 0.1)


def test_a_load_that_is_cut_off_is_no_figure() -> None:
    near, far = socket.socketpair()
    threading.Thread(target=lambda: (far.sendall(bytes(1000)), far.close()), daemon=True).start()
    with near, pytest.raises(ConnectionError, match="ended after 1000 bytes"):
        load_peer.received_in(near, 0.0, 10.0)
    with socket.create_server(("127.0.0.1", 0)) as deaf, pytest.raises(OSError):
        threading.Thread(target=lambda: [deaf.accept()[0].close()], daemon=True).start()
        load_peer.fill("127.0.0.1", deaf.getsockname()[1], 0.0, 0.1)


def pair(folder: Path, address: IPv4Address | None) -> Target:
    return Target(lab=None, src="a", dst="b", mode="mesh", folder=folder, dst_address=address)  # type: ignore[arg-type]


def test_a_stream_that_iperf3_does_not_get_through_is_filled_by_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_iperf3(*_: object) -> None:
        raise OverlayError("iperf3 a to b: unable to receive control message")

    flows = {"forward": Flow(80.0, 1e7, None, None), "backward": Flow(40.0, 5e6, None, None)}
    monkeypatch.setattr(throughput, "_by_iperf3", no_iperf3)
    monkeypatch.setattr(throughput, "own_load", lambda _target, _trial, way, **_times: (flows[way], None))
    trial: Any = None
    settings = throughput.ThroughputSettings(duration_s=1, omit_s=0)
    found = throughput.measure_throughput(pair(tmp_path, None), settings, trial)
    figures = {(m.metric, m.src): m for m in summarise_throughput(pair(tmp_path, None), found, None)}
    assert figures["tcp_throughput_mbit", "a"].value == 80.0
    assert figures["tcp_throughput_mbit", "b"].value == 40.0
    assert figures["tcp_throughput_mbit", "b"].evidence == str(tmp_path / "overlay-a-b-sender-backward.json")
    assert ("tcp_sent_bytes", "a") not in figures


def test_over_an_interface_ours_is_tried_where_the_control_connection_was_lost_and_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said, loads = [""], list[dict[str, Any]]()

    def no_iperf3(*_: object, **__: object) -> None:
        raise OverlayError(f"iperf3 a to b: {said[0]}")

    def ours(_target: object, _trial: object, way: str, **how: Any) -> tuple[Flow, None]:
        loads.append({"way": way, **how})
        return Flow(0.03, 2e4, None, None), None

    monkeypatch.setattr(throughput, "_by_iperf3", no_iperf3)
    monkeypatch.setattr(throughput, "own_load", ours)
    trial: Any = None
    settings = throughput.ThroughputSettings(duration_s=1, omit_s=0, streams=3, both=True)
    target = pair(tmp_path, IPv4Address("10.0.0.2"))
    said[0] = "interrupt - the client has terminated"
    found = throughput.measure_throughput(target, settings, trial)
    assert (found.tool, found.both) == ("sender", None)
    assert [(load["way"], load["connections"]) for load in loads] == [("forward", 3), ("backward", 3)]
    flow = Flow(1.0, 1e6, 1e6, 0)  # as a baseline it names its own evidence
    under = {m.metric: m for m in summarise_throughput(target, Throughput(flow, flow), found)}
    assert under["underlay_tcp_throughput_mbit"].evidence == str(tmp_path / "underlay-a-b-sender-backward.json")
    assert under["tcp_throughput_mbit"].evidence == str(tmp_path / "overlay-a-b-iperf3-backward.json")

    # Not a byte in iperf3's measured seconds: ours goes on until one comes; where none does, iperf3's word stands.
    nothing = Throughput(flow, Flow(0.0, 0.0, 0.0, 3))
    monkeypatch.setattr(throughput, "_by_iperf3", lambda *_: nothing)
    assert throughput.measure_throughput(target, settings, trial).backward.received_bytes == 2e4
    monkeypatch.setattr(throughput, "own_load", no_iperf3)
    assert throughput.measure_throughput(target, settings, trial) is nothing
    monkeypatch.setattr(throughput, "_by_iperf3", lambda *_: Throughput(flow, flow))
    assert throughput.measure_throughput(target, settings, trial).backward is flow

    monkeypatch.setattr(throughput, "_by_iperf3", no_iperf3)
    monkeypatch.setattr(throughput, "own_load", ours)
    said[0], loads[:] = "error - unrecognized option", []
    with pytest.raises(OverlayError, match="unrecognized"):
        throughput.measure_throughput(target, settings, trial)
    assert loads == []
