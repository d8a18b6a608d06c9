"""Mininet classes as people have them, each with one thing that a lab must do or refuse; for the tests."""

# mypy: ignore-errors
# ruff: noqa: RUF012  # as their authors write them

from __future__ import annotations

import argparse
import sys

from mininet.link import TCLink
from mininet.node import CPULimitedHost, Host, OVSKernelSwitch
from mininet.nodelib import NAT, LinuxBridge
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


LONG_ROUTED = "a-host-whose-name-is-long"


class LongRoute(Topo):
    """The lab has to call the interface otherwise, and the route with it."""

    def build(self) -> None:
        switch = self.addSwitch("s1")
        self.addLink(self.addHost(LONG_ROUTED, defaultRoute=f"{LONG_ROUTED}-eth0"), switch)
        self.addLink(self.addHost("h2"), switch)


class Far(Topo):
    """Two access links of 100 ms, and both IP versions."""

    def build(self) -> None:
        switch = self.addSwitch("s1")
        for number in (1, 2):
            host = self.addHost(f"h{number}")
            six = {"ip": f"2001:db8::{number}/64"}
            self.addLink(host, switch, cls=TCLink, delay="100ms", params1=six)


class SecondCable(Topo):
    """The only address is on the second cable, and the first switch leads nowhere."""

    def build(self) -> None:
        management, data = self.addSwitch("s1"), self.addSwitch("s2")
        for number in (1, 2):
            host = self.addHost(f"h{number}", ip=None)
            self.addLink(host, management)
            self.addLink(host, data, params1={"ip": f"10.9.0.{number}/24"})


class TwoNetworks(Topo):
    """Addresses on two cables; what is asked for at the first comes and goes by the second."""

    def build(self) -> None:
        first, second = self.addSwitch("s1"), self.addSwitch("s2")
        for number in (1, 2):
            host = self.addHost(f"h{number}", ip=f"10.9.{number}.1/24", defaultRoute=f"dev h{number}-eth1")
            self.addLink(host, first)
            self.addLink(host, second, params1={"ip": f"10.8.0.{number}/24"})


class PortOne(Topo):
    """Ports chosen by the author: no interface ends in eth0."""

    def build(self) -> None:
        switch = self.addSwitch("s1")
        for number in (1, 2):
            self.addLink(self.addHost(f"h{number}"), switch, port1=1)


class ReadsFile(Topo):
    """Reads what stands beside it by a relative name."""

    def build(self) -> None:
        switch = self.addSwitch("s1")
        with open("hosts.txt") as file:  # noqa: PTH123
            for line in file:
                self.addLink(self.addHost(line.strip()), switch)


class WritesFile(_Two):
    def build(self) -> None:
        with open("topo.log", "a") as file:  # noqa: PTH123
            file.write("built")
        super().build()


class ParsesInBuild(_Two):
    def build(self) -> None:
        argparse.ArgumentParser().parse_args()
        super().build()


class FailingHost(Host):
    def config(self, **params: object) -> None:
        raise RuntimeError(f"config failed with {sorted(params)}")


class OwnRaises(_Two):
    host = {"cls": FailingHost}


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


class Mapped(Topo):
    """Names that products have to be told otherwise, two of them alike but for that."""

    def build(self) -> None:
        switch = self.addSwitch("s1")
        for name in ("h-1", "h_1", LONG, "s"):
            self.addLink(self.addHost(name), switch)


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


class SwappedHomes(Topo):
    """The inside is the first interface, as Mininet itself has it, and both homes have the same network."""

    def build(self) -> None:
        inet = self.addSwitch("s0")
        for number in (1, 2):
            ends = {"localIntf": f"nat{number}-eth0", "inetIntf": f"nat{number}-eth1"}
            nat = self.addNode(f"nat{number}", cls=NAT, subnet="192.168.1.0/24", ip="192.168.1.1/24", **ends)
            switch = self.addSwitch(f"s{number}")
            self.addLink(nat, switch)
            self.addLink(nat, inet, params1={"ip": f"45.45.0.{number}/24"})
            self.addLink(self.addHost(f"h{number}", ip="192.168.1.100/24", defaultRoute="via 192.168.1.1"), switch)
        self.addLink(self.addHost("s", ip="45.45.0.10/24"), inet)


class NatThree(Topo):
    """A NAT of two networks, with a name as its author liked it."""

    nat = "HOME-nat-1"

    def build(self) -> None:
        inet, lan, dmz = self.addSwitch("s0"), self.addSwitch("s1"), self.addSwitch("s2")
        sides = {"inetIntf": "w0", "localIntf": "l0"}
        nat = self.addNode(self.nat, cls=NAT, subnet="192.168.0.0/16", ip="45.45.0.1/24", **sides)
        self.addLink(nat, inet, intfName1="w0")
        for number, (switch, name) in enumerate(((lan, "l0"), (dmz, "d0")), 1):
            gateway = f"192.168.{number}.1"
            self.addLink(nat, switch, intfName1=name, params1={"ip": f"{gateway}/24"})
            host = self.addHost(f"h{number}", ip=f"192.168.{number}.100/24", defaultRoute=f"via {gateway}")
            self.addLink(host, switch)
        self.addLink(self.addHost("a", ip="45.45.0.10/24"), inet)


class PrivateDirs(_Two):
    host = {"privateDirs": ["/no/such/folder"]}


class PrivateRun(_Two):
    host = {"privateDirs": ["/run/mine/deep", "/var/log"]}


class Cpu(_Two):
    host = {"cls": CPULimitedHost, "cpu": 0.5}


class QueueAlone(_Two):
    link = {"cls": TCLink, "max_queue_size": 10}


class PrioAlone(_Two):
    switch = {"cls": LinuxBridge, "prio": 7}


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
