"""Mininet's links and switches over netlink: a veth pair is one message, a switch is a Linux bridge without brctl."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mininet.link import Intf, Link
from mininet.node import Node, Switch
from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from harness.errors import LabError, MissingPrerequisite
from harness.lab.node import LabNode, QuietNode
from harness.link.backend import Cable, LinkBackend, RunningLinks
from harness.link.choose import choose_backend
from harness.link.offload import prepare_outer_end
from harness.model.link import LinkProfile
from harness.sandbox.namespace import inside_network_of, netlink_inside
from harness.sandbox.pairs import pair_number

# The least times that the kernel takes (802.1D-1998 table 8-3), in 1/100 s.
FORWARD_DELAY_S = 2
_SPANNING_TREE = {
    "br_stp_state": 1,
    "br_forward_delay": 100 * FORWARD_DELAY_S,
    "br_hello_time": 100,
    "br_max_age": 600,
}
# linux/if_addr.h: usable at once, without asking whether another node has it.
_IFA_F_NODAD = 0x02
# An earlier net's ports go some time after the namespaces of its nodes, and the next one's may have the same names.
_LEFTOVER_S = 5.0


class LabInterface(Intf):  # type: ignore[misc]
    """An interface that is configured over netlink."""

    ip: str | None

    def config(self, mac: str | None = None, ip: str | None = None, up: bool = True, **_params: Any) -> dict[str, Any]:
        """Set MAC and address where given; the link made the interface up already."""
        if mac is not None and mac != self.mac:
            self.setMAC(mac)
        if ip is not None:
            self.setIP(ip)
        if not up:
            self._set(state="down")
        return {}

    def _set(self, **attributes: Any) -> None:
        with netlink_of(self.node) as netlink:
            netlink.link("set", index=_index(netlink, self.name), **attributes)

    def setIP(self, ipstr: str, prefixLen: int | None = None) -> None:  # noqa: N802, N803
        """Give the interface one more address, CIDR or with `prefixLen`; the first one is what `IP()` returns."""
        address = ipaddress.ip_interface(ipstr if "/" in ipstr else f"{ipstr}/{prefixLen}")
        if self.ip is None:
            self.ip, self.prefixLen = str(address.ip), address.network.prefixlen
        try:
            with netlink_of(self.node) as netlink:
                index = _index(netlink, self.name)
                flags = {"flags": _IFA_F_NODAD} if address.version == 6 else {}
                prefix_length = address.network.prefixlen
                netlink.addr("replace", index=index, address=str(address.ip), prefixlen=prefix_length, **flags)
                netlink.link("set", index=index, state="up")
        except NetlinkError as error:
            raise LabError(f"node {self.node.name}: address {address} on {self.name}: {error}") from error

    def setMAC(self, macstr: str) -> None:  # noqa: N802
        """Set the hardware address."""
        self.mac = macstr
        self._set(address=macstr)

    def isUp(self, setUp: bool = False) -> bool:  # noqa: N802
        """Tell whether the interface is up; with `setUp`, set it up first."""
        if setUp:
            self._set(state="up")
            return True
        with netlink_of(self.node) as netlink:
            (link,) = netlink.get_links(_index(netlink, self.name))
        return bool(link.get_attr("IFLA_OPERSTATE") == "UP")

    def delete(self) -> None:
        """Delete the interface and, with it, its veth peer."""
        with netlink_of(self.node) as netlink:
            for index in netlink.link_lookup(ifname=self.name):
                netlink.link("del", index=index)
        self.node.delIntf(self)
        self.link = None


class LabLink(Link):  # type: ignore[misc]
    """A veth pair, both ends made in their namespaces by one netlink message."""

    def __init__(self, node1: Any, node2: Any, **params: Any) -> None:
        params["intf"] = LabInterface
        super().__init__(node1, node2, **params)
        for interface in (self.intf1, self.intf2):
            master = {"master": interface.node.bridge_index} if isinstance(interface.node, LabBridge) else {}
            with netlink_of(interface.node) as netlink:
                netlink.link("set", index=_index(netlink, interface.name), state="up", **master)

    @classmethod
    def makeIntfPair(  # noqa: N802, PLR0917  # Mininet's signature
        cls,
        intfname1: str,
        intfname2: str,
        addr1: str | None = None,
        addr2: str | None = None,
        node1: Any = None,
        node2: Any = None,
        deleteIntfs: bool = True,  # noqa: ARG003, N803  # the namespaces are fresh: there is nothing to delete
    ) -> tuple[str, str]:
        """Make the pair from the sandbox's own namespace; veth allows both ends to be born elsewhere."""
        ends: list[dict[str, Any]] = []
        for name, address, node in ((intfname1, addr1, node1), (intfname2, addr2, node2)):
            end: dict[str, Any] = {"ifname": name}
            if address:
                end["address"] = address
            if node.inNamespace:
                end["net_ns_pid"] = node.pid
            ends.append(end)
        given_up = time.monotonic() + _LEFTOVER_S
        while True:
            try:
                sandbox_netlink().link("add", kind="veth", index=pair_number(), **ends[0], peer=ends[1])
            except NetlinkError as error:
                if error.code == errno.EEXIST and time.monotonic() < given_up:
                    time.sleep(0.01)
                    continue
                raise LabError(f"link {intfname1} <-> {intfname2}: {error}") from error
            return intfname1, intfname2


