"""A topology made real inside a sandbox: Mininet with our nodes and wires, addresses, routes, NAT rules."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mininet.net import Mininet
from mininet.topo import Topo

from harness.errors import LabError, OverlaybenchError
from harness.lab.addresses import NO_IPV6, configure, neighbour_sysctls
from harness.lab.mininet_topo import prepare
from harness.lab.neighbours import Neighbours, cards_of, segments_of
from harness.lab.node import LabNode
from harness.lab.plugged import (
    Plugged,
    attachments_found,
    plugged_in,
    ports_watched,
    require_interfaces,
    segments_found,
)
from harness.lab.routes import routes_of
from harness.lab.spanning_tree import agree_on_spanning_tree
from harness.lab.wires import EmulatedLink, LabBridge, LabLink, LinkSpace
from harness.link.backend import RunningLinks
from harness.link.hoststack import ALLOWED_CONGESTION_CONTROL, RECORDED, node_sysctls, pick_congestion_control
from harness.link.offload import get_offloads
from harness.model.topology import Topology
from harness.nat.events import RunningRouter
from harness.nat.ports import RouterPorts
from harness.sandbox.namespace import inside_network_of, release_namespaces
from harness.topology.mininet_import import construct, where
from harness.topology.wiring import interface_name, router_behaviour, router_ports

# bridge-nf would send bridged frames through the sandbox's own IP rules and its connection tracking.
_BRIDGE_NETFILTER = [Path(f"/proc/sys/net/bridge/bridge-nf-call-{tool}") for tool in ("iptables", "ip6tables")]


class LabNet(Mininet):  # type: ignore[misc]  # Mininet has no types
    """Mininet with our classes; it neither raises system-wide limits nor cleans up by name."""

    def __init__(self, topo: Topo, **params: Any) -> None:
        Mininet.inited = True  # or else it writes sysctls that outlive the lab
        super().__init__(topo=topo, host=LabNode, switch=LabBridge, link=LabLink, controller=None, **params)

    def stop(self) -> None:
        """Stop everything at once: an interface, an address or a route dies with its namespace."""
        holders = [node.pid for node in self.hosts if isinstance(node, LabNode) and node.pid]
        for node in self.hosts:
            if isinstance(node, LabNode):
                node.close_netlink()
                if node.shell is not None:
                    node.shell.kill()
                    node.cleanup()
                node.pid = 0
            else:
                node.terminate()
        release_namespaces(holders)
        for switch in self.switches:
            switch.terminate()


class _PlannedTopo(Topo):  # type: ignore[misc]
    """Our topology model as a Mininet graph. Interface k of a node is its attachment k."""

    def build(self, topology: Topology, space: LinkSpace | None) -> None:
        for segment in topology.segments:
            self.addSwitch(segment)
        for name, attachments in topology.attachments().items():
            # Addresses are ours to give, several an interface; Mininet's default would be 10.0.0.n.
            self.addHost(name, ip=None)
            for number, attachment in enumerate(attachments):
                options: dict[str, Any] = {"intfName1": interface_name(name, number)}
                if attachment.link.impaired:
                    options |= {"cls": EmulatedLink, "space": space, "profile": attachment.link}
                self.addLink(name, attachment.on, **options)


class Lab:
    """A running topology. Made and used inside one sandbox only; `stop` is a courtesy, the sandbox's end does it too.

    `nodes` are Mininet's; `routers` can be rebooted and changed while the lab runs; `links` is None where no link is
    impaired.
    """

    def __init__(self, topology: Topology, *, seed: int, link_choice: str, workdir: Path) -> None:
        self.topology = topology
        self.seed = seed
        self.workdir = workdir
        self.link_choice = link_choice
        self.net: LabNet | None = None
        self.links: RunningLinks | None = None
        # By node and interface: how many events keep it down, and the commands that set the routes again which the
        # kernel dropped.
        self.down: Counter[tuple[str, str]] = Counter()
        self.routes_down: dict[tuple[str, str], list[list[str]]] = {}
        self.link_backend: str = "none"
        self.routers: dict[str, RunningRouter] = {}
        self.sysctls: dict[str, str] = {}
        # Hosts that sleep, with how many events make them: their users do nothing meanwhile.
        self.asleep: Counter[str] = Counter()
        # What is read off addresses and holds while they change, by name: called with all topologies that it is to fit.
        self.followers: dict[str, Callable[[Sequence[Topology]], None]] = {}
        self.neighbours = Neighbours({})
        self._cards: dict[str, list[tuple[int, bytes]]] = {}
        self._space: LinkSpace | None = None
        # Of a Mininet class: what its nodes have, and the interface of each attachment.
        self._plugged: dict[str, list[Plugged]] = {}
        self._interfaces: dict[str, list[str]] = {}

    @property
    def nodes(self) -> Mapping[str, LabNode]:
        """All nodes by name."""
        if self.net is None:
            raise LabError("the lab is not up")
        return {node.name: node for node in self.net.hosts}

    def start(self) -> None:
        """Build everything and start the links. Raises as `build` and `start_links` do."""
        self.build()
        self.start_links()

    def start_links(self) -> None:
        """Let the impaired links carry frames, and the switches agree on a spanning tree where they have one.

        Afterwards packets flow as the topology says.

        Raises:
            LabError: a link cannot be set up, or the switches do not agree.
        """
        if self._space is not None and self._space.cables:
            self.links = self._space.start(seed=self.seed, workdir=self.workdir)
            self.link_backend = self._space.backend.name
        if self.net is not None:
            agree_on_spanning_tree([one for one in self.net.switches if isinstance(one, LabBridge) and one.stp])

    def build(self) -> None:
        """Build everything but for the impaired links, which carry nothing yet.

        Raises:
            LabError: the kernel or a tool refused something.
            MissingPrerequisite: no link backend of this machine can do what the topology's links ask for.
        """
        for setting in _BRIDGE_NETFILTER:
            if setting.exists():
                setting.write_text("0")
        if self.topology.mininet is not None:
            self._build_mininet_class()
            return
        impaired = self.topology.impaired_links()
        if impaired:
            self._space = LinkSpace(self.link_choice, impaired)
        self.net = LabNet(_PlannedTopo(topology=self.topology, space=self._space))
        for name in self.topology.attachments():
            configure(self.nodes[name], self.topology, name)
        self._settle_hosts()
        self.neighbours = Neighbours(self.nodes)
        self._cards = cards_of(self.nodes, self.topology)
        self.settle_neighbours()
        for name in self.topology.routers:
            self._apply_nat(name)

    def _build_mininet_class(self) -> None:
        use = self.topology.mininet
        assert use is not None
        self._space = LinkSpace(self.link_choice)
        try:
            topo = construct(use.path, use.search, use.params)
            prepare(topo, self._space)
            self.net = LabNet(topo)
            self.net.start()
        except OverlaybenchError:
            raise
        except (Exception, SystemExit) as error:  # code of the class's author, which may raise anything
            raise LabError(f"{use.path}: {where(error)}") from error
        require_interfaces(self.nodes)
        self._settle_hosts()
        self._plugged = {name: plugged_in(node) for name, node in self.nodes.items()}
        self._interfaces = attachments_found(self.topology, self._plugged)
        for name, plugged in self._plugged.items():
            if not any(address.version == 6 for one in plugged for address in one.addresses):
                self.nodes[name].write_sysctls(NO_IPV6)
        self.neighbours = Neighbours(self.nodes)
        self.settle_neighbours()
        for name in self.topology.routers:
            for route in routes_of(self.topology, name):
                self.nodes[name].add_route(route.network, route.gateway)
            outside, *insides = self._interfaces[name]
            self._apply_nat(name, replace(router_ports(self.topology, name), wan=outside, lans=tuple(insides)))

    def settle_neighbours(self) -> None:
        """Have every node know the others on its segments, and nobody else, where and as they are now.

        Raises:
            LabError: the kernel refused an entry.
        """
        if self.topology.mininet is None:
            segments = segments_of(self.topology, self._cards)
        else:
            self._plugged = {name: plugged_in(node) for name, node in self.nodes.items()}
            segments = segments_found(self.net, self._plugged)
        self.neighbours.settle(segments)

    def _settle_hosts(self) -> None:
        """Give every host the same TCP, whatever the machine's own is; `sysctls` keeps what was set, as read back."""
        nodes = [node for node in self.nodes.values() if isinstance(node, LabNode)]
        allowed = nodes[0].read_sysctls([ALLOWED_CONGESTION_CONTROL])[ALLOWED_CONGESTION_CONTROL]
        settings = node_sysctls(pick_congestion_control(allowed))
        for node in nodes:
            ipv6 = any(attachment.ipv6 for attachment in self.topology.attachments().get(node.name, []))
            node.write_sysctls({**settings, **neighbour_sysctls(node.intfNames(), ipv6)})
        self.sysctls = nodes[0].read_sysctls([*settings, *RECORDED])

    def read_offloads(self) -> dict[str, dict[str, dict[str, bool]]]:
        """Return the offloads of every node's interfaces as the kernel has them: node -> interface -> offload -> on."""
        found: dict[str, dict[str, dict[str, bool]]] = {}
        for name, node in self.nodes.items():
            with inside_network_of(node.pid):
                found[name] = {
                    interface: get_offloads(interface) for interface in node.intfNames() if interface != "lo"
                }
        return found

    def interface(self, node: str, number: int) -> str:
        """Return the name of the interface that is a node's attachment `number` in the topology."""
        if self.topology.mininet is not None:
            return self._interfaces[node][number]
        return interface_name(node, number)

    def _apply_nat(self, name: str, ports: RouterPorts | None = None) -> None:
        ports = ports or router_ports(self.topology, name)
        running = RunningRouter(self.nodes[name], router_behaviour(self.topology, name), ports, self.seed)
        running.load()
        self.routers[name] = running

    def port_of(self, node: str) -> str:
        """Return the interface of the sandbox that faces a node's first attachment: where to watch it from outside."""
        interface = self.nodes[node].intf(self.interface(node, 0))
        link = interface.link
        other = link.intf2 if link.intf1 is interface else link.intf1
        return str(other.name)

    @property
    def beside(self) -> dict[str, list[str]]:
        """What faces the other interfaces of nodes that have several, by the port of the first: for `Tap`."""
        several = {name: [one.port for one in plugged] for name, plugged in self._plugged.items() if len(plugged) > 1}
        hosts = {name: ports for name, ports in several.items() if name in self.topology.hosts}
        return {(own := self.port_of(name)): [port for port in ports if port != own] for name, ports in hosts.items()}

    def facing(self, node: str, number: int) -> tuple[int, str, bool]:
        """Return what a node's interface faces before the links start: a pid, an interface, whether that is a bridge.

        An impaired link's loose end, or the segment's bridge in the sandbox's own namespace.
        """
        link = self.nodes[node].intf(self.interface(node, number)).link
        if isinstance(link, EmulatedLink):
            assert self._space is not None
            return self._space.node.pid, link.near, False
        return os.getpid(), self.topology.attachments()[node][number].on, True

    def watched_ports(self) -> dict[str, list[str]]:
        """Return segment -> the bridge ports on it: where the lab's counters stand."""
        assert self.net is not None
        if self.topology.mininet is not None:
            return ports_watched(self.net, self.topology, self._plugged)
        return {switch.name: [i.name for i in switch.intfList() if i.name != "lo"] for switch in self.net.switches}

    def stop(self) -> None:
        """Take the lab down."""
        if self.links is not None:
            self.links.close()
        if self.net is not None:
            self.net.stop()
            self.net = None
        if self._space is not None:
            self._space.close()
