"""The two observers of a trial's check: where they stand, and how they are attached next to the router.

An impaired link ends, on the router's side, in a loose cable end until the links are started; there an observer meets
the router with nothing in between. Where the link is ideal, the segment's bridge is such a place.

The inside observer has a namespace of its own, one for all routers of a lab. The outside one needs none: the namespace
in which the cable or the bridge lies has no other use for addresses, and has them only while a router is looked at.
"""

from __future__ import annotations

import contextlib
import ipaddress
import itertools
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from harness.errors import LabError
from harness.nat.wire import Vantage
from harness.sandbox.namespace import hold_namespace, inside_network_of, netlink_inside, release_namespaces
from harness.sandbox.pairs import pair_number

# linux/if_addr.h: an IPv6 address that can be used at once, without asking whether another node has it.
_IFA_F_NODAD = 0x02
_BENCH = "bench"  # the bridge that joins a loose cable end with the inside observer


@dataclass(frozen=True)
class Side:
    """What a router's interface faces: a segment's bridge, or the end of a cable on which nothing runs yet.

    `interface` lies in the network namespace of process `pid`; `taken` are the addresses of `subnet` that nodes have.
    """

    pid: int
    interface: str
    bridge: bool
    subnet: str
    taken: tuple[str, ...]

    def free(self, count: int) -> list[str]:
        """Return addresses that are not taken, from the start of the subnet: the first hosts surely have a port block.

        Raises:
            LabError: there are not so many.
        """
        hosts = map(str, ipaddress.ip_network(self.subnet).hosts())
        found = list(itertools.islice((address for address in hosts if address not in self.taken), count))
        if len(found) == count:
            return found
        raise LabError(f"{self.subnet} has no {count} free addresses for observers")

    @property
    def prefix_length(self) -> int:
        """Of the subnet."""
        return ipaddress.ip_network(self.subnet).prefixlen

    @property
    def ipv6(self) -> bool:
        """Whether the subnet is of IPv6."""
        return ipaddress.ip_network(self.subnet).version == 6


@dataclass
class Observers:
    """Both observers; use as a context manager, around all routers of a lab."""

    holder: int = 0
    _netlinks: dict[int, IPRoute] = field(default_factory=dict)
    _attachments: dict[int, tuple[int, int]] = field(
        default_factory=dict
    )  # by namespace: the port there, the interface inside

    def __enter__(self) -> Observers:
        self.holder = hold_namespace("observer")
        return self

    def __exit__(self, *_: object) -> None:
        # The kernel takes a namespace's interfaces down some time after the namespace has ended: the next observers'
        # ports have the same names.
        for pid, (port, _inside) in self._attachments.items():
            with contextlib.suppress(NetlinkError):  # the namespace there is ending as well
                self._netlinks[pid].link("del", index=port)
        for netlink in self._netlinks.values():
            netlink.close()
        release_namespaces([self.holder])

    @contextlib.contextmanager
    def attached(
        self, inside: Side, gateway: str, outside: Side, way_back: str | None, seen_as: str | None = None
    ) -> Iterator[tuple[Vantage, Sequence[Vantage]]]:
        """Yield the inside observer, and the outside one at its three addresses, attached until the block ends.

        Args:
            gateway: the router's address on `inside`.
            way_back: the router's address on `outside` by which the inside subnet is reached; None behind a NAT.
            seen_as: the prefix of the inside as the outside sees it, where that is another (CIDR).

        Raises:
            LabError: the kernel refused, or a subnet is full.
        """
        [host] = inside.free(1)
        public = outside.free(3)
        try:
            with contextlib.ExitStack() as undo:
                self._plug_in(inside, undo)
                self._address(self.holder, self._attachments[inside.pid][1], inside, [host], undo)
                self._route(self.holder, self._attachments[inside.pid][1], inside, "default", gateway, undo)
                there = self._netlink(outside.pid)
                index = _index(there, outside.interface)
                self._address(outside.pid, index, outside, public, undo)
                if way_back is not None:
                    # Also to the inside's own prefix: a router that should show another and does not is to be seen.
                    for network in filter(None, (inside.subnet, seen_as)):
                        self._route(outside.pid, index, outside, network, way_back, undo)
                yield Vantage(self.holder, host), [Vantage(outside.pid, address) for address in public]
        except NetlinkError as error:
            raise LabError(f"cannot place an observer: {error}") from error

    def _netlink(self, pid: int) -> IPRoute:
        if pid not in self._netlinks:
            self._netlinks[pid] = netlink_inside(pid)
        return self._netlinks[pid]

    def _plug_in(self, side: Side, undo: contextlib.ExitStack) -> None:
        """Let the inside observer's cable end where the router's does."""
        there = self._netlink(side.pid)
        if side.pid not in self._attachments:
            name = f"observer{len(self._attachments)}"
            there.link(
                "add", kind="veth", index=pair_number(), ifname=name, peer={"ifname": name, "net_ns_pid": self.holder}
            )
            here = self._netlink(self.holder)
            self._attachments[side.pid] = _index(there, name), _index(here, name)
            here.link("set", index=self._attachments[side.pid][1], state="up")
        port, _ = self._attachments[side.pid]
        bridge = _index(there, side.interface)
        if not side.bridge:
            cable = bridge
            there.link("add", ifname=_BENCH, kind="bridge", state="up", br_mcast_snooping=0)
            bridge = _index(there, _BENCH)
            undo.callback(there.link, "del", index=bridge)  # which frees the cable
            there.link("set", index=cable, master=bridge)
        there.link("set", index=port, master=bridge, state="up")
        undo.callback(there.link, "set", index=port, master=0)

    def _address(self, pid: int, index: int, side: Side, addresses: Sequence[str], undo: contextlib.ExitStack) -> None:
        """Set addresses for a while; routes and neighbours of the interface go with the last of them, but for IPv6."""
        there = self._netlink(pid)
        flags = {"flags": _IFA_F_NODAD} if side.ipv6 else {}
        if side.ipv6:
            _switch_ipv6_on(pid, _name(there, index), undo)
        for address in addresses:
            there.addr("add", index=index, address=address, prefixlen=side.prefix_length, **flags)
            undo.callback(there.addr, "del", index=index, address=address, prefixlen=side.prefix_length)

    def _route(  # noqa: PLR0917  # whose, and what
        self, pid: int, index: int, side: Side, network: str, gateway: str, undo: contextlib.ExitStack
    ) -> None:
        there = self._netlink(pid)
        family = {"family": socket.AF_INET6} if side.ipv6 else {}
        there.route("add", dst=network, gateway=gateway, oif=index, **family)
        if side.ipv6:
            undo.callback(there.route, "del", dst=network, gateway=gateway, oif=index, **family)


def _switch_ipv6_on(pid: int, interface: str, undo: contextlib.ExitStack) -> None:
    """Let an interface have IPv6 addresses for a while: where cables end it has none."""
    setting = f"net/ipv6/conf/{interface}/disable_ipv6"
    with inside_network_of(pid):
        before = Path("/proc/sys", setting).read_text().strip()
        Path("/proc/sys", setting).write_text("0")

    def restore() -> None:
        with inside_network_of(pid):
            Path("/proc/sys", setting).write_text(before)

    undo.callback(restore)


def _name(netlink: IPRoute, index: int) -> str:
    [link] = netlink.get_links(index)
    return str(link.get_attr("IFLA_IFNAME"))


def _index(netlink: IPRoute, name: str) -> int:
    found = netlink.link_lookup(ifname=name)
    if not found:
        raise LabError(f"there is no interface {name} to attachment an observer in")
    return int(found[0])
