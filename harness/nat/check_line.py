"""The check of what a router does to packets whatever their mapping: its line's MTU, fragments, a policer on UDP.

What takes a discovery seconds is asked here in one way that takes milliseconds: a policer by the depth of its bucket.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sized

from harness.model.nat import Fragments
from harness.nat import discovery, discovery_mtu
from harness.nat.discovery_rate import LEEWAY, Bracket
from harness.nat.discovery_setup import DiscoverySetup
from harness.nat.events import RunningRouter
from harness.nat.packet import Endpoint
from harness.nat.policing import EXTRA_BYTES, burst_bytes
from harness.nat.ports import FULL_MTU_BYTES

# A bucket is as deep as a second's worth: above this its emptying takes longer than a trial's check may.
FASTEST_POLICED_MBIT = 20.0
_HEADERS_BYTES = 28
# So many at a time, which a socket's buffer holds, and so long until they are through.
_BATCH = 32
_ARRIVES_S = 0.05


def observe_line(setup: DiscoverySetup, router: RunningRouter) -> dict[str, object]:
    """Return what is seen of those axes, named as in `Observation`; the router has forgotten what was before.

    Raises:
        LabError: a test failed of something that passes.
    """
    behaviour, mtu_bytes = router.behaviour, router.ports.line_mtu_bytes
    version = "ipv6_" if ":" in setup.primary.address else ""
    found: dict[str, object] = {}
    narrow = mtu_bytes < FULL_MTU_BYTES
    if narrow:
        found[f"{version}mtu_errors"] = discovery_mtu.mtu_error_test(setup)
        found[f"{version}mss_mtu_bytes"] = discovery_mtu.mss_test(setup)
    # What an IPv6 host has cut for its own line is not cut again on a narrower one. And what the outside observer cuts
    # is too long for a narrow line: nobody has told it of that, as the nodes of the segment are told.
    if behaviour.fragments is Fragments.DROP or not (version and narrow):
        found[f"{version}fragments"] = discovery.long_datagram_test(setup, back=not narrow)
    rate_mbit = behaviour.udp_rate_mbit
    if rate_mbit is not None and rate_mbit <= FASTEST_POLICED_MBIT and not version:
        found["udp_rate_mbit"], found["udp_rate_inward_mbit"] = _rates_of_buckets(setup, rate_mbit, mtu_bytes)
    return found


def _rates_of_buckets(setup: DiscoverySetup, expected_mbit: float, mtu_bytes: int) -> tuple[Bracket, Bracket]:
    """Return between which rates (Mbit/s) the policers outward and inward lie, by the depth of their full buckets."""
    bound = setup.open()
    mapped = setup.mapped(bound)
    primary = setup.primary
    data = bytes(mtu_bytes - _HEADERS_BYTES)

    def outward() -> None:
        bound.sendto(data, (primary.address, primary.port))

    def inward() -> None:
        setup.responder.send(0, 0, data, Endpoint(*mapped))

    found = (
        _depth_mbit(setup, outward, setup.responder.strange, expected_mbit, mtu_bytes),
        _depth_mbit(setup, inward, setup.inbox[bound], expected_mbit, mtu_bytes),
    )
    setup.close(bound)
    return found


def _depth_mbit(
    setup: DiscoverySetup, send: Callable[[], None], arrived: Sized, expected_mbit: float, size_bytes: int
) -> Bracket:
    """Send until something does not arrive, at most twice what should; return between which rates has such a bucket.

    It fills meanwhile, and how long that did is not known: the whole time of sending at most, and not at all at least.
    """
    before, began_s = len(arrived), time.monotonic()
    lasted_s = 0.0
    for sent in range(_BATCH, 2 * burst_bytes(expected_mbit) // size_bytes + _BATCH, _BATCH):
        for _ in range(_BATCH):
            send()
        lasted_s = time.monotonic() - began_s  # what fills the bucket later does not pass
        if not setup.wire.pump(lambda sent=sent: len(arrived) - before >= sent, _ARRIVES_S):  # type: ignore[misc]
            break
    passed_bytes = (len(arrived) - before) * size_bytes
    deep_mbit = max(0.0, passed_bytes - EXTRA_BYTES) / 125_000
    return deep_mbit / (1 + lasted_s) * (1 - LEEWAY), deep_mbit * (1 + LEEWAY)
