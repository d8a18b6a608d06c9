"""What the underlay has to carry for each useful byte; counted by the lab on the segments, not by the overlay."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from harness.lab.counters import Carried, Flow
from harness.model.family import Address
from harness.probes.measurement import Measurement

Traffic = Mapping[Flow, Carried]
Places = Collection[tuple[str, Address]]


def summarise_overhead(
    before: Traffic, after: Traffic, moved: float, *, members: Places, server: Places
) -> Iterator[Measurement]:
    """What the members' sites and the server sent over the outermost segment per byte of goodput, all pairs together.

    Acknowledgements, keepalives and what is sent again are in it; what stays within a site is not.

    Args:
        before: what each flow had carried when the load began.
        after: the same when it ended.
        moved: bytes of goodput in between, all directions.
        members: segment and address at which the members' sites send; empty: not known, nothing is said.
        server: the same of the server.
    """
    if moved <= 0:
        return

    def sent_by(places: Places) -> Carried:
        octets = packets = 0
        for flow, carried in after.items():
            if (flow.segment, flow.src) in places:
                earlier = before.get(flow, Carried(0, 0))
                octets += carried.octets - earlier.octets
                packets += carried.packets - earlier.packets
        return Carried(octets, packets)

    def figure(metric: str, unit: str, value: float) -> Measurement:
        return Measurement(probe="cost", metric=metric, unit=unit, value=value)

    if members:
        sent = sent_by(members)
        yield figure("underlay_bytes_per_byte", "B/B", sent.octets / moved)
        yield figure("underlay_packets_per_mb", "1/MB", sent.packets / (moved / 1e6))
    if server:
        yield figure("server_bytes_per_byte", "B/B", sent_by(server).octets / moved)
