"""The cost probe: CPU time and memory of an overlay's processes while the throughput probe loads them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from harness.lab.process import Daemon, Usage
from harness.model.probes import ThroughputProbe
from harness.probes.measurement import Measurement
from harness.probes.throughput import Throughput

Usages = Mapping[str, Usage]


def usage_by_node(daemons: Iterable[Daemon]) -> dict[str, Usage]:
    """What the daemons of each node have used so far; nodes whose daemons are all gone are left out."""
    nodes: dict[str, Usage] = {}
    for daemon in daemons:
        used = daemon.usage()
        if used is not None:
            sofar = nodes.get(daemon.where, Usage(0.0, 0.0))
            nodes[daemon.where] = Usage(sofar.cpu_s + used.cpu_s, sofar.rss_mib + used.rss_mib)
    return nodes


def moved_bytes(results: Iterable[Throughput], probe: ThroughputProbe) -> float:
    """TCP payload that crossed the overlay, both ways; the omitted seconds count at the rate of the measured ones."""
    seconds = probe.duration_s + probe.omit_s
    return sum((one.forward_mbit + one.backward_mbit + sum(one.both or ())) * 1e6 / 8 * seconds for one in results)


def summarise_cost(before: Usages, after: Usages, moved: float) -> Iterator[Measurement]:
    """CPU seconds of all nodes per 10^9 bytes of goodput, and the most memory that one node needed (proc(5), VmHWM).

    Only processes are counted. Nothing is said where they used no time at all: the kernel did the work then, and its
    time is not the overlay's processes'.

    Args:
        before: usage by node when the load began.
        after: the same when it ended.
        moved: bytes of goodput in between.
    """
    spent_s = sum(used.cpu_s - before.get(node, Usage(0.0, 0.0)).cpu_s for node, used in after.items())
    if spent_s > 0 and moved > 0:
        yield Measurement(probe="cost", metric="cpu_s_per_gb", unit="s/GB", value=spent_s / (moved / 1e9))
    if after:
        most = max(used.rss_mib for used in after.values())
        yield Measurement(probe="cost", metric="rss_mib", unit="MiB", value=most)
