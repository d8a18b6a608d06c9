"""The groups probe: does what is sent to all, or to a multicast group, arrive over the overlay's interface?"""

from __future__ import annotations

import json
import socket
import struct
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from pydantic import Field

from harness.errors import OverlayError
from harness.probes.contract import Found, Measurement, Probe, ProbeSettings, Surroundings, Target
from harness.probes.measurement import figure_of
from harness.results.declared import Chapter, Column, Metric, Shown, Table

PORT = 7413
# Administratively scoped (RFC 2365), and for IPv6 of site scope (RFC 4291): neither is anybody's own.
_GROUPS = {4: "239.66.0.1", 6: "ff15::6642"}
_BROADCAST = "255.255.255.255"
_SPACING_S = 0.05
_LATE_S = 1.0


class GroupsSettings(ProbeSettings):
    """Whether broadcast and multicast arrive: `count` datagrams of each are sent out of the overlay's interface."""

    count: int = Field(default=5, ge=1, le=100)

    def own_time_s(self) -> float:
        """Return how long the probe may rightly take for one pair."""
        return 2 * (self.count * _SPACING_S + _LATE_S)


@dataclass(frozen=True)
class Heard:
    """How many datagrams `dst` heard of those that `src` sent; None: there is no such thing (IPv6 has no broadcast)."""

    broadcast: int | None
    multicast: int


class GroupsProbe(Probe[GroupsSettings, Heard]):
    """What an L2 overlay carries and most others do not: mDNS, SSDP and games live on it."""

    name = "groups"
    order = 12
    settings = GroupsSettings
    needs = frozenset({"interface"})
    turn = "waiting"
    doing = "calling everybody"
    minds_lateness = False
    metrics = (
        Metric(
            "broadcast_heard",
            "1",
            "1 if a datagram sent to 255.255.255.255 through the overlay's interface arrived at the other member, "
            "else 0.",
            "RFC 919",
            better="higher",
            estimator="proportion",
            pairs="all",
            in_tables=True,
        ),
        Metric(
            "multicast_heard",
            "1",
            "1 if a datagram sent to a multicast group that the other member has joined arrived there, else 0.",
            "RFC 1112, RFC 4291",
            better="higher",
            estimator="proportion",
            pairs="all",
            in_tables=True,
        ),
    )
    shows = Shown(
        chapters=(Chapter("groups", "Broadcast and multicast", place=45),),
        tables=(Table("groups", "Broadcast and multicast", "groups"),),
        columns=(
            Column("groups", "broadcast heard", "broadcast_heard", "count"),
            Column("groups", "multicast heard", "multicast_heard", "count"),
        ),
    )

    def measure(self, target: Target, settings: GroupsSettings, trial: Surroundings) -> Heard:
        """Call from `src`, listen at `dst`.

        Raises:
            OverlayError: a member has no interface with its address.
        """
        del trial
        version = target.destination.version
        broadcast = _heard(target, settings.count, _BROADCAST) if version == 4 else None
        found = Heard(broadcast, _heard(target, settings.count, _GROUPS[version]))
        target.evidence("groups.json").write_text(json.dumps({"sent": settings.count, **asdict(found)}))
        return found

    def summarise(self, found: Found[Heard], settings: GroupsSettings) -> list[Measurement]:
        """Summarise by `summarise_groups`."""
        del settings
        return list(summarise_groups(found.target, found.overlay))


def summarise_groups(target: Target, heard: Heard) -> Iterator[Measurement]:
    """Yield the figures of a pair: whether any arrived."""
    figure = figure_of(target, "groups", target.evidence("groups.json"))
    if heard.broadcast is not None:
        yield figure("broadcast_heard", float(heard.broadcast > 0))
    yield figure("multicast_heard", float(heard.multicast > 0))


def _heard(target: Target, count: int, to: str) -> int:
    """Send datagrams to an address from `src`; return how many `dst` hears."""
    marks = {f"{target.src} {to} {number}".encode() for number in range(count)}
    with _socket(target, target.dst, to) as ear, _socket(target, target.src, to) as mouth:
        ear.bind(("", PORT))
        for mark in marks:
            try:
                mouth.sendto(mark, (to, PORT))
            except OSError:  # no route, or an interface that cannot: then nothing is carried
                break
            time.sleep(_SPACING_S)
        until, got = time.monotonic() + _LATE_S, set[bytes]()
        while got != marks and (left := until - time.monotonic()) > 0:
            ear.settimeout(left)
            try:
                got.add(ear.recv(100))
            except TimeoutError:
                break
    return len(got & marks)


def _socket(target: Target, node: str, to: str) -> socket.socket:
    """Make a UDP socket in a node, on the overlay's interface alone, and in the group where `to` is one."""
    from harness.sandbox.namespace import inside_network_of  # noqa: PLC0415  # this module is read by reports

    address = target.source if node == target.src else target.destination
    name = _interface(target, node, str(address))
    six = address.version == 6
    with inside_network_of(target.lab.nodes[node].pid):
        made = socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_DGRAM)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, name.encode())
        made.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        if six:
            index = struct.pack("@I", socket.if_nametoindex(name))
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, socket.inet_pton(socket.AF_INET6, to) + index)
        elif to != _BROADCAST:
            own = socket.inet_aton(str(address))
            made.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 4)
            made.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, own)
            made.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(to) + own)
    return made


def _interface(target: Target, node: str, address: str) -> str:
    found = json.loads(target.lab.nodes[node].check_output(["ip", "-j", "address", "show"]))
    for one in found:
        if any(entry.get("local") == address for entry in one.get("addr_info", ())):
            return str(one["ifname"])
    raise OverlayError(f"{node} has no interface with {address}")
