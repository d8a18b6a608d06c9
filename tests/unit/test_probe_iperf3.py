"""When iperf3's server takes the next client."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from harness.errors import OverlayError
from harness.lab.process import Daemon
from harness.probes import iperf3, loaded_latency, udp
from harness.probes.iperf3 import Server
from harness.probes.measurement import Target

LISTENING = "-----\nServer listening on 5201 (test #1)\n-----\n"
SERVED = "Accepted connection from 10.0.0.1, port 1\n[  7]   0.00-1.00   sec  4.01 MBytes  33.6 Mbits/sec\n"


class _Log:
    """A daemon that has said all that it will say."""

    text = ""

    @property
    def tail(self) -> str:
        return self.text

    def wait_for_line(self, pattern: str, timeout_s: float) -> bool:
        del timeout_s
        return re.search(pattern, self.text) is not None


def test_the_next_client_waits_until_the_server_listens_again() -> None:
    log = _Log()
    server = Server("b", cast("Daemon", log))
    log.text = LISTENING
    server.wait_until_listening()
    log.text += SERVED
    with pytest.raises(OverlayError, match=r"(?s)iperf3's server on b takes no client: .*Mbits/sec$"):
        Server("b", cast("Daemon", log), _clients=1).wait_until_listening()
    log.text += LISTENING
    server.wait_until_listening()


def test_a_load_and_a_rate_are_tried_again_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What another tool says of its own stands."""
    said = ["the client has terminated", "control socket has closed unexpectedly"]
    names: list[str] = []

    @contextlib.contextmanager
    def fresh(_target: object, name: str) -> Iterator[object]:
        names.append(name)
        yield None

    monkeypatch.setattr(iperf3, "server_of", fresh)
    target = Target(lab=cast(Any, None), src="a", dst="b", mode="mesh", folder=tmp_path)

    def lost(*_: object) -> Any:
        if said:
            raise OverlayError(f"iperf3 a to b: {said.pop()}")
        return {"end": {"sum": {"bits_per_second": 1e6, "packets": 100, "lost_packets": 0}}}

    monkeypatch.setattr(udp, "result_of", lost)
    way = udp._Way(target, udp.UdpSettings(), (), "x.json")
    assert way.attempt(1.0) == udp.Try(1.0, 1.0, 0.0)
    assert names == ["iperf3-udp-server"] * 3

    said += ["no irtt server", "the client has terminated"]
    monkeypatch.setattr(loaded_latency, "_sample", lost)
    with pytest.raises(OverlayError, match="no irtt server"):
        loaded_latency.sample_under_load(target, loaded_latency.LoadedLatencySettings())
    assert names[3:] == ["iperf3-load-server"] * 2


def test_a_lost_control_connection_is_tried_again_on_a_fresh_server_and_nothing_else_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    servers: list[object] = []

    @contextlib.contextmanager
    def fresh(_target: object, _name: str) -> Iterator[object]:
        servers.append(object())
        yield servers[-1]

    monkeypatch.setattr(iperf3, "server_of", fresh)
    said = ["interrupt - the client has terminated", "unable to receive results: Connection reset by peer"]

    def attempt(server: object) -> str:
        assert server is servers[-1]
        if said:
            raise OverlayError(f"iperf3 a to b: {said.pop()}")
        return "ran"

    assert iperf3.with_server(cast(Any, None), attempt) == "ran"
    assert len(servers) == 3
    said += ["interrupt - the client has terminated"] * 3
    with pytest.raises(OverlayError):
        iperf3.with_server(cast(Any, None), attempt)
    assert len(servers) == 6
    said += ["unknown option"]
    with pytest.raises(OverlayError, match="unknown option"):
        iperf3.with_server(cast(Any, None), attempt)
    assert len(servers) == 7
