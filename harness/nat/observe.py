"""Which tests to make of a router, in which order, and what they say together."""

from __future__ import annotations

import random
from collections.abc import Sequence

from harness.errors import LabError
from harness.model.nat import Egress, Filtering, Hairpinning, Mapping, NatBehaviour, Unsolicited
from harness.nat import (
    discovery,
    discovery_crafted,
    discovery_icmp,
    discovery_mtu,
    discovery_sessions,
    discovery_tcp,
)
from harness.nat.discovery_rate import udp_rate_tests
from harness.nat.discovery_setup import DiscoverySetup
from harness.nat.egress import answers, egress_test
from harness.nat.lifetimes import lifetime_tests
from harness.nat.observation import IcmpSource, Observation
from harness.nat.prefix_seen import prefix_seen


def observe_behaviour(setup: DiscoverySetup, rng: random.Random, *, early_limit_ms: float = 200.0) -> Observation:
    """Observe all axes that need no waiting, and a peer's first packet up to `early_limit_ms` early or late.

    Raises:
        LabError: something that must pass did not, or the answers contradict each other.
    """
    egress = egress_test(setup)
    if egress is Egress.TCP_443:
        return Observation(egress=egress)
    if egress is Egress.NO_UDP:
        return Observation(egress=egress, **_tcp(setup))  # type: ignore[arg-type]
    mapping = discovery.mapping_test(setup)
    translates = mapping is not Mapping.NONE
    filtering = discovery.filtering_test(setup)
    early_ms = rng.uniform(-early_limit_ms, early_limit_ms)
    meeting = discovery.meeting_test(setup, early_ms)
    if not meeting.answered:
        raise LabError(f"a peer whose first packet came {early_ms:.0f} ms early was not heard")
    unsolicited = None
    if filtering is not Filtering.NONE:
        unsolicited = discovery.unsolicited_test(setup, translates=translates)
        if mapping is Mapping.EIM:
            # Late packets do no harm, so poisoning is looked for with an early one in any case.
            early = meeting if early_ms >= 0 else discovery.meeting_test(setup, 0.0)
            if early_ms < 0 and not meeting.kept_mapping:
                raise LabError("the mapping changed although no packet came early")
            if not early.kept_mapping:
                unsolicited = Unsolicited.POISONS
    hairpinning = allocation = None
    if translates:
        hairpinning = discovery.hairpinning_test(setup)
        allocation = discovery.allocation_test(setup)
        discovery.overloading_test(setup)
        if mapping is not Mapping.EIM and filtering is not Filtering.APDF:
            discovery_sessions.two_doors_test(setup, mapping, filtering)
            discovery_sessions.own_flow_test(setup, mapping, filtering)
        if mapping is not Mapping.EIM and hairpinning is Hairpinning.INTERNAL_SOURCE:
            discovery_sessions.hairpin_doors_test(setup)
        if hairpinning is Hairpinning.EXTERNAL_SOURCE and filtering is Filtering.EIF:
            discovery_sessions.hairpin_first_test(setup, mapping)
        elif hairpinning is Hairpinning.EXTERNAL_SOURCE:
            discovery_sessions.uninvited_hairpin_test(setup)
    return Observation(
        mapping=mapping,
        filtering=filtering,
        port_allocation=allocation.kind if allocation else None,
        port_step=allocation.step if allocation else None,
        port_span=allocation.span if allocation else None,
        pooling=allocation.pooling if allocation else None,
        hairpinning=hairpinning,
        unsolicited=unsolicited,
        egress=egress,
        early_packet_ms=round(early_ms, 1),
        icmp_error=discovery_icmp.icmp_error_test(setup),
        hop_error=discovery_crafted.hop_error_test(setup),
        fragments=discovery_crafted.fragments_test(setup),
        no_checksum=discovery_sessions.no_checksum_test(setup, mapping),
        invalid_leaks=discovery_crafted.leak_test(setup) if translates else None,
        silent_hairpin=discovery_sessions.silent_hairpin_test(setup) if translates else None,
        **_tcp(setup),  # type: ignore[arg-type]
    )


def _tcp(setup: DiscoverySetup) -> dict[str, object]:
    mapping = discovery_tcp.tcp_mapping_test(setup)
    filtering, reaction = discovery_tcp.tcp_filtering_test(setup)
    translates = mapping is not Mapping.NONE
    if not translates and filtering is Filtering.EIF and discovery_tcp.unused_port_answers(setup):
        filtering, reaction = Filtering.NONE, None
    elif reaction is None:
        reaction = discovery_tcp.tcp_unsolicited_test(setup, translates=translates)
    hairpinning = allocation = None
    if translates:
        allocation = discovery_tcp.tcp_allocation_test(setup)
    if translates and (mapping is Mapping.EIM or filtering is Filtering.EIF):
        hairpinning = discovery_tcp.tcp_hairpinning_test(setup)
    echoes = discovery_icmp.icmp_echo_test(setup, identifier=setup.transaction()[-1] + 1000)
    return {
        "tcp_mapping": mapping,
        "tcp_filtering": filtering,
        "tcp_unsolicited": reaction,
        "tcp_hairpinning": hairpinning,
        "tcp_port_allocation": allocation.kind if allocation else None,
        "tcp_port_step": allocation.step if allocation else None,
        "tcp_pooling": allocation.pooling if allocation else None,
        "icmp_echo": echoes.answered,
        "icmp_source": _icmp_source(setup, echoes.sources),
    }


