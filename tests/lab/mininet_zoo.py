"""Mininet classes as people have them, each with one thing that a lab must do or refuse; for the tests."""

# mypy: ignore-errors
# ruff: noqa: RUF012  # as their authors write them

from __future__ import annotations

import argparse
import sys

from mininet.link import TCLink
from mininet.node import CPULimitedHost, Host, OVSKernelSwitch
from mininet.nodelib import NAT
from mininet.topo import Topo

print("a module that prints when it is imported")
parser = argparse.ArgumentParser()
parser.add_argument("--hosts", type=int, default=2)
ARGUMENTS = parser.parse_args()
LONG = "a-host-whose-name-is-as-long-as-anybody-would-ever-type-64-chars"


class _Two(Topo):
    """h1 and h2 on s1; `host`, `link` and `switch` are options of h1, its link, and s1."""

    host: dict = {}
    link: dict = {}
    switch: dict = {}

    def build(self) -> None:
        switch = self.addSwitch("s1", **self.switch)
        self.addLink(self.addHost("h1", **self.host), switch, **self.link)
        self.addLink(self.addHost("h2"), switch)


class Ovs(_Two):
    switch = {"cls": OVSKernelSwitch, "failMode": "standalone", "protocols": "OpenFlow13"}


class Cabled(Topo):
    """Two hosts and no switch."""

    def build(self) -> None:
        self.addLink(self.addHost("h1"), self.addHost("h2"), cls=TCLink, delay="5ms")


class MarkedHost(Host):
    """A host whose own config has to run, with a parameter of its own."""

    def config(self, mark: str = "", **params: object) -> None:
        super().config(**params)
        self.cmd(f"echo {mark} >/run/mark; sysctl -qw net.ipv4.ip_default_ttl=33")


class Own(_Two):
    host = {"cls": MarkedHost, "mark": "here"}


class NoCable(Topo):
    def build(self) -> None:
        self.addLink(self.addHost("h1"), self.addSwitch("s1"))
        self.addHost("h2")


class AddressOnLink(_Two):
    host = {"ip": None}
    link = {"params1": {"ip": "10.0.0.77/8"}}


class RouteByInterface(_Two):
    host = {"defaultRoute": "h1-eth0"}


class V6(Topo):
    def build(self) -> None:
        switch = self.addSwitch("s1")
        for number in (1, 2):
            self.addLink(self.addHost(f"h{number}", ip=f"2001:db8::{number}/64"), switch)


class SameAddress(_Two):
    host = {"ip": "10.0.0.2/8"}


class LongNames(Topo):
    def build(self) -> None:
        switch = self.addSwitch("a-switch-with-a-long-name")
        self.addLink(self.addHost(LONG), switch)
        self.addLink(self.addHost("h-2"), switch)


class Many(Topo):
    def build(self, n: int = 300) -> None:
        switch = self.addSwitch("s1")
        for number in range(1, n + 1):
            self.addLink(self.addHost(f"h{number}"), switch)


class Homes(Topo):
    """Two homes, each behind Mininet's own NAT (its example natnet.py)."""

    lans = (1, 2)

    def build(self) -> None:
        inet = self.addSwitch("s0")
        for number, lan in zip((1, 2), self.lans, strict=True):
            nat = self.addNode(
                f"nat{number}",
                cls=NAT,
                subnet=f"192.168.{lan}.0/24",
                inetIntf=f"nat{number}-eth0",
                localIntf=f"nat{number}-eth1",
                ip=f"45.45.0.{number}/24",
            )
            switch = self.addSwitch(f"s{number}")
            self.addLink(nat, inet, intfName1=f"nat{number}-eth0")
            self.addLink(nat, switch, intfName1=f"nat{number}-eth1", params1={"ip": f"192.168.{lan}.1/24"})
            host = self.addHost(f"h{number}", ip=f"192.168.{lan}.100/24", defaultRoute=f"via 192.168.{lan}.1")
            self.addLink(host, switch)
        self.addLink(self.addHost("s", ip="45.45.0.10/24"), inet)


class SameHomes(Homes):
    """Both with the same private network, as most homes have."""

    lans = (1, 1)


class PrivateDirs(_Two):
    host = {"privateDirs": ["/no/such/folder"]}


class PrivateRun(_Two):
    host = {"privateDirs": ["/run/mine/deep", "/var/log"]}


class Cpu(_Two):
    host = {"cls": CPULimitedHost, "cpu": 0.5}


class QueueAlone(_Two):
    link = {"cls": TCLink, "max_queue_size": 10}


class Ring(Topo):
    stp: tuple = ()

    def build(self) -> None:
        switches = [self.addSwitch(f"s{n}", **({"stp": True} if f"s{n}" in self.stp else {})) for n in (1, 2, 3)]
        for number, switch in enumerate(switches):
            self.addLink(switch, switches[number - 1])
            self.addLink(self.addHost(f"h{number + 1}"), switch)


class RingWithTree(Ring):
    stp = ("s1", "s2", "s3")


class Raises(Topo):
    def build(self, size: int = 0) -> None:
        raise RuntimeError(f"no tree of size {size}")


class Ends(Topo):
    def build(self) -> None:
        sys.exit(3)


class WithArguments(Topo):
    def build(self) -> None:
        switch = self.addSwitch("s1")
        for number in range(ARGUMENTS.hosts):
            self.addLink(self.addHost(f"h{number + 1}"), switch)
