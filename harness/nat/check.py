"""Is a trial's router what its label says? Asked cheaply inside the trial, before the overlay starts.

Two private observers take part: one on the router's inside segment, one with three addresses on its outside segment.
They are plugged into the bridges without any impaired link of their own and are gone afterwards, as are all mappings.
"""

from __future__ import annotations

import contextlib
import ipaddress
import itertools
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from harness.errors import LabError, LabNotAsDeclared
from harness.model.nat import Egress, Filtering, Mapping, Unsolicited
from harness.nat import discovery, discovery_tcp
from harness.nat.events import RunningRouter
from harness.nat.field import GRACE_S, Field
from harness.nat.observation import Observation, differences
from harness.nat.observe import TLS_PORT, egress_test
from harness.nat.responder import Stranger
from harness.nat.simulated import Endpoint
from harness.nat.wire import Vantage, Wire, port_of
from harness.sandbox.namespace import hold_namespace, netlink_inside, release_namespaces
from harness.sandbox.pairs import pair_number

# Enough to tell sequences, blocks and chance apart.
_FLOWS = 6
_OBSERVER_PORTS = (3478, 3479)


@dataclass(frozen=True)
class Segment:
    """A bridge of the lab: its name in the sandbox's namespace, its subnet, the addresses that are taken there."""

    bridge: str
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


def check_router(
    router: RunningRouter,
    *,
    inside: Segment,
    inside_gateway: str,
    outside: Segment,
    rtt_ms: float = 0.0,
    lossy: bool = False,
) -> Observation:
    """Observe one router of a running lab; resets its tables afterwards.

    Args:
        inside: the segment of one of its inside interfaces, whose address there is `inside_gateway`.
        outside: the segment of its outside interface.
        rtt_ms: the round-trip time of the impaired links between the two segments.
        lossy: whether these links lose packets.

    Raises:
        LabError: the observers could not be made, or the router passes nothing at all.
    """
    with _observers(router, inside, inside_gateway, outside) as (host, public), Wire() as wire:
        field = Field(
            wire,
            inside=[host],
            servers=public[:2],
            strangers=public[2:],
            ports=_OBSERVER_PORTS,
            patience_s=max(1.0, 8 * rtt_ms / 1000),
            retransmit_s=max(0.1, 1.5 * rtt_ms / 1000),
        )
        seen = _observe(field, rounds=4 if lossy else 1)
    router.load()
    if router.behaviour.unsolicited is Unsolicited.POISONS and seen.unsolicited is None:
        return replace(seen, unsolicited=Unsolicited.DROP)  # an early packet did no harm
    return seen


def require_as_declared(name: str, router: RunningRouter, seen: Observation) -> None:
    """Refuse a router that is not what its label says.

    Raises:
        LabNotAsDeclared: names the router and each axis that differs.
    """
    wrong = differences(router.behaviour, seen)
    if wrong:
        raise LabNotAsDeclared(f"router {name} is not {router.behaviour.label}: {'; '.join(wrong)}")


def _observe(field: Field, rounds: int) -> Observation:
    """Mapping, filtering, allocation and poisoning, together in two round trips and a half."""
    flows = [field.open() for _ in range(_FLOWS)]
    asks = [field.send(each) for each in flows]
    mapper, opener, meeter = (field.open() for _ in range(3))
    mappings = [field.send(mapper, endpoint) for row in field.responder.endpoints for endpoint in row]
    contacts = [field.send(opener), field.send(meeter)]
    # TLS passes where anything does: when it is through, UDP that is not has been blocked.
    door = discovery_tcp.listener(field, field.strangers[0], TLS_PORT)
    to_tls = Endpoint(field.strangers[0].address, TLS_PORT)
    tls = [discovery_tcp.call(field, field.inside[0], to_tls) for _ in range(3)]
    field.until(lambda: any(call.state == "open" for call in tls) or any(ask.answer for ask in asks))
    blocked = not field.wire.pump(lambda: any(ask.answer for ask in asks), GRACE_S)
    discovery_tcp.hang_up(field, *tls)
    field.wire.forget(door)
    if blocked:
        return Observation(egress=egress_test(field))
    field.wait_for([*asks, *mappings, *contacts])
    mapping = discovery.classify_mapping(
        Endpoint(field.inside[0].address, port_of(mapper)), [ask.mapped for ask in mappings]
    )
    stranger = Stranger(field.wire, field.strangers[0])
    known = contacts[1].mapped
    stranger.send(known)
    filtering = _filtering(field, opener, rounds, stranger)
    if mapping is Mapping.NONE:
        return Observation(egress=Egress.ANY, mapping=mapping, filtering=filtering)
    pairs = [(port_of(ask.bound), ask.answer.mapped) for ask in asks if ask.answer]
    allocation = discovery.Allocation(pairs, _FLOWS)
    unsolicited = None
    if mapping is Mapping.EIM and filtering is Filtering.APDF:
        # Whether others are rejected or dropped needs ICMP, which Linux limits in rate; poisoning needs none.
        unsolicited = None if _meet(field, meeter, stranger) == known else Unsolicited.POISONS
    return Observation(
        egress=Egress.ANY,
        mapping=mapping,
        filtering=filtering,
        # A session cap, or a lost packet that took its port with it, leaves gaps that look like another allocation.
        port_allocation=None if allocation.capped or rounds > 1 else allocation.kind,
        unsolicited=unsolicited,
    )


