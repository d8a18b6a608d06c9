"""Mininet classes whose switches close a loop, with and without a spanning tree; for the tests."""

# mypy: ignore-errors
# ruff: noqa: RUF012  # as their authors write them

from __future__ import annotations

from mininet.link import TCLink
from mininet.node import Host
from mininet.nodelib import LinuxBridge
from mininet.topo import Topo


class Ring(Topo):
    stp: tuple = ()
    between: dict = {}

    def build(self) -> None:
        switches = [self.addSwitch(f"s{n}", **({"stp": True} if f"s{n}" in self.stp else {})) for n in (1, 2, 3)]
        for number, switch in enumerate(switches):
            self.addLink(switch, switches[number - 1], **self.between)
            self.addLink(self.addHost(f"h{number + 1}"), switch)


class RingWithTree(Ring):
    stp = ("s1", "s2", "s3")


class Dark(Host):
    """Its interface is down: the switch's port to it has no carrier."""

    def config(self, **params: object) -> None:
        super().config(**params)
        self.cmd("ip link set", self.defaultIntf(), "down")


class RingWithADarkPort(RingWithTree):
    def build(self) -> None:
        super().build()
        self.addLink(self.addHost("h4", cls=Dark), "s1")


class SlowRing(RingWithTree):
    """What keeps its switches from a loop has to cross links that are impaired."""

    between = {"cls": TCLink, "delay": "5ms"}


class Prio(Topo):
    """s3 is to be the root, s1 the last."""

    prios: dict = {1: 300, 2: 200, 3: 1}

    def build(self) -> None:
        switches = [
            self.addSwitch(f"s{number}", cls=LinuxBridge, stp=True, prio=prio) for number, prio in self.prios.items()
        ]
        for number, switch in enumerate(switches):
            self.addLink(switch, switches[number - 1])
            self.addLink(self.addHost(f"h{number + 1}"), switch)


class PrioTooLarge(Prio):
    prios = {1: 300, 2: 65536}
