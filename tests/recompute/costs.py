"""What a trial took of processors, memory and links, by the definitions in results/README.md alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tests.recompute.evidence import Key, Run

ETHERNET_BYTES = 14


def idle(run: Run, trial: str) -> dict[Key, Any]:
    """Return the busiest node's CPU time and the largest memory while nothing was sent."""
    read = run.json(f"trials/{trial}/idle.json")
    if not read or not read["after"]:
        return {}
    spent = [used["cpu_s"] - read["before"].get(node, {"cpu_s": 0.0})["cpu_s"] for node, used in read["after"].items()]
    return {
        ("idle_cpu_percent", None, None): 100 * max(spent) / read["lasted_s"],
        ("idle_rss_mib", None, None): max(used["rss_mib"] for used in read["after"].values()),
    }


def cost(run: Run, trial: str) -> dict[Key, Any]:
    """CPU time and memory, from the readings inside the loads."""
    windows = run.json(f"trials/{trial}/overlay-cost.json") or []
    readings = [(one["before"], one["after"]) for one in windows]
    moved = sum(after["received_bytes"] - before["received_bytes"] for before, after in readings)
    found: dict[Key, Any] = {}
    spent = sum(
        used["cpu_s"] - before["usage"].get(node, {"cpu_s": 0.0})["cpu_s"]
        for before, after in readings
        for node, used in after["usage"].items()
    )
    if moved and spent:
        found["cpu_s_per_gb", None, None] = spent / moved * 1e9
    needed = [used["rss_mib"] for _, after in readings for used in after["usage"].values()]
    found |= {("rss_mib", None, None): max(needed)} if needed else {}
    ends = [one.get("sent_bytes") for pair in readings for one in pair]
    if moved and None not in ends:
        sent = sum(after["sent_bytes"] - before["sent_bytes"] for before, after in readings)
        found["tcp_edge_ratio", None, None] = abs(sent - moved) / moved
    return found | (_carried(run, trial, readings, moved) if moved else {})


def _carried(run: Run, trial: str, readings: Sequence[tuple[Any, Any]], moved: float) -> dict[Key, Any]:
    """IP bytes and packets that left the sites, and the server, by the links to the segment that they share."""
    topology = ((run.json(f"trials/{trial}/job.json") or {}).get("trial") or {}).get("topology")
    if not topology or topology.get("mininet"):
        return {}
    found: dict[Key, Any] = {}
    for hosts, octets, packets in (
        (topology["members"], "underlay_bytes_per_byte", "underlay_packets_per_mb"),
        ([topology["server"]] if topology.get("server") else [], "server_bytes_per_byte", None),
    ):
        links = {_exit(topology, host) for host in hosts}
        if not links or not all(link in after["links"] for _, after in readings for link in links):
            continue
        frames = size = 0
        for before, after in readings:
            for link in links:
                now, then = after["links"][link]["up"], before["links"].get(link, {}).get("up")
                frames += now["sent"] - (then["sent"] if then else 0)
                size += now["sent_bytes"] - (then["sent_bytes"] if then else 0)
        found[octets, None, None] = (size - ETHERNET_BYTES * frames) / moved
        if packets is not None:
            found[packets, None, None] = frames / moved * 1e6
    return found


def _exit(topology: Any, host: str) -> str:
    """Return the link by which a host reaches the outermost segment: its own, or that of the last router on its way."""
    node, attachment = host, topology["hosts"][host]
    while attachment.get("via"):
        node, attachment = attachment["via"], topology["routers"][attachment["via"]]["outside"]
    return f"{node}-{attachment['on']}"
