"""iperf3 between two members of a lab: its server for as long as a probe needs it, its client, its JSON."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from typing import Any

from harness.errors import OverlayError
from harness.lab.process import Daemon
from harness.probes.measurement import Target

PORT = 5201
# Beyond its own time: connecting, the omitted seconds' tail, the exchange of figures.
_SLACK_S = 15.0


@contextlib.contextmanager
def server_of(target: Target, name: str = "iperf3-server") -> Iterator[Daemon]:
    """An iperf3 server at `dst`, gone afterwards.

    Raises:
        OverlayError: it did not start.
    """
    argv = ["iperf3", "-s", "-B", str(target.dst_address), "-p", str(PORT), "--forceflush"]
    log = target.evidence(f"{name}.log")
    server = Daemon(target.lab.nodes[target.dst], argv, log=log, cwd=target.folder, env={})
    try:
        if not server.wait_for_line("Server listening", 5.0):
            raise OverlayError(f"iperf3's server did not start on {target.dst}: {server.tail.strip()}")
        yield server
    finally:
        server.stop()


def client_of(target: Target, arguments: Sequence[str], evidence: str) -> Daemon:
    """A client at `src`, started; what it says goes to the evidence of that name."""
    argv = ["iperf3", "-c", str(target.dst_address), "-p", str(PORT), "--connect-timeout", "3000", *arguments]
    node = target.lab.nodes[target.src]
    return Daemon(node, argv, log=target.evidence(evidence), cwd=target.folder, env={})


def result_of(
    target: Target, server: Daemon, arguments: Sequence[str], seconds: float, evidence: str
) -> dict[str, Any]:
    """Run a client to its end; its JSON.

    Args:
        seconds: how long it measures.

    Raises:
        OverlayError: it could not connect or was cut off.
    """
    client = client_of(target, ["-J", *arguments], evidence)
    status = client.wait(seconds + _SLACK_S)
    client.stop()
    what = f"iperf3 {target.src} to {target.dst_address}"
    try:
        result: dict[str, Any] = json.loads(client.text)
    except ValueError:
        raise OverlayError(f"{what}: {client.text.strip()[-500:] or server.tail.strip()}") from None
    if status != 0:
        raise OverlayError(f"{what}: {result.get('error') or server.tail.strip()}")
    return result
