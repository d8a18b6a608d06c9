"""The contract of streams and content, looked at inside a sandbox: part of `worker`."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from collections.abc import Callable
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

from harness.conformance import stream_peer
from harness.errors import LabError, OverlayError
from harness.lab import counters
from harness.lab.counters import Counts
from harness.lab.network import Lab
from harness.lab.process import Daemon
from harness.model.topology import Topology
from harness.model.words import SEEKING_DIRECT
from harness.overlay.contract import Deployment, StreamEndpoint
from harness.probes.exchange import publish_and_fetch
from harness.probes.measurement import Target
from harness.probes.verdict import member_addresses, path_of_burst, path_of_content

_PEER = str(Path(stream_peer.__file__).resolve())
_BURST = 100
_LINK_LOCAL = ip_network("fe80::/10")
_HELD = 60
_CONTENT_S = 60.0


class Streams:
    """The streams between two members, and a service at the far end of each."""

    def __init__(self, lab: Lab, deployment: Deployment, folder: Path, a: str, b: str) -> None:
        self._lab, self._folder = lab, folder
        self._ends = {(one.src, one.dst): one for one in deployment.streams}
        self._pair = (a, b)
        self._services = []
        for dst, end in ((b, self._ends[a, b]), (a, self._ends[b, a])):
            service = self._run(dst, "serve", end.service_address, end.service_port)
            if not service.wait_for_line("listening", 10):
                raise LabError(f"no service at the end of a stream to {dst}: {service.tail or '(silent)'}")
            self._services.append(service)
        self._held: Daemon | None = None

    def look(self, mode: str, deadline_s: float) -> dict[str, Any]:
        """Connect, wait for the path that the mode promises, carry 10 MB each way, see which way new ones go then."""
        a, b = self._pair
        seen = self.look_at_path(mode, deadline_s)
        seen["stream_connects_back"] = self._connects(b, a, deadline_s)
        seen["stream_upload"] = self._ask(a, b, "upload")
        seen["stream_download"] = self._ask(a, b, "download")
        seen["stream_path_after_bulk"] = self._path_by(time.monotonic() + 10, mode)
        return seen

    def look_at_path(self, mode: str, deadline_s: float) -> dict[str, Any]:
        """Connect, and wait for the path that the mode promises."""
        connects = self._connects(*self._pair, deadline_s)
        path = self._path_by(time.monotonic() + deadline_s, mode) if connects else "none"
        return {"stream_connects": connects, "stream_path": path}

    def hold(self) -> None:
        """Open a connection that is to outlive the server."""
        a, b = self._pair
        self._held = self._client(a, b, "hold", _HELD)
        if not self._held.wait_for_line("holding", 20):
            raise OverlayError(f"a connection from {a} to {b} does not open any more: {self._held.tail or '(silent)'}")

    def without_server(self) -> dict[str, Any]:
        """Use the held connection: the share of requests that are answered, and which way they go."""
        held = self._held
        assert held is not None  # `hold` was called

        def use() -> None:
            held.send(signal.SIGUSR1)
            held.wait(30)

        path = self._judged(use, _HELD * stream_peer.ECHO_BYTES)
        held.stop()
        found = re.search(r"^answered (\d+)", held.text, re.MULTILINE)
        answered = int(found.group(1)) / _HELD if found else 0.0
        return {"stream_answered_without_server": answered, "stream_path_without_server": path}

    def stop(self) -> None:
        """End the services."""
        for service in self._services:
            service.stop()

    def _connects(self, src: str, dst: str, deadline_s: float) -> bool:
        client = self._client(src, dst, "connect", deadline_s)
        client.wait(deadline_s + 10)
        client.stop()
        return "connected" in client.text

    def _path_by(self, until: float, mode: str) -> str:
        """Return the path of a fresh connection; of the last one in time, where one is to become direct."""
        while (path := self._burst()) != "direct" and mode in SEEKING_DIRECT and time.monotonic() < until:
            time.sleep(0.1)
        return path

    def _burst(self) -> str:
        a, b = self._pair

        def burst() -> None:
            client = self._client(a, b, "echo", _BURST)
            client.wait(30)
            client.stop()

        return self._judged(burst, _BURST * stream_peer.ECHO_BYTES)

    def _judged(self, work: Callable[[], None], least_bytes: int) -> str:
        topology, before = self._lab.topology, counters.read()
        work()
        grown = counters.since(before, counters.read())
        a, b = self._pair
        return path_of_burst(grown, member_addresses(topology, a), member_addresses(topology, b), least_bytes)

    def _ask(self, src: str, dst: str, verb: str) -> bool:
        client = self._client(src, dst, verb)
        client.wait(60)
        client.stop()
        return "intact True" in client.text

    def _client(self, src: str, dst: str, verb: str, *arguments: object) -> Daemon:
        end: StreamEndpoint = self._ends[src, dst]
        return self._run(src, verb, end.listen_address, end.listen_port, *arguments)

    def _run(self, node: str, verb: str, *arguments: object) -> Daemon:
        log = self._folder / f"stream-{verb}-{node}.log"
        argv = [sys.executable, _PEER, verb, *map(str, arguments)]
        return Daemon(self._lab.nodes[node], argv, log=log, cwd=self._folder, env={})


def look_at_content(target: Target) -> dict[str, Any]:
    """Publish 10 MB that nobody has seen at one end, fetch it at the other, and see which way it went."""
    before = counters.read()
    try:
        done = publish_and_fetch(target, os.urandom(stream_peer.BULK_BYTES), "contract", _CONTENT_S)
    except OverlayError as error:
        return {"content_fetched": False, "content_said": str(error)}
    grown, topology = counters.since(before, counters.read()), target.lab.topology
    ends = member_addresses(topology, target.src), member_addresses(topology, target.dst)
    return {
        "content_fetched": True,
        "content_intact": done.intact,
        "content_path": path_of_content(grown, *ends, stream_peer.BULK_BYTES),
        "content_said": "",
    }


def outside(counts: Counts, topology: Topology, deployment: Deployment) -> list[str]:
    """Where packets were sent to that is nowhere in the lab, nor in the overlay: pings of ours may find it down."""
    overlay = [ip_network(end.address) for end in deployment.endpoints.values()]
    inside = overlay + [ip_network(subnet) for segment in topology.segments.values() for subnet in segment.subnets]
    return sorted(
        {
            f"{flow.src} > {flow.dst}"
            for flow in counts
            # Of IPv4's link-local addresses one is asked through the router: the clouds' metadata service.
            if not (flow.dst.is_multicast or flow.dst in _LINK_LOCAL or flow.dst == ip_address("255.255.255.255"))
            and not any(flow.dst in subnet for subnet in inside if subnet.version == flow.dst.version)
        }
    )
