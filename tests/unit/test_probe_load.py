"""The sender and the sink at both ends, on loopback."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest

from harness.errors import OverlayError
from harness.probes import load_peer, throughput
from harness.probes.measurement import Target
from harness.probes.tcpflows import Flow, summarise_throughput


@pytest.fixture
def server() -> Iterator[int]:
    """Run the tool's own server, as the probe starts it; give its port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    argv = [sys.executable, "-I", "-S", load_peer.__file__, "serve", "127.0.0.1", str(port)]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "listening\n"
    yield port
    process.kill()
    process.wait()
    process.stdout.close()


@pytest.mark.parametrize("verb", ["fill", "drain"])
def test_a_load_is_counted_by_who_receives(server: int, verb: str) -> None:
    found = getattr(load_peer, verb)("127.0.0.1", server, 0.05, 0.2)
    assert 0.2 <= found["seconds"] < 1.0
    assert found["bytes"] > 1_000_000


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
    with pytest.raises(OverlayError, match="control message"):  # over an interface iperf3's failure stands
        throughput.measure_throughput(pair(tmp_path, IPv4Address("10.0.0.2")), settings, trial)
