"""The throughput probe: TCP by iperf3, one direction after the other; its JSON is kept as it came."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from harness.errors import OverlayError
from harness.lab.process import Daemon
from harness.model.probes import ThroughputProbe
from harness.probes.measurement import Measurement, Target

_PORT = 5201


@dataclass(frozen=True)
class Throughput:
    """What the receiver got, in Mbit/s, each way."""

    forward_mbit: float
    backward_mbit: float


def measure_throughput(target: Target, probe: ThroughputProbe) -> Throughput:
    """Run iperf3 both ways between `src` and `dst`.

    Raises:
        OverlayError: iperf3 could not connect or was cut off.
    """
    server = Daemon(
        target.lab.nodes[target.dst],
        ["iperf3", "-s", "-B", str(target.dst_address), "-p", str(_PORT), "--forceflush"],
        log=target.evidence("iperf3-server.log"),
        cwd=target.folder,
        env={},
    )
    try:
        if not server.wait_for_line("Server listening", 5.0):
            raise OverlayError(f"iperf3's server did not start on {target.dst}: {server.tail.strip()}")
        return Throughput(_one_way(target, probe, server, False), _one_way(target, probe, server, True))
    finally:
        server.stop()


def _one_way(target: Target, probe: ThroughputProbe, server: Daemon, backward: bool) -> float:
    raw = target.evidence(f"iperf3-{'backward' if backward else 'forward'}.json")
    argv = [
        *("iperf3", "-c", str(target.dst_address), "-p", str(_PORT), "-J", "-t", str(probe.duration_s)),
        *("-O", str(probe.omit_s), "-P", str(probe.streams), "--connect-timeout", "3000"),
        *(["-R"] if backward else []),
    ]
    client = Daemon(target.lab.nodes[target.src], argv, log=raw, cwd=target.folder, env={})
    status = client.wait(probe.duration_s + probe.omit_s + 15)
    client.stop()
    if status != 0:
        raise OverlayError(
            f"iperf3 {target.src} to {target.dst_address}: {_reason(client.text) or server.tail.strip()}"
        )
    measured = parse_iperf3(json.loads(client.text))
    if measured is None:
        raise OverlayError(
            f"iperf3 {target.src} to {target.dst_address}: the receiver's figures never came: {_reason(client.text)}"
        )
    return measured


def parse_iperf3(result: dict[str, Any]) -> float | None:
    """Mbit/s that the receiving side counted, over the measured seconds; None when its figures were lost on the way."""
    received = result.get("end", {}).get("sum_received")
    return None if received is None else float(received["bits_per_second"]) / 1e6


def _reason(text: str) -> str:
    try:
        return str(json.loads(text).get("error", ""))
    except ValueError:
        return text.strip()[-500:]


def summarise_throughput(target: Target, overlay: Throughput, underlay: Throughput | None) -> list[Measurement]:
    """A figure each way, with the underlay's beside it and the ratio of the two."""
    figures = []
    for src, dst, way in ((target.src, target.dst, "forward"), (target.dst, target.src, "backward")):
        evidence = str(target.evidence(f"iperf3-{way}.json"))

        def figure(
            metric: str, unit: str, value: float, ends: tuple[str, str, str] = (src, dst, evidence)
        ) -> Measurement:
            return Measurement(
                probe="throughput", metric=metric, unit=unit, value=value, src=ends[0], dst=ends[1], evidence=ends[2]
            )

        over = getattr(overlay, f"{way}_mbit")
        figures.append(figure("tcp_throughput_mbit", "Mbit/s", over))
        if underlay is not None:
            under = getattr(underlay, f"{way}_mbit")
            figures.append(figure("underlay_tcp_throughput_mbit", "Mbit/s", under))
            if under > 0:
                figures.append(figure("tcp_throughput_ratio", "1", over / under))
    return figures