def _icmp_source(setup: DiscoverySetup, sources: Sequence[str]) -> IcmpSource:
    """Compare echoes with the TCP of the same hosts: paired pooling is for all protocols (RFC 4787 REQ-2)."""
    if any(place.address in sources for place in setup.inside):
        return "inside"
    as_tcp = []
    for place in setup.inside[: len(sources)]:
        made = discovery_tcp.connected(setup, place, setup.primary)
        assert made.mapped is not None
        as_tcp.append(made.mapped.address)
        discovery_tcp.hang_up(setup, made)
    return "as TCP" if list(sources) == as_tcp else "another"


def observe_lifetimes(setup: DiscoverySetup, behaviour: NatBehaviour) -> Observation:
    """Observe the lifetimes; the declared ones only say where to look. Takes 1.6 times the longest of them.

    Raises:
        LabError: as `lifetime_tests`.
    """
    udp, refresh, established, transitory = lifetime_tests(setup, behaviour)
    return Observation(
        udp_lifetime_s=udp,
        udp_refresh=refresh if behaviour.translates else None,
        tcp_established_lifetime_s=established,
        tcp_transitory_lifetime_s=transitory,
    )


def observe_limits(ipv4: DiscoverySetup, ipv6: DiscoverySetup, behaviour: NatBehaviour) -> Observation:
    """Count how many of many flows are answered, or how much UDP passes: a session cap, a port block, a policer.

    Raises:
        LabError: none is.
    """
    if behaviour.udp_rate_mbit is not None:
        outward, inward = udp_rate_tests(ipv4, behaviour.udp_rate_mbit)
        return Observation(udp_rate_mbit=outward, udp_rate_inward_mbit=inward)
    if behaviour.session_cap is None:
        flows = behaviour.port_block_size + discovery.ALLOCATION_FLOWS
        return Observation(flows_in_block=discovery.allocation_test(ipv4, flows=flows).answered)
    return Observation(
        session_cap=discovery.allocation_test(ipv4).answered,
        ipv6_session_cap=None if behaviour.ipv6_filtering is None else discovery.allocation_test(ipv6).answered,
    )


def observe_line(ipv4: DiscoverySetup, ipv6: DiscoverySetup, behaviour: NatBehaviour) -> Observation:
    """Observe what a router says of a line that carries less than Ethernet.

    Raises:
        LabError: a test failed of something that passes.
    """
    both = behaviour.ipv6_filtering is not None
    return Observation(
        mtu_errors=discovery_mtu.mtu_error_test(ipv4),
        mss_mtu_bytes=discovery_mtu.mss_test(ipv4),
        ipv6_mtu_errors=discovery_mtu.mtu_error_test(ipv6) if both else None,
        ipv6_mss_mtu_bytes=discovery_mtu.mss_test(ipv6) if both else None,
    )


def observe_families(ipv4: DiscoverySetup, ipv6: DiscoverySetup) -> Observation:
    """Observe whether IPv4 and IPv6 pass at all, and how IPv6 is filtered.

    Raises:
        LabError: a test of a family that passes failed.
    """
    filtering = tcp_filtering = unsolicited = fragments = prefix = hairpinning = None
    passes = answers(ipv6)
    if passes:
        filtering = discovery.filtering_test(ipv6)
        tcp_filtering, _ = discovery_tcp.tcp_filtering_test(ipv6)
        if tcp_filtering is Filtering.EIF and discovery_tcp.unused_port_answers(ipv6):
            tcp_filtering = Filtering.NONE
        if filtering is not Filtering.NONE:
            unsolicited = discovery.unsolicited_test(ipv6, translates=False)
        fragments = discovery.long_datagram_test(ipv6)
        bound = ipv6.open()
        prefix = prefix_seen(ipv6, bound, ipv6.mapped(bound))
        ipv6.close(bound)
        if ipv6.prefix is not None:
            hairpinning = discovery.hairpinning_test(ipv6)
    return Observation(
        ipv4=answers(ipv4),
        ipv6=passes,
        ipv6_filtering=filtering,
        ipv6_tcp_filtering=tcp_filtering,
        ipv6_fragments=fragments,
        nptv6=prefix,
        ipv6_hairpinning=hairpinning,
        unsolicited=unsolicited,
    )
