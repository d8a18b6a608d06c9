"""Topologies as Mininet's users write them, for the tests."""

from __future__ import annotations

from typing import Any

from mininet.link import TCLink
from mininet.node import Node
from mininet.topo import Topo


class Star(Topo):  # type: ignore[misc]
    """`n` hosts on one switch, the classic first example."""

    def build(self, n: int = 3) -> None:
        switch = self.addSwitch("s1")
        for number in range(1, n + 1):
            self.addLink(self.addHost(f"h{number}"), switch)


class SlowLine(Topo):  # type: ignore[misc]
    """Two switches in line and an impaired link in Mininet's own words."""

    def build(self) -> None:
        first, second = self.addSwitch("s1"), self.addSwitch("s2")
        self.addLink(self.addHost("h1"), first)
        self.addLink(self.addHost("h2"), second, cls=TCLink, delay="15ms", bw=50)
        self.addLink(first, second)


class LinuxRouter(Node):  # type: ignore[misc]
    """The router of Mininet's own examples: forwards, by a shell command."""

    def config(self, **params: Any) -> None:
        super().config(**params)
        self.cmd("sysctl net.ipv4.ip_forward=1")


class Routed(Topo):  # type: ignore[misc]
    """Two subnets and a router of the user's own class, addresses and routes given by hand."""

    def build(self) -> None:
        router = self.addNode("r0", cls=LinuxRouter, ip="10.1.0.1/24")
        left, right = self.addSwitch("s1"), self.addSwitch("s2")
        self.addLink(left, router, intfName2="r0-eth1", params2={"ip": "10.1.0.1/24"})
        self.addLink(right, router, intfName2="r0-eth2", params2={"ip": "10.2.0.1/24"})
        self.addLink(self.addHost("h1", ip="10.1.0.100/24", defaultRoute="via 10.1.0.1"), left)
        self.addLink(self.addHost("h2", ip="10.2.0.100/24", defaultRoute="via 10.2.0.1"), right)