def _filtering(field: Field, opener: socket.socket, rounds: int, stranger: Stranger) -> Filtering:
    """As `filtering_test`, on a mapping that is there already."""
    quiet = field.open()
    heard = {"anybody": False, "other port": False}
    for _ in range(rounds):
        stranger.send(Endpoint(field.inside[0].address, port_of(quiet)))
        anybody = field.send(opener, change_ip=True, change_port=True)
        other_port = field.send(opener, change_port=True)
        field.fence(opener)
        heard["anybody"] |= anybody.answer is not None
        heard["other port"] |= other_port.answer is not None
    if field.inbox[quiet]:
        return Filtering.NONE
    if heard["anybody"]:
        return Filtering.EIF
    return Filtering.ADF if heard["other port"] else Filtering.APDF


def _meet(field: Field, meeter: socket.socket, stranger: Stranger) -> Endpoint:
    """The mapping that `meeter` gets towards a stranger whose packet came a round trip before."""
    for _ in range(4):
        meeter.sendto(b"first packet to a peer", stranger.endpoint)
        if field.wire.pump(lambda: bool(stranger.heard), field.retransmit_s):
            return stranger.heard[0]
    raise LabError("the inside host's packet to a new peer did not leave the router")


@contextlib.contextmanager
def _observers(
    router: RunningRouter, inside: Segment, inside_gateway: str, outside: Segment
) -> Iterator[tuple[Vantage, Sequence[Vantage]]]:
    [host_address] = inside.free(1)
    public_addresses = outside.free(3)
    pids = [hold_namespace("observer") for _ in range(2)]
    plugs: list[int] = []
    with IPRoute() as here:
        try:
            plugs.append(_plug(here, pids[0], inside, [host_address], ("default", inside_gateway)))
            way_back = None if router.behaviour.translates else (inside.subnet, router.ports.wan_addresses[0])
            plugs.append(_plug(here, pids[1], outside, public_addresses, way_back))
            yield Vantage(pids[0], host_address), [Vantage(pids[1], address) for address in public_addresses]
        except NetlinkError as error:
            raise LabError(f"cannot place an observer: {error}") from error
        finally:
            # A namespace that is on its way out still answers ARP, to the next observer's harm.
            for index in plugs:
                here.link("del", index=index)
            release_namespaces(pids)


_numbers = itertools.count()


def _plug(here: IPRoute, pid: int, segment: Segment, addresses: Sequence[str], route: tuple[str, str] | None) -> int:
    """Connect a namespace to a bridge."""
    port = f"obs{next(_numbers)}"
    here.link("add", kind="veth", index=pair_number(), ifname=port, peer={"ifname": "eth0", "net_ns_pid": pid})
    [index] = here.link_lookup(ifname=port)
    [bridge] = here.link_lookup(ifname=segment.bridge)
    here.link("set", index=index, master=bridge, state="up")
    prefix = ipaddress.IPv4Network(segment.subnet).prefixlen
    with contextlib.closing(netlink_inside(pid)) as there:
        [interface] = there.link_lookup(ifname="eth0")
        there.link("set", index=interface, state="up")
        for address in addresses:
            there.addr("add", index=interface, address=address, prefixlen=prefix)
        if route is not None:
            there.route("add", dst=route[0], gateway=route[1])
    return int(index)
