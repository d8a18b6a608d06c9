"""Whether a pair connected, and its path, from pings and flows, by the definitions in results/README.md alone."""

from __future__ import annotations

import math
import re
from typing import Any

from tests.recompute.evidence import Key, Run

# Within these a relayed or direct path may carry something of the other kind: keepalives to a server, probes.
DIRECT, RELAYED = 0.9, 0.1
_HEADERS_BYTES = 28
# The smallest of the pings that have sizes of their own.
_SMALLEST_BYTES = 300


def path(run: Run, trial: str, stem: str, src: str, dst: str) -> dict[Key, Any]:
    """Return whether the pair connected, and the path that its burst took."""
    job = run.json(f"trials/{trial}/job.json")
    said, pings = run.read(f"{stem}-ping.log"), run.samples(f"{stem}-pings.csv")
    found: dict[Key, Any] = {}
    if said is not None:  # of runs before the pings had sizes of their own
        found["connect_success", src, dst] = float(re.search(rb"bytes from .* time=", said) is not None)
    if pings is not None:
        found["connect_success", src, dst] = float(any(ping["answered_s"] is not None for ping in pings))
    flows = run.read(f"{stem}-burst-flows.txt")
    members = ((job or {}).get("trial") or {}).get("topology", {}).get("members") or ()
    if flows is None or job is None or len(members) != 2:
        return found  # with more members other pairs' traffic is in the same flows
    probe = job["trial"]["probes"]["path"]
    each = probe["payload_bytes"] + _HEADERS_BYTES if pings is None else _SMALLEST_BYTES
    burst = probe["burst_packets"] / 2 * each
    shares = []
    for one, other in ((src, dst), (dst, src)):
        own, segment = _own(job["trial"]["topology"], one)
        public = _public(job["trial"]["topology"], other)
        for column in (0, 1):
            direct = relayed = 0.0
            for place, *ends, size in re.findall(r"^(\S+) (\S+) > (\S+) (\d+) bytes$", flows.decode(), re.M):
                if place == segment and ends[column] in own:
                    direct += int(size) if ends[1 - column] in public else 0
                    relayed += 0 if ends[1 - column] in public else int(size)
            shares.append(math.nan if direct + relayed < burst else direct / (direct + relayed))
    if not any(map(math.isnan, shares)):
        a_sent, a_got, b_sent, b_got = shares
        ways = {_way(a_sent, b_got), _way(b_sent, a_got)}
        verdict = ways.pop() if len(ways) == 1 else "mixed" if "mixed" in ways else "asymmetric"
        # What is mixed for the counters may be told by the pings themselves, with a capture that is not kept.
        if verdict != "mixed" or pings is None:
            found["path", src, dst] = verdict
    return found


def _way(*shares: float) -> str:
    return "direct" if min(shares) >= DIRECT else "relayed" if max(shares) <= RELAYED else "mixed"


def _own(topology: Any, member: str) -> tuple[set[str], str]:
    host = topology["hosts"][member]
    return set(host.get("addresses") or [host.get("address")]), host["on"]


def _public(topology: Any, member: str) -> set[str]:
    """Return a member's addresses and those that stand for it outside: of each router on its way out."""
    found, via = _own(topology, member)[0], topology["hosts"][member].get("via")
    while via:
        outside = topology["routers"][via]["outside"]
        found |= set(outside.get("addresses") or [outside.get("address")])
        via = outside.get("via")
    return found
