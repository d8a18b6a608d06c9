"""The IPv6 side of a trial's router against its label: asked as in `check.py`, in two round trips."""

from __future__ import annotations

import contextlib

from harness.model.nat import Egress, NatBehaviour
from harness.nat.check import filtering_of, observed_field
from harness.nat.egress import answers, egress_test
from harness.nat.events import RunningRouter
from harness.nat.field import Field
from harness.nat.observation import Observation
from harness.nat.observers import Observers, Side
from harness.nat.responder import Stranger
from harness.nat.simulated import Endpoint

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
    with observed_field(observers, inside, inside_gateway, outside, outside_address) as field:
        _announce(field, outside_address)
        seen = _observe(field, router.behaviour)
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
    """Whether IPv4 passes a router of which it is said that it does not; arguments as above."""
    with observed_field(observers, inside, inside_gateway, outside, outside_address) as field:
        passes = answers(field, _SILENCE_S)
    router.forget()
    return Observation(ipv4=passes)


def _announce(field: Field, router_address: str) -> None:
    """Tell the router where the outside observers are.

    A fresh address does not hear at once who asks for it: the kernel joins its multicast group when it finds the time.
    """
    for i in range(2):
        field.responder.send(i, 0, b"here I am", Endpoint(router_address, _DISCARD))
    with contextlib.closing(field.strangers[0].udp()) as stranger:
        stranger.sendto(b"here I am", (router_address, _DISCARD))


def _observe(field: Field, declared: NatBehaviour) -> Observation:
    if declared.ipv6_filtering is None:
        return Observation(ipv6=answers(field, _SILENCE_S))
    if declared.egress is not Egress.ANY:
        return Observation(ipv6=True, egress=egress_test(field))
    opener = field.open()
    if not field.wait_for([field.send(opener)]):
        return Observation(ipv6=False)
    filtering = filtering_of(field, opener, Stranger(field.wire, field.strangers[0]))
    return Observation(ipv6=True, ipv6_filtering=filtering)
