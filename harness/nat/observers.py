"""The two observers of a trial's check: where they stand, and how they are plugged in beside the router.

An impaired link ends, on the router's side, in a loose cable end until the links are started; there an observer meets
the router with nothing in between. Where the link is ideal, the segment's bridge is such a place.

The inside observer has a namespace of its own, one for all routers of a lab. The outside one needs none: the namespace
in which the cable or the bridge lies has no other use for addresses, and has them only while a router is looked at.
"""

from __future__ import annotations

import contextlib
import ipaddress
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from harness.errors import LabError
from harness.nat.wire import Vantage
from harness.sandbox.namespace import hold_namespace, netlink_inside, release_namespaces
from harness.sandbox.pairs import pair_number

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
        """Addresses that nobody has, from the start of the subnet: the first hosts surely have a port block.

        Raises:
            LabError: there are not so many.
        """
        hosts = map(str, ipaddress.IPv4Network(self.subnet).hosts())
        found = list(itertools.islice((address for address in hosts if address not in self.taken), count))
        if len(found) == count:
            return found
        raise LabError(f"{self.subnet} has no {count} free addresses for observers")

    @property
    def prefix_length(self) -> int:
        """Of the subnet."""
        return ipaddress.IPv4Network(self.subnet).prefixlen


@dataclass
class Observers:
    """Both observers; use as a context manager, around all routers of a lab."""

    holder: int = 0
    _netlinks: dict[int, IPRoute] = field(default_factory=dict)
    _plugs: dict[int, tuple[int, int]] = field(
        default_factory=dict
    )  # by namespace: the port there, the interface inside

    def __enter__(self) -> Observers:
        self.holder = hold_namespace("observer")
        return self

    def __exit__(self, *_: object) -> None:
        for netlink in self._netlinks.values():
            netlink.close()
        release_namespaces([self.holder])

    @contextlib.contextmanager
    def beside(
        self, inside: Side, gateway: str, outside: Side, way_back: str | None
    ) -> Iterator[tuple[Vantage, Sequence[Vantage]]]:
        """The inside observer, and the outside one at its three addresses, plugged in for as long as the context lasts.

        Args:
            gateway: the router's address on `inside`.
            way_back: the router's address on `outside` by which the inside subnet is reached; None behind a NAT.

        Raises:
            LabError: the kernel refused, or a subnet is full.
        """
        [host] = inside.free(1)
        public = outside.free(3)
        try:
            with contextlib.ExitStack() as undo:
                self._plug_in(inside, undo)
                self._address(self.holder, self._plugs[inside.pid][1], inside, [host], undo)
                self._netlink(self.holder).route("add", dst="default", gateway=gateway)
                there = self._netlink(outside.pid)
                index = _index(there, outside.interface)
                self._address(outside.pid, index, outside, public, undo)
                if way_back is not None:
                    there.route("add", dst=inside.subnet, gateway=way_back, oif=index)
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
        if side.pid not in self._plugs:
            name = f"observer{len(self._plugs)}"
            there.link(
                "add", kind="veth", index=pair_number(), ifname=name, peer={"ifname": name, "net_ns_pid": self.holder}
            )
            here = self._netlink(self.holder)
            self._plugs[side.pid] = _index(there, name), _index(here, name)
            here.link("set", index=self._plugs[side.pid][1], state="up")
        port, _ = self._plugs[side.pid]
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
        """Have addresses for a while; routes and neighbours of the interface go with the last of them."""
        there = self._netlink(pid)
        for address in addresses:
            there.addr("add", index=index, address=address, prefixlen=side.prefix_length)
            undo.callback(there.addr, "del", index=index, address=address, prefixlen=side.prefix_length)


def _index(netlink: IPRoute, name: str) -> int:
    found = netlink.link_lookup(ifname=name)
    if not found:
        raise LabError(f"there is no interface {name} to plug an observer in")
    return int(found[0])
