"""A NAT as a pure table: the second implementation of a `NatBehaviour`, next to the nftables ruleset.

    nat = SimulatedNat(behaviour, addresses=["45.1.0.1"], rng=random.Random(1))
    nat.outbound(packet, now) -> packet as it leaves | None
    nat.inbound(packet, now)  -> packet as the inside host gets it | None
    nat.reboot()              -> forgets everything

`now` is a float in seconds that never goes back. A packet from inside to one of the NAT's own addresses is a hairpin:
what `outbound` then returns has an inside destination. None means that the packet went nowhere.

The words are those of RFC 4787. The filter belongs to a mapping, as in all equipment known to us; for EIM this is the
RFC's own wording (section 5), where it speaks of the internal endpoint.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import TypeVar

from harness.model.nat import (
    Egress,
    Filtering,
    Hairpinning,
    Mapping,
    NatBehaviour,
    PortAllocation,
    Refresh,
    Unsolicited,
)
from harness.nat.packet import Endpoint, Packet, Protocol
from harness.nat.ports import PortBlock
from harness.nat.simulated_line import Line
from harness.nat.simulated_ports import ExternalPorts
from harness.nat.simulated_tables import Expiry, MappingEntry, Session, Tables

_Entry = TypeVar("_Entry", MappingEntry, Session, Expiry)


class SimulatedNat:
    """The table. Clock readings and random numbers are passed in."""

    def __init__(
        self,
        behaviour: NatBehaviour,
        *,
        addresses: Sequence[str],
        rng: random.Random,
        blocks: Sequence[PortBlock] = (),
        leased: Callable[[Endpoint, float], Endpoint | None] = lambda _external, _now: None,
    ) -> None:
        """Make an empty table.

        Args:
            addresses: the external addresses, of which the behaviour's `pool_size` first are used.
            blocks: who has which ports, for allocation by block (`harness.nat.ports.port_blocks`).
            leased: asked for the internal endpoint to which an external UDP endpoint was mapped on request; no other
                gets a mapping there.

        Raises:
            ValueError: fewer addresses than `pool_size`, or allocation by block without blocks.
        """
        if behaviour.translates and len(addresses) < behaviour.pool_size:
            raise ValueError(f"pool_size {behaviour.pool_size} needs as many addresses, not {len(addresses)}")
        if behaviour.port_allocation is PortAllocation.BLOCK and not blocks:
            raise ValueError("allocation by block needs the blocks")
        self.behaviour = behaviour
        self._pool = tuple(addresses[: behaviour.pool_size])
        self._rng = rng
        self._blocks = tuple(blocks)
        self._leased = leased
        # Read once: each packet asks.
        self._mapping, self._egress = behaviour.mapping, behaviour.egress
        self._open = behaviour.ipv4 and self._egress not in (Egress.NO_UDP, Egress.TCP_443)
        self._outbound_only = behaviour.udp_refresh is Refresh.OUTBOUND
        self._udp_lifetime_s = behaviour.udp_lifetime_s
        self.reboot()

    def reboot(self) -> None:
        """Forget all mappings and sessions."""
        self._tables = tables = Tables()
        self._out, self._back, self._sessions, self._poisoned = (
            tables.out,
            tables.back,
            tables.sessions,
            tables.poisoned,
        )
        self._line = Line(self.behaviour)
        self._ports = ExternalPorts(self.behaviour, self._pool, self._rng, self._blocks)

    def outbound(self, packet: Packet, now: float) -> Packet | None:
        """Return what becomes of a packet from inside at `now`."""
        self._tables.tidy(now)
        b = self.behaviour
        if not self._open and (not b.ipv4 or self._egress_forbids(packet)):
            return None
        if not self._line.lets_through(packet, now, outward=True):
            return None
        if packet.destination.address in self._pool and b.translates:
            return self._hairpin(packet, now)
        session = self._own_session(packet, now)
        return None if session is None else packet.sent_by(session.mapping.external)

    def inbound(self, packet: Packet, now: float) -> Packet | None:
        """Return what becomes of a packet that comes to the outside at `now`."""
        self._tables.tidy(now)
        arrived = self._let_in(packet, now)
        passes = arrived is not None and self._line.lets_through(arrived, now, outward=False)
        return arrived if passes else None

    def _let_in(self, packet: Packet, now: float) -> Packet | None:
        b, protocol = self.behaviour, packet.protocol
        if not self._open and (not b.ipv4 or (self._egress is Egress.NO_UDP and protocol == "udp")):
            return None
        if not b.translates:
            return packet if self._firewall_passes(packet, now) else None
        mapping = self._back.get((protocol, packet.destination))
        key = (protocol, mapping.internal if mapping is not None else packet.destination, packet.source)
        session = self._live(self._sessions.get(key), now) if mapping is not None else None
        if session is None or session.mapping.external != packet.destination:
            # Not of a session that has this mapping, which lets in also when the mapping itself is gone.
            mapping = self._live(mapping, now)
            if mapping is None or not self._filter_passes(mapping, packet.source, protocol, now):
                self._note_unsolicited(packet, now)
                return None
            if session is None:
                session = self._sessions[key] = Session(mapping, 0.0)
        if self._outbound_only and protocol == "udp" and self._live(session.mapping, now) is None:
            return None
        self._touch(session, key, now, outward=False)
        return packet.sent_to(key[1])

    def holder(self, external: Endpoint, now: float) -> Endpoint | None:
        """Return the internal endpoint that has an external UDP one, by a mapping or a session that outlives it."""
        held = self._back.get(("udp", external))
        if held is None:
            return None
        lives = held.expires > now or any(
            session.expires > now and session.mapping is held for session in self._sessions.values()
        )
        return held.internal if lives else None

    # Mappings

    def _own_session(self, packet: Packet, now: float) -> Session | None:
        """Return the session that an outbound packet uses, made if needed; None where it may not have one."""
        key = (packet.protocol, packet.source, packet.destination)
        session = self._live(self._sessions.get(key), now)
        if session is None:
            if self._cap_reached(packet.source.address, now):
                return None
            mapping = self._mapping_for(packet, now)
            if mapping is None:
                return None
            session = self._sessions[key] = Session(mapping, 0.0)
        self._touch(session, key, now, outward=True)
        return session

    def _mapping_for(self, packet: Packet, now: float) -> MappingEntry | None:
        b = self.behaviour
        key = self._mapping_key(packet.protocol, packet.source, packet.destination)
        mapping = self._live(self._out.get(key), now)
        if not b.translates:
            return mapping or MappingEntry(packet.source, packet.source, now)
        if mapping is None:
            external = self._allocate(packet.protocol, packet.source, now)
            if external is None:
                return None
            mapping = MappingEntry(packet.source, external, now)
            self._enter(key, packet.protocol, mapping)
        if self._live(self._poisoned.get((packet.protocol, mapping.external, packet.destination)), now):
            # The router itself holds this pair of endpoints, so the flow gets a port that the mapping does not have.
            elsewhere = Endpoint(mapping.external.address, self._ports.random_port())
            return MappingEntry(packet.source, elsewhere, now)
        return mapping

    def _mapping_key(self, protocol: Protocol, internal: Endpoint, remote: Endpoint) -> tuple[object, ...]:
        if self._mapping is Mapping.APDM:
            return (protocol, internal, remote)
        return (protocol, internal, remote.address) if self._mapping is Mapping.ADM else (protocol, internal)

    def _enter(self, key: tuple[object, ...], protocol: Protocol, mapping: MappingEntry) -> None:
        self._out[key] = mapping
        self._back[protocol, mapping.external] = mapping

    def _allocate(self, protocol: Protocol, internal: Endpoint, now: float) -> Endpoint | None:
        """Return a free external endpoint; None when so many candidates in a row were taken."""
        for candidate in self._ports.candidates(protocol, internal):
            leased_to = self._leased(candidate, now) if protocol == "udp" else None
            if leased_to in (None, internal) and self._live(self._back.get((protocol, candidate)), now) is None:
                return candidate
        return None

    # Filtering

    def _filter_passes(self, mapping: MappingEntry, remote: Endpoint, protocol: Protocol, now: float) -> bool:
        session = self._live(self._sessions.get((protocol, mapping.internal, remote)), now)
        if session is not None and session.mapping.external == mapping.external:
            return True
        match self.behaviour.filtering:
            case Filtering.EIF:
                return True
            case Filtering.ADF:
                return any(peer.address == remote.address and until > now for peer, until in mapping.contacted.items())
            case _:
                return mapping.contacted.get(remote, now) > now

    def _firewall_passes(self, packet: Packet, now: float) -> bool:
        if self.behaviour.filtering is Filtering.NONE:
            return True
        key = (packet.protocol, packet.destination, packet.source)
        session = self._live(self._sessions.get(key), now)
        if session is None:
            pinhole = self._live(self._back.get((packet.protocol, packet.destination)), now)
            if pinhole is None or not self._filter_passes(pinhole, packet.source, packet.protocol, now):
                return False
            session = self._sessions[key] = Session(pinhole, 0.0)
        self._touch(session, key, now, outward=False)
        return True

    def _note_unsolicited(self, packet: Packet, now: float) -> None:
        if self.behaviour.unsolicited is Unsolicited.POISONS and packet.destination.address in self._pool:
            key = (packet.protocol, packet.destination, packet.source)
            self._poisoned[key] = Expiry(now + self._lifetime_s(packet.protocol, both_ways=False))

    def _egress_forbids(self, packet: Packet) -> bool:
        match self._egress:
            case Egress.NO_UDP:
                return packet.protocol == "udp"
            case Egress.TCP_443:
                return packet.protocol != "tcp" or packet.destination.port != 443
            case _:
                return False

    def _cap_reached(self, subscriber: str, now: float) -> bool:
        cap = self.behaviour.session_cap
        if cap is None:
            return False
        used = sum(key[1].address == subscriber and session.expires > now for key, session in self._sessions.items())
        return used >= cap

    # Hairpinning

    def _hairpin(self, packet: Packet, now: float) -> Packet | None:
        b = self.behaviour
        target = self._live(self._back.get((packet.protocol, packet.destination)), now)
        if b.hairpinning is Hairpinning.OFF or target is None:
            return None
        if b.hairpinning is Hairpinning.INTERNAL_SOURCE:
            return packet.sent_to(target.internal)
        session = self._own_session(packet, now)
        if session is None or not self._filter_passes(target, session.mapping.external, packet.protocol, now):
            return None
        key = (packet.protocol, target.internal, session.mapping.external)
        far = self._live(self._sessions.get(key), now)
        if far is None:
            far = self._sessions[key] = Session(target, 0.0)
        self._touch(far, key, now, outward=False)
        return packet.sent_by(session.mapping.external).sent_to(target.internal)

    # Lifetimes

    def _touch(self, session: Session, key: tuple[Protocol, Endpoint, Endpoint], now: float, *, outward: bool) -> None:
        """Refresh a session, and its mapping where the direction counts."""
        protocol, internal, remote = key
        if session.expires and not outward:
            session.both_ways = True
        until = now + self._lifetime_s(protocol, session.both_ways)
        session.expires = until
        if not outward and self._outbound_only and protocol == "udp":
            return
        mapping = session.mapping
        mapping.expires = until
        self._back[protocol, mapping.external] = mapping
        place = self._mapping_key(protocol, internal, remote)
        existing = self._out.get(place)
        if existing is None or existing.expires <= now:
            self._out[place] = mapping
        if outward:
            mapping.contacted[remote] = until

    def _lifetime_s(self, protocol: Protocol, both_ways: bool) -> float:
        if protocol == "udp":
            return self._udp_lifetime_s
        b = self.behaviour
        return b.tcp_established_lifetime_s if both_ways else b.tcp_transitory_lifetime_s

    @staticmethod
    def _live(entry: _Entry | None, now: float) -> _Entry | None:
        return entry if entry is not None and entry.expires > now else None
