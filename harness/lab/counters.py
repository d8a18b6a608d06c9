"""The lab's counters: nftables on the bridges, one element for each pair of underlay addresses.

They stand in the sandbox's namespace, at the netdev ingress hook of every bridge port: each packet is counted once a
segment, as it leaves a node, and nothing that an overlay does in its own node can touch them. Compared with counters
inside the routers this also sees LAN paths, hairpins, carrier NATs and any Mininet user's topology.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address

from harness.errors import CommandFailed
from harness.lab.chains import by_chain
from harness.lab.command import run_command
from harness.model.family import Address

TABLE = "watch"


@dataclass(frozen=True)
class Flow:
    """One direction of underlay traffic on one segment."""

    segment: str
    src: Address
    dst: Address


Counts = Mapping[Flow, int]


def install(ports: Mapping[str, Sequence[str]]) -> None:
    """Start counting.

    Args:
        ports: segment name -> the bridge ports that lie on it.

    Raises:
        CommandFailed: nft refused; the kernel lacks the netdev family, say.
    """
    blocks = [block for segment, names in ports.items() if names for block in _blocks(segment, names)]
    _nft(["-f", "-"], f"table netdev {TABLE} {{\n{''.join(blocks)}}}\n")


def reinstall(ports: Mapping[str, Sequence[str]]) -> None:
    """Count again from nothing, for when a port has moved to another segment. Raises CommandFailed."""
    _nft(["-f", "-"], f"delete table netdev {TABLE}\n")
    install(ports)


def _blocks(segment: str, names: Sequence[str]) -> Iterator[str]:
    """Yield a segment's sets, and the chains that fill them: the kernel takes so many devices a chain and no more."""
    yield f"  set {segment}.v4 {{ type ipv4_addr . ipv4_addr; flags dynamic; size 65536; }}\n"
    yield f"  set {segment}.v6 {{ type ipv6_addr . ipv6_addr; flags dynamic; size 65536; }}\n"
    for number, some in enumerate(by_chain(names)):
        yield (
            f"  chain on_{segment}_{number} {{\n"
            f"    type filter hook ingress devices = {{ {', '.join(some)} }} priority 0; policy accept;\n"
            f"    update @{segment}.v4 {{ ip saddr . ip daddr counter }}\n"
            f"    update @{segment}.v6 {{ ip6 saddr . ip6 daddr counter }}\n"
            "  }\n"
        )


def read() -> dict[Flow, int]:
    """Return the bytes (IP header and above) of every flow so far."""
    return parse(_nft(["-j", "list", "table", "netdev", TABLE], ""))


def parse(text: str) -> dict[Flow, int]:
    """Parse nft's JSON listing into bytes by flow."""
    counts: dict[Flow, int] = {}
    for item in json.loads(text)["nftables"]:
        for element in item.get("set", {}).get("elem", ()):
            src, dst = element["elem"]["val"]["concat"]
            segment = item["set"]["name"].rpartition(".")[0]
            flow = Flow(segment, ip_address(src), ip_address(dst))
            counts[flow] = element["elem"]["counter"]["bytes"]
    return counts


def since(before: Counts, after: Counts) -> dict[Flow, int]:
    """Return what came in between, without flows that stood still."""
    return {flow: grown for flow, total in after.items() if (grown := total - before.get(flow, 0)) > 0}


def _nft(arguments: Sequence[str], stdin: str) -> str:
    argv = ["nft", *arguments]
    done = run_command(argv, stdin=stdin, timeout_s=20, where="the sandbox")
    if done.returncode != 0:
        raise CommandFailed(argv, done.returncode, done.stderr, "the sandbox")
    return done.stdout
