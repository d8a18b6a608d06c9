"""The check of a trial's router against its label in IPv6, done as in `check.py`, in two round trips."""

from __future__ import annotations

import contextlib
from dataclasses import replace

from harness.model.nat import Egress, NatBehaviour
from harness.nat.check import filtering_of, observed_setup
from harness.nat.check_line import observe_line
from harness.nat.discovery_setup import DiscoverySetup
from harness.nat.egress import answers, egress_test
from harness.nat.events import RunningRouter
from harness.nat.observation import Observation
from harness.nat.observers import Observers, Side
from harness.nat.packet import Endpoint
from harness.nat.prefix_seen import prefix_seen
from harness.nat.responder import Stranger

# How long silence must last before a router is believed to forward nothing; no link lies in between.
_SILENCE_S = 0.1
_DISCARD = 9  # RFC 863


def check_router_ipv6(
    router: RunningRouter,
    observers: Observers,
    *,
    inside: Side,
    inside_gateway: str,
    outside: Side,
    outside_address: str,
) -> Observation:
    """Observe what one router of a lab does with IPv6; it forgets everything afterwards.

    Args:
        inside: what one of its inside interfaces faces, whose address there is `inside_gateway`.
        outside: what its outside interface faces, whose address there is `outside_address`.

    Raises:
        LabError: the observers could not be placed, or the router passes nothing although its label says so.
    """
    prefix = router.behaviour.nptv6
    with observed_setup(observers, inside, inside_gateway, outside, outside_address, prefix) as setup:
        _announce(setup, outside_address)
        seen = _observe(setup, router.behaviour)
        if seen.ipv6_filtering is not None:
            router.forget()
            seen = replace(seen, **observe_line(setup, router))  # type: ignore[arg-type]
    router.forget()
    return seen


def check_silence(
    router: RunningRouter,
    observers: Observers,
    *,
    inside: Side,
    inside_gateway: str,
    outside: Side,
    outside_address: str,
) -> Observation:
    """Observe whether IPv4 passes a router that is said not to forward it; arguments as above."""
    with observed_setup(observers, inside, inside_gateway, outside, outside_address) as setup:
        passes = answers(setup, _SILENCE_S)
    router.forget()
    return Observation(ipv4=passes)


def _announce(setup: DiscoverySetup, router_address: str) -> None:
    """Tell the router where the outside observers are.

    A fresh address does not hear at once who asks for it: the kernel joins its multicast group when it finds the time.
    """
    for i in range(2):
        setup.responder.send(i, 0, b"here I am", Endpoint(router_address, _DISCARD))
    with contextlib.closing(setup.strangers[0].udp()) as stranger:
        stranger.sendto(b"here I am", (router_address, _DISCARD))


def _observe(setup: DiscoverySetup, declared: NatBehaviour) -> Observation:
    if declared.ipv6_filtering is None:
        return Observation(ipv6=answers(setup, _SILENCE_S))
    if declared.egress is not Egress.ANY:
        return Observation(ipv6=True, egress=egress_test(setup))
    opener = setup.open()
    asked = setup.send(opener)
    if not setup.wait_for([asked]):
        return Observation(ipv6=False)
    filtering = filtering_of(setup, opener, Stranger(setup.wire, setup.strangers[0]))
    return Observation(ipv6=True, ipv6_filtering=filtering, nptv6=prefix_seen(setup, opener, asked.mapped))
