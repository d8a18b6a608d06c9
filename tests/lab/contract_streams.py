"""The contract of streams and content, looked at inside a sandbox: part of contract_worker.py."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Mapping
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import stream_peer

from harness.lab import counters
from harness.lab.counters import Counts, Flow
from harness.lab.network import Lab
from harness.lab.process import Daemon
from harness.model.topology import Topology
from harness.overlay.contract import ContentEndpoint, Deployment, StreamEndpoint
from harness.probes.verdict import DIRECT_SHARE, RELAYED_SHARE, front_of, path_of_burst

_PEER = str(Path(__file__).with_name("stream_peer.py"))
_BURST = 100
_LINK_LOCAL = ip_network("fe80::/10")
_HELD = 60


class Streams:
    """The streams between two members, and a service at the far end of each."""

    def __init__(self, lab: Lab, deployment: Deployment, folder: Path, a: str, b: str) -> None:
        self._lab, self._folder = lab, folder
        self._ends = {(one.src, one.dst): one for one in deployment.streams}
        self._pair = (a, b)
        self._services = []
        for dst, end in ((b, self._ends[a, b]), (a, self._ends[b, a])):
            service = self._run(dst, "serve", end.service_address, end.service_port)
            assert service.wait_for_line("listening", 10), service.tail
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
        assert self._held.wait_for_line("holding", 20), self._held.tail

    def without_server(self) -> dict[str, Any]:
        """Use the held connection: the share of requests that are answered, and which way they go."""
        held = self._held
        assert held is not None

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
        """The path of a fresh connection; where one is to become direct, the last one's before the time is over."""
        while (path := self._burst()) != "direct" and mode in ("mesh", "direct") and time.monotonic() < until:
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
        return path_of_burst(grown, front_of(topology, a), front_of(topology, b), least_bytes)

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


def look_at_content(lab: Lab, deployment: Deployment, node_folder: Callable[[str], Path]) -> dict[str, Any]:
    """Publish 10 MB that nobody has seen at one end, fetch it at the other, and see which way it went."""
    end: ContentEndpoint = deployment.contents[0]
    data = os.urandom(stream_peer.BULK_BYTES)
    put, got = (node_folder(node) / f"content-{which}" for node, which in ((end.src, "put"), (end.dst, "got")))
    put.write_bytes(data)

    def run(node: str, argv: tuple[str, ...], words: Mapping[str, str]) -> Daemon:
        folder = node_folder(node)
        filled = [_filled(word, words) for word in argv]
        command = Daemon(lab.nodes[node], filled, log=folder / "content.log", cwd=folder, env=end.env)
        command.wait(60)
        command.stop()
        return command

    before = counters.read()
    published = run(end.src, end.publish, {"file": str(put)})
    found = re.search(end.identifier, published.text)
    if published.status != 0 or found is None:
        return {"content_fetched": False, "content_said": published.tail}
    fetched = run(end.dst, end.fetch, {"file": str(got), "id": found.group(1)})
    grown = counters.since(before, counters.read())
    same = got.exists() and hashlib.sha256(got.read_bytes()).digest() == hashlib.sha256(data).digest()
    return {
        "content_fetched": fetched.status == 0,
        "content_intact": same,
        "content_path": path_of_content(grown, lab.topology, end.src, end.dst),
        "content_said": fetched.tail,
    }


def path_of_content(grown: Mapping[Flow, int], topology: Topology, src: str, dst: str) -> str:
    """The path of the bytes that left `src` and reached `dst`; what goes back is little, and may be anything."""
    one, other = front_of(topology, src), front_of(topology, dst)
    shares = []
    for near, far, outgoing in ((one, other, True), (other, one, False)):
        sizes = {True: 0, False: 0}
        for flow, size in grown.items():
            own, peer = (flow.src, flow.dst) if outgoing else (flow.dst, flow.src)
            if flow.segment == near.segment and own in near.own:
                sizes[peer in far.public] += size
        if sum(sizes.values()) < stream_peer.BULK_BYTES:
            return "none"
        shares.append(sizes[True] / sum(sizes.values()))
    if min(shares) >= DIRECT_SHARE:
        return "direct"
    return "relayed" if max(shares) <= RELAYED_SHARE else "mixed"


def _filled(word: str, words: Mapping[str, str]) -> str:
    for name, text in words.items():
        word = word.replace(f"{{{name}}}", text)
    return word


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
