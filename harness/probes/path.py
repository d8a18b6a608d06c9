"""The path probe: does it connect, how soon, does it become direct, how soon, and which way does a burst go?"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

from harness.lab import counters
from harness.lab.process import Daemon
from harness.lab.tap import Tap
from harness.model.scenario import PathProbe, Verdict
from harness.probes.measurement import Measurement, Target
from harness.probes.verdict import IP_ICMP_HEADER_BYTES, first_direct_s, front_of, path_of_burst

_REPLY = re.compile(r"^\[(\d+\.\d+)\] \d+ bytes from .*icmp_seq=(\d+)", re.MULTILINE)
_SUMMARY = re.compile(r"(\d+) packets transmitted, (\d+) received")
_CHECK_EVERY_S = 0.02
_PUNCHES = ("mesh", "direct")


def measure_path(target: Target, probe: PathProbe, tap: Tap, running_since: float) -> Iterator[Measurement]:
    """Ping until the path is what the mode can hope for, then judge a burst.

    Args:
        tap: watches the ports of both members since before the daemons started.
        running_since: Unix time at which both daemons ran; times count from here, the deadline too.
    """
    evidence = target.evidence("ping.log")
    deadline = running_since + probe.deadline_s
    front, other = front_of(target.lab.topology, target.src), front_of(target.lab.topology, target.dst)
    pinger = _pinger(target, probe)
    connected_at = direct_at = None
    verdict: Verdict = "none"
    judged_at = 0.0
    try:
        while time.time() < deadline and (connected_at is None or (target.mode in _PUNCHES and verdict != "direct")):
            time.sleep(_CHECK_EVERY_S)  # both sources are logs that grow; nobody announces "direct"
            if connected_at is None and (reply := _REPLY.search(pinger.text)):
                connected_at = float(reply.group(1))
            if connected_at is not None and target.mode in _PUNCHES:
                seen = [one for one in tap.seen(target.lab.port_of(target.src)) if one.t > judged_at]
                direct_at = first_direct_s(seen, front, other, probe.payload_bytes)
                if direct_at is not None:
                    # An overlay's own probes may be of the ping's size; only a burst proves that traffic has moved.
                    verdict, judged_at = judge_burst(target, probe), time.time()
    finally:
        pinger.stop()
    if connected_at is not None and connected_at > deadline:
        connected_at = None
    if connected_at is None:
        verdict = "none"
    elif verdict != "direct":
        verdict = judge_burst(target, probe)
    punched = direct_at is not None and verdict == "direct"
    failed = connected_at is None
    error = f"no overlay packet was answered within {probe.deadline_s:g} s" if failed else None

    def figure(metric: str, unit: str, value: float | None) -> Measurement:
        return Measurement(
            probe="path",
            metric=metric,
            unit=unit,
            value=value,
            src=target.src,
            dst=target.dst,
            outcome="failed" if failed else "ok",
            path=verdict,
            evidence=str(evidence),
            error=error,
        )

    yield figure("connect_success", "1", 0.0 if failed else 1.0)
    yield figure("time_to_connect_s", "s", _after(connected_at, running_since))
    if target.mode in _PUNCHES:
        yield figure("hole_punch_success", "1", float(punched))
        yield figure("time_to_direct_s", "s", _after(direct_at if punched else None, running_since))


def judge_burst(target: Target, probe: PathProbe) -> Verdict:
    """Send a burst of pings and read from the counters which way it went; `none` when under half were answered."""
    before = counters.read()
    count = probe.burst_packets
    argv = ["ping", "-n", "-q", "-i", "0.01", "-c", str(count), "-W", "1", "-s", str(probe.payload_bytes)]
    burst = Daemon(
        target.lab.nodes[target.src],
        [*argv, str(target.dst_address)],
        log=target.evidence("burst.log"),
        cwd=target.folder,
        env={},
    )
    burst.wait(count * 0.2 + 10)
    burst.stop()
    grown = counters.since(before, counters.read())
    lines = [f"{flow.segment} {flow.src} > {flow.dst} {size} bytes\n" for flow, size in grown.items()]
    target.evidence("burst-flows.txt").write_text("".join(lines))
    answered = _SUMMARY.search(burst.text)
    if answered is None or int(answered.group(2)) * 2 < count:
        return "none"
    topology = target.lab.topology
    inner = int(answered.group(2)) * (probe.payload_bytes + IP_ICMP_HEADER_BYTES)
    return path_of_burst(grown, front_of(topology, target.src), front_of(topology, target.dst), inner)


def _pinger(target: Target, probe: PathProbe) -> Daemon:
    # No -w: with it ping ends at the first ICMP error, and an overlay that is not up yet may well answer with one.
    argv = [
        *("ping", "-n", "-D", "-O", "-i", f"{probe.interval_ms / 1000:g}", "-s", str(probe.payload_bytes)),
        str(target.dst_address),
    ]
    node = target.lab.nodes[target.src]
    return Daemon(node, argv, log=target.evidence("ping.log"), cwd=target.folder, env={})


def _after(moment: float | None, start: float) -> float | None:
    return None if moment is None else max(0.0, moment - start)
