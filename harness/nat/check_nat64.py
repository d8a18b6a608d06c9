"""The check of a NAT64 router: an inside host with IPv6 alone asks servers with IPv4 alone, in two round trips."""

from __future__ import annotations

from harness.model.nat import Mapping
from harness.nat import discovery
from harness.nat.check import FLOWS, filtering_of, observed_setup
from harness.nat.discovery_setup import DiscoverySetup
from harness.nat.events import RunningRouter
from harness.nat.observation import Observation
from harness.nat.observers import Observers, Side
from harness.nat.packet import Endpoint
from harness.nat.responder import Stranger
from harness.nat.wire import port_of


def check_router_nat64(
    router: RunningRouter, observers: Observers, *, inside: Side, inside_gateway: str, outside: Side
) -> Observation:
    """Observe what the outside sees of translated hosts; the router forgets everything afterwards.

    Args:
        inside: what one of its inside interfaces faces in IPv6, whose address there is `inside_gateway`.
        outside: what its outside interface faces in IPv4.

    Raises:
        LabError: the observers could not be placed, or the mappings fit no behaviour.
    """
    with observed_setup(observers, inside, inside_gateway, outside, None, nat64=True) as setup:
        seen = observe_nat64(setup)
    router.forget()
    return seen


def observe_nat64(setup: DiscoverySetup) -> Observation:
    """Observe mapping, filtering and allocation of a translator's mappings.

    Raises:
        LabError: some servers answered and others did not, or the mappings fit no behaviour.
    """
    flows = [setup.open() for _ in range(FLOWS)]
    asks = [setup.send(each) for each in flows]
    mapper, opener = setup.open(), setup.open()
    mappings = [setup.send(mapper, endpoint) for row in setup.responder.endpoints for endpoint in row]
    if not setup.wait_for([*asks, *mappings, setup.send(opener)]) and not any(ask.answer for ask in asks):
        return Observation(nat64=False)
    own = Endpoint(setup.inside[0].address, port_of(mapper))
    mapping = discovery.classify_mapping(own, [ask.mapped for ask in mappings])
    assert mapping is not Mapping.NONE  # nobody sees an IPv6 address in IPv4
    pairs = [(port_of(ask.bound), ask.mapped) for ask in asks]
    filtering = filtering_of(setup, opener, Stranger(setup.wire, setup.strangers[0]))
    allocation = discovery.Allocation(pairs, FLOWS)
    return Observation(nat64=True, mapping=mapping, filtering=filtering, port_allocation=allocation.kind)
