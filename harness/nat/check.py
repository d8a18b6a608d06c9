"""The check of a trial's router against its label: quick, inside the trial, before links and overlay start.

Two private observers take part (`harness.nat.observers`): one on the router's inside, one with three addresses on its
outside, with no impaired link in between. They are gone afterwards, as are all mappings.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv6Network

from harness.errors import LabError, LabNotAsDeclared
from harness.model.nat import Egress, Filtering, Mapping, Unsolicited
from harness.nat import discovery, discovery_tcp
from harness.nat.check_line import observe_line
from harness.nat.discovery_setup import GRACE_S, DiscoverySetup
from harness.nat.egress import TLS_PORT, egress_test
from harness.nat.events import RunningRouter
from harness.nat.observation import Observation, differences
from harness.nat.observers import Observers, Side
from harness.nat.packet import Endpoint
from harness.nat.responder import Stranger
from harness.nat.wire import Wire, port_of

# Enough to tell sequences, blocks and chance apart. n random ports of all 64,512 lie within a share x of them, as those
# of a block do, with a chance of n x^(n-1) - (n-1) x^n: of 8 ports, within 8,192 (`LARGEST_BLOCK`), 4e-6; of 6, 1.8e-4.
FLOWS = 8
_OBSERVER_PORTS = (3478, 3479)
_PATIENCE_S = 2.0
_RETRANSMIT_S = 0.2


def check_router(
    router: RunningRouter, observers: Observers, *, inside: Side, inside_gateway: str, outside: Side
) -> Observation:
    """Observe one router of a lab whose links are not started yet; it forgets everything afterwards.

    Args:
        inside: what one of its inside interfaces faces, whose address there is `inside_gateway`.
        outside: what its outside interface faces.

    Raises:
        LabError: the observers could not be placed, or the router passes nothing at all.
    """
    way_back = None if router.behaviour.translates else router.ports.wan_addresses[0]
    with observed_setup(observers, inside, inside_gateway, outside, way_back) as setup:
        seen = _observe(setup)
        if seen.egress is Egress.ANY:
            router.forget()  # or else a session cap would count what was asked so far
            seen = replace(seen, **observe_line(setup, router))  # type: ignore[arg-type]
    if router.behaviour.udp_rate_mbit is None:
        router.forget()
    else:
        router.reboot()  # which fills the buckets again
    if router.behaviour.unsolicited is Unsolicited.POISONS and seen.unsolicited is None:
        return replace(seen, unsolicited=Unsolicited.DROP)  # an early packet did no harm
    return seen


@contextlib.contextmanager
def observed_setup(  # noqa: PLR0917  # both sides, and the way between them
    observers: Observers,
    inside: Side,
    inside_gateway: str,
    outside: Side,
    way_back: str | None,
    prefix: IPv6Network | None = None,
    *,
    nat64: bool = False,
) -> Iterator[DiscoverySetup]:
    """Yield the ground between both observers, attached as `Observers.attached` says."""
    seen_as = None if prefix is None else str(prefix)
    with observers.attached(inside, inside_gateway, outside, way_back, seen_as) as (host, public), Wire() as wire:
        yield DiscoverySetup(
            wire,
            inside=[host],
            servers=public[:2],
            strangers=public[2:],
            ports=_OBSERVER_PORTS,
            prefix=prefix,
            nat64=nat64,
            patience_s=_PATIENCE_S,
            retransmit_s=_RETRANSMIT_S,
        )


def require_as_declared(name: str, router: RunningRouter, seen: Observation) -> None:
    """Refuse a router that is not what its label says.

    Raises:
        LabNotAsDeclared: names the router and each axis that differs.
    """
    wrong = differences(router.behaviour, seen)
    if wrong:
        raise LabNotAsDeclared(f"router {name} is not {router.behaviour.label}: {'; '.join(wrong)}")


def _observe(setup: DiscoverySetup) -> Observation:
    """Observe mapping, filtering, allocation and poisoning, together in two round trips and a half."""
    flows = [setup.open() for _ in range(FLOWS)]
    asks = [setup.send(each) for each in flows]
    mapper, opener, meeter = (setup.open() for _ in range(3))
    mappings = [setup.send(mapper, endpoint) for row in setup.responder.endpoints for endpoint in row]
    contacts = [setup.send(opener), setup.send(meeter)]
    # TLS passes where anything does: when it is through, UDP that is not has most likely been blocked.
    door = discovery_tcp.listener(setup, setup.strangers[0], TLS_PORT)
    to_tls = Endpoint(setup.strangers[0].address, TLS_PORT)
    tls = [discovery_tcp.call(setup, setup.inside[0], to_tls) for _ in range(3)]
    setup.until(lambda: any(call.state == "open" for call in tls) or any(ask.answer for ask in asks))
    silent = not setup.wire.pump(lambda: any(ask.answer for ask in asks), GRACE_S)
    discovery_tcp.hang_up(setup, *tls)
    setup.wire.forget(door)
    # What a busy machine delivers late is heard by the test that has the time for it, and then asked again.
    if silent and (egress := egress_test(setup)) is not Egress.ANY:
        return Observation(egress=egress)
    setup.wait_for([*asks, *mappings, *contacts])
    mapping = discovery.classify_mapping(
        Endpoint(setup.inside[0].address, port_of(mapper)), [ask.mapped for ask in mappings]
    )
    stranger = Stranger(setup.wire, setup.strangers[0])
    known = contacts[1].mapped
    stranger.send(known)
    filtering = filtering_of(setup, opener, stranger)
    if mapping is Mapping.NONE:
        return Observation(egress=Egress.ANY, mapping=mapping, filtering=filtering)
    pairs = [(port_of(ask.bound), ask.answer.mapped) for ask in asks if ask.answer]
    allocation = discovery.Allocation(pairs, FLOWS)
    unsolicited = None
    if mapping is Mapping.EIM and filtering is Filtering.APDF:
        # Whether others are rejected or dropped needs ICMP, which Linux limits in rate; poisoning needs none.
        unsolicited = None if _meet(setup, meeter, stranger) == known else Unsolicited.POISONS
    return Observation(
        egress=Egress.ANY,
        mapping=mapping,
        filtering=filtering,
        # A session cap leaves gaps that look like another allocation.
        port_allocation=None if allocation.capped else allocation.kind,
        port_step=None if allocation.capped else allocation.step,
        unsolicited=unsolicited,
    )


def filtering_of(setup: DiscoverySetup, opener: socket.socket, stranger: Stranger) -> Filtering:
    """Test filtering as `filtering_test` does, on a mapping that is there already."""
    quiet = setup.open()
    if not setup.nat64:  # nobody in IPv4 has a word for an inside IPv6 address
        stranger.send(Endpoint(setup.unmapped(), port_of(quiet)))
    anybody = setup.send(opener, change_ip=True, change_port=True)
    other_port = setup.send(opener, change_port=True)
    setup.fence(opener)
    if setup.inbox[quiet]:
        return Filtering.NONE
    if anybody.answer is not None:
        return Filtering.EIF
    return Filtering.ADF if other_port.answer is not None else Filtering.APDF


def _meet(setup: DiscoverySetup, meeter: socket.socket, stranger: Stranger) -> Endpoint:
    """Return the mapping that `meeter` gets towards a stranger whose packet came a round trip before."""
    for _ in range(4):
        meeter.sendto(b"first packet to a peer", stranger.endpoint)
        if setup.wire.pump(lambda: bool(stranger.heard), setup.retransmit_s):
            return stranger.heard[0]
    raise LabError("the inside host's packet to a new peer did not leave the router")
