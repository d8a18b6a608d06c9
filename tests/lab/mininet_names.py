"""Mininet classes whose hosts and interfaces have names with dots, or names of interfaces that are not there."""

# mypy: ignore-errors
# ruff: noqa: RUF012  # as their authors write them

from __future__ import annotations

from mininet.node import Host
from mininet.topo import Topo


class RenamedHost(Host):
    """A host that calls its interface otherwise, with a dot, as VLANs do."""

    def config(self, to: str = "data.7", made: bool = True, **params: object) -> None:
        super().config(**params)
        interface = self.defaultIntf()
        if made:
            interface.ifconfig("down")
            self.cmd(f"ip link set {interface} name {to}; ip link set {to} up")
        self.nameToIntf[to] = self.nameToIntf.pop(interface.name)
        interface.name = to


class Renamed(Topo):
    """h1 and h2 on s1; `host` are options of h1."""

    host: dict = {"cls": RenamedHost}

    def build(self) -> None:
        switch = self.addSwitch("s1")
        self.addLink(self.addHost("h1", **self.host), switch)
        self.addLink(self.addHost("h2"), switch)


class NeverMade(Renamed):
    """Its command failed, as vconfig does where it is not installed."""

    host = {"cls": RenamedHost, "made": False}


class Dotted(Topo):
    def build(self) -> None:
        switch = self.addSwitch("s.1")
        for name in ("h.1", "h2", "h.3"):
            self.addLink(self.addHost(name), switch)
