"""The lab of a calibration: two inside hosts, one router, a public node of three addresses; IPv4 and IPv6."""

from __future__ import annotations

import itertools
from dataclasses import replace
from ipaddress import IPv6Network
from pathlib import Path

from harness.lab.network import Lab
from harness.lab.node import LabNode
from harness.model.nat import NatBehaviour
from harness.model.topology import Topology
from harness.nat.discovery_setup import DiscoverySetup
from harness.nat.events import RunningRouter
from harness.nat.ports import FULL_MTU_BYTES, TRANSLATOR_INTERFACE, RouterPorts
from harness.nat.wire import Vantage, Wire

_INTERNET, _LAN = "45.45.0.0/16", "10.45.0.0/24"
WAN_ADDRESSES = ("45.45.1.1", "45.45.1.2")
_PUBLIC = ("45.45.0.1", "45.45.0.2", "45.45.0.3")
GATEWAY = "10.45.0.1"
_INSIDE = ("10.45.0.2", "10.45.0.3")
# Hundreds of cases use more than a hundred each.
_INSIDE_PORTS = range(2000, 32768)
_INTERNET6, _LAN6 = "2a0e:45:0:1::", "2a0e:45:0:2::"
PORTS = RouterPorts("r-eth0", WAN_ADDRESSES, ("r-eth1",), (_LAN,), lan_prefixes=(f"{_LAN6}/64",))
_SYSCTLS6 = {
    "net.ipv6.conf.all.accept_dad": "0",
    "net.ipv6.conf.default.accept_dad": "0",
    "net.ipv6.conf.all.disable_ipv6": "0",
}

TOPOLOGY = Topology.model_validate(
    {
        "name": "calibration",
        "segments": {"inet": {"subnet": _INTERNET}, "lan": {"subnet": _LAN}},
        "hosts": {
            "h1": {"on": "lan", "address": _INSIDE[0], "via": "r"},
            "h2": {"on": "lan", "address": _INSIDE[1], "via": "r"},
            "pub": {"on": "inet", "addresses": list(_PUBLIC)},
        },
        "routers": {
            "r": {
                "nat": "none",
                "outside": {"on": "inet", "addresses": list(WAN_ADDRESSES)},
                "inside": {"on": "lan", "address": GATEWAY},
            }
        },
        "members": ["h1", "h2"],
    }
)


class Ground:
    """The running lab, in which one router after another is tried. Made inside a sandbox only."""

    def __init__(self, workdir: Path) -> None:
        """Build it.

        Raises:
            LabError: the kernel refused something.
        """
        self.lab = Lab(TOPOLOGY, seed=0, link_choice="auto", workdir=workdir)
        self.lab.start()
        self._inside_ports = itertools.cycle(_INSIDE_PORTS)
        self.inside = tuple(
            Vantage(self._node(name).pid, address) for name, address in zip(("h1", "h2"), _INSIDE, strict=True)
        )
        self.public = tuple(Vantage(self._node("pub").pid, address) for address in _PUBLIC)
        # Without NAT the public side must find the way back to the inside.
        self._node("pub").add_route(_LAN, WAN_ADDRESSES[0])
        self._add_ipv6()
        for node in self.lab.nodes.values():
            # Linux limits ICMP errors to one a second and peer; a test counts on each. And ports must be free of old
            # connections when their turn comes again.
            node.write_sysctls(
                {
                    "net.ipv4.icmp_ratelimit": "0",
                    "net.ipv6.icmp.ratelimit": "0",
                    "net.ipv4.tcp_max_tw_buckets": "0",
                    "net.ipv4.tcp_fin_timeout": "1",
                }
            )

    def stop(self) -> None:
        """Take the lab down."""
        self.lab.stop()

    def _node(self, name: str) -> LabNode:
        return self.lab.nodes[name]

    def router(self, behaviour: NatBehaviour, seed: int, line_mtu_bytes: int = FULL_MTU_BYTES) -> RunningRouter:
        """Return the router, behaving so, with empty tables. Raises as `RunningRouter.load` does."""
        node = self._node("r")
        node.check_output(["ip", "link", "set", PORTS.wan, "mtu", str(FULL_MTU_BYTES)])
        lans = (*PORTS.lans, TRANSLATOR_INTERFACE) if behaviour.nat64 else PORTS.lans
        router = RunningRouter(node, behaviour, replace(PORTS, line_mtu_bytes=line_mtu_bytes, lans=lans), seed)
        router.load()
        return router

    def setup(self, wire: Wire) -> DiscoverySetup:
        """Return the ground for IPv4 tests."""
        return DiscoverySetup(
            wire,
            inside=self.inside,
            servers=self.public[:2],
            strangers=self.public[2:],
            inside_ports=self._inside_ports,
        )

    def setup6(self, wire: Wire, prefix: IPv6Network | None = None) -> DiscoverySetup:
        """Return the ground for IPv6 tests; `prefix`: in which the outside finds the inside, where it is another."""
        inside = [Vantage(place.pid, f"{_LAN6}{n}") for n, place in enumerate(self.inside, 2)]
        public = [Vantage(self.public[0].pid, f"{_INTERNET6}{n}") for n in (1, 2, 3)]
        return DiscoverySetup(wire, inside=inside, servers=public[:2], strangers=public[2:], prefix=prefix)

    def setup64(self, wire: Wire) -> DiscoverySetup:
        """Return the ground on which an inside with IPv6 asks servers in IPv4."""
        inside = [Vantage(place.pid, f"{_LAN6}{n}") for n, place in enumerate(self.inside, 2)]
        return DiscoverySetup(wire, inside=inside, servers=self.public[:2], strangers=self.public[2:], nat64=True)

    def _add_ipv6(self) -> None:
        plan = {
            "h1": ([("h1-eth0", f"{_LAN6}2")], f"{_LAN6}1"),
            "h2": ([("h2-eth0", f"{_LAN6}3")], f"{_LAN6}1"),
            "r": ([("r-eth0", f"{_INTERNET6}9"), ("r-eth1", f"{_LAN6}1")], None),
            "pub": ([("pub-eth0", f"{_INTERNET6}{n}") for n in (1, 2, 3)], f"{_INTERNET6}9"),
        }
        for name, (addresses, gateway) in plan.items():
            node = self._node(name)
            # A router asks for its neighbours from a link-local address, and may not use that before it is known to be
            # no other's: for more than a second.
            node.write_sysctls({f"net.ipv6.conf.{interface}.accept_dad": "0" for interface, _ in addresses})
            node.write_sysctls(_SYSCTLS6)
            for interface, address in addresses:
                index = node.interface_index(interface)
                node.netlink.addr("add", index=index, address=address, prefixlen=64, flags=0x02)  # IFA_F_NODAD
            if gateway is not None:
                node.netlink.route("add", dst="default", gateway=gateway)