class LinkSpace:
    """The private namespace in which a lab's impaired links meet their backend: no addresses, no IPv6, no node."""

    def __init__(self, choice: str, profiles: Sequence[LinkProfile] = ()) -> None:
        self.backend: LinkBackend = choose_backend(choice, profiles)
        self.cables: list[Cable] = []
        self.node = LabNode("links")
        self.node.write_sysctls({"net.ipv6.conf.all.disable_ipv6": "1", "net.ipv6.conf.default.disable_ipv6": "1"})

    def add(self, name: str, profile: LinkProfile, near: str, far: str) -> None:
        """Note a cable whose middle ends lie here.

        Raises:
            MissingPrerequisite: the backend cannot do the profile; names every reason.
        """
        refusals = self.backend.refusals(profile)
        if refusals:
            raise MissingPrerequisite(
                f"link {name} ({profile.label}): {'; '.join(refusals)}", "another `links:` backend"
            )
        self.cables.append(Cable(name=name, profile=profile, near=near, far=far))

    def start(self, *, seed: int, workdir: Path) -> RunningLinks:
        """Start the backend on all cables noted so far."""
        return self.backend.start(self.cables, netns_pid=self.node.pid, seed=seed, workdir=workdir)

    def close(self) -> None:
        """Let the namespace go."""
        self.node.terminate()


class EmulatedLink(LabLink):
    """Two veth pairs with a backend between them: node <-> near [backend] far <-> other."""

    near: str  # the loose end towards node1, in the links' namespace

    def __init__(self, node1: Any, node2: Any, space: LinkSpace, profile: LinkProfile, **params: Any) -> None:
        self._space, self._profile = space, profile
        super().__init__(node1, node2, **params)
        for interface in (self.intf1, self.intf2):
            with inside_network_of(interface.node.pid):
                prepare_outer_end(space.backend.name, interface.name)

    def makeIntfPair(  # type: ignore[override]  # noqa: N802, PLR0917  # an instance knows its space, a class does not
        self,
        intfname1: str,
        intfname2: str,
        addr1: str | None = None,
        addr2: str | None = None,
        node1: Any = None,
        node2: Any = None,
        deleteIntfs: bool = True,  # noqa: N803
    ) -> tuple[str, str]:
        """Make both pairs and note the cable; *up* is from `node1` to `node2`."""
        number = len(self._space.cables)
        self.near = near = f"n{number}"
        far = f"f{number}"
        LabLink.makeIntfPair(intfname1, near, addr1, None, node1, self._space.node, deleteIntfs)
        LabLink.makeIntfPair(intfname2, far, addr2, None, node2, self._space.node, deleteIntfs)
        for name in (near, far):
            self._space.node.netlink.link("set", index=self._space.node.interface_index(name), state="up")
        self._space.add(f"{node1.name}-{node2.name}", self._profile, near, far)
        return intfname1, intfname2


class LabBridge(QuietNode, Switch):  # type: ignore[misc]
    """A LAN or an exchange: a Linux bridge in the sandbox's own namespace, which has no other use."""

    def __init__(
        self,
        name: str,
        stp: bool = False,
        device: str | None = None,
        priority: int | None = None,
        mac: str | None = None,
        **params: Any,
    ) -> None:
        self._netlink = sandbox_netlink()
        self.stp = stp
        params["inNamespace"] = False
        # Not Switch's own: it derives an OpenFlow number from the name and configures a control interface.
        Node.__init__(self, name, **params)
        self.dpid, self.opts, self.listenPort, self.controlIntf = "", "", None, None
        self.device = device or name
        settings: dict[str, Any] = dict(_SPANNING_TREE) if stp else {}
        settings |= {"br_priority": priority} if priority is not None else {}
        settings |= {"address": mac} if mac is not None else {}
        # With a spanning tree it has to wait: see `harness.lab.spanning_tree`.
        state = "down" if stp else "up"
        self.netlink.link("add", ifname=self.device, kind="bridge", state=state, br_mcast_snooping=0, **settings)
        self.bridge_index = int(self.netlink.link_lookup(ifname=self.device)[0])

    def start(self, _controllers: Sequence[Any]) -> None:
        """Do nothing: the bridge works from the moment it exists."""

    def terminate(self) -> None:
        """Delete the bridge; its ports go with their nodes."""
        if self.shell is not None:
            self.shell.kill()
            self.cleanup()
        if self.netlink.link_lookup(ifname=self.device):
            self.netlink.link("del", index=self.bridge_index)

    def stop(self, deleteIntfs: bool = True) -> None:  # noqa: ARG002, N803  # Mininet's signature
        """Stop as `terminate` does; Mininet calls both."""
        self.terminate()


@contextlib.contextmanager
def netlink_of(node: Node) -> Iterator[IPRoute]:
    """Yield a netlink socket inside a node: our nodes keep one, other classes get one for the block."""
    if isinstance(node, QuietNode):
        yield node.netlink
        return
    netlink = netlink_inside(node.pid)
    try:
        yield netlink
    finally:
        netlink.close()


def _index(netlink: IPRoute, name: str) -> int:
    found = netlink.link_lookup(ifname=name)
    if not found:
        raise LabError(f"there is no interface {name} where it should be")
    return int(found[0])


_opened: list[IPRoute] = []


def sandbox_netlink() -> IPRoute:
    """Return the netlink socket of the sandbox's own network namespace, opened on first use."""
    if not _opened:
        _opened.append(IPRoute())
    return _opened[0]
