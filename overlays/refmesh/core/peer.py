"""A peer as a node sees it: its session, its way, and which inner addresses are its own."""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Sequence
from typing import Any

from overlays.refmesh.core import packets
from overlays.refmesh.core.access import Access
from overlays.refmesh.core.check import Path
from overlays.refmesh.core.connectivity import PathFinder
from overlays.refmesh.core.handover import Handover
from overlays.refmesh.core.path_mtu import ANY, PathMtu
from overlays.refmesh.core.schedule import Schedule
from overlays.refmesh.core.session import Session
from overlays.refmesh.credentials import Certificate
from overlays.refmesh.wire import messages
from overlays.refmesh.wire.control import Endpoint

_UDP = 17
RETRY_S = (0.1, 0.3, 0.9, 2.4, 5.0)
DIRECT_RETRY_S = (0.25,) * 6 + (0.5,) * 4 + (1.0,) * 5 + (5.0,)
"""Waits between handshake initiations to another refmesh node. Without a relay they are what punches the hole, and come
quicker; where a relay carries them, haste would only add load to a slow machine."""


class Peer:
    """Another node, or the server as the other end of a tunnel."""

    def __init__(
        self,
        name: str,
        session: Session,
        allowed_ips: Sequence[str],
        *,
        finder: PathFinder | None = None,
        certificate: Certificate | None = None,
        any_source: bool = False,
    ) -> None:
        """`finder` None: the peer is where it was last heard from (WireGuard's roaming)."""
        self.name, self.session, self.finder, self.certificate = name, session, finder, certificate
        self._set_networks(allowed_ips)
        self.contested = False
        """Whether somebody else had the name or an address of its certificate, and its handshake is still to come."""
        self.successor: Certificate | None = None
        """A newer certificate, whose name or an address somebody else has; it counts from the next handshake on."""
        self.any_source = any_source
        self.path: Path | None = None
        self.prefix = b""
        """The relay header of the path in use; empty on a direct one."""
        self.handover = Handover()
        """The sockets at which it may still aim, though they are not the one in use."""
        self.numbers: dict[int, int] = {}
        """Its relay number at each server, by the server's index."""
        self.seen: dict[int, Endpoint] = {}
        """Where each server sees it, by the server's index; no member can choose that, so it may be punched at."""
        self.access: Access | None = None
        """The access rules between us; None: all may pass (a static peer, or a server)."""
        self.online: dict[int, bool] = {}
        self.hub_servers: set[int] = set()
        """The servers that reach it as their client in hub mode."""
        self.mtus: dict[Path, PathMtu] = {}
        """What its paths are known to carry; those that carried large packets."""
        self.probes: dict[bytes, tuple[PathMtu, int]] = {}
        """Probes that are out, by their transaction: of which search, and of which size."""
        self.limit = ANY
        """The largest packet that may be sent to it now, in octets."""
        self.told_s = -math.inf
        """When our host was last told of that."""
        self.elsewhere_s = -math.inf
        """When it was last heard on another path than the one in use, and that one checked."""
        self.data_sent_s = -math.inf
        self.schedule: Schedule[Peer] = Schedule()
        """When it is to be looked at; the node's, once it is one of its peers."""
        self.bulk = False
        """Whether it reads the bulk framing."""
        self.tx_bytes = self.rx_bytes = 0
        self.foreign = 0
        """Packets of it that had somebody else's source address."""
        self.foreign_logged = self.loop_logged = False
        self.direct_s: float | None = None
        """When a direct path was first in use."""

    @property
    def due_s(self) -> float:
        """When it is to be looked at."""
        return self.schedule.at(self)

    @due_s.setter
    def due_s(self, at: float) -> None:
        self.schedule.set(self, at)

    @property
    def wanted(self) -> bool:
        """Whether a session should be kept up without there being traffic."""
        return self.finder is not None and (not self.online or any(self.online.values()))

    def certify(self, certificate: Certificate, allowed_ips: Sequence[str]) -> None:
        """Note that the peer has a newer certificate."""
        self.name, self.certificate = certificate.name, certificate
        self._set_networks(allowed_ips)

    def _set_networks(self, allowed_ips: Sequence[str]) -> None:
        self.networks = tuple(ipaddress.ip_network(address, strict=False) for address in allowed_ips)
        hosts = [network for network in self.networks if network.num_addresses == 1]
        self.sources = frozenset(network.network_address.packed for network in hosts)
        self._wide = tuple(network for network in self.networks if network.num_addresses > 1)

    def take(self, path: Path | None) -> bool:
        """Use this path from now on; False when it was in use already."""
        if path == self.path:
            return False
        self.path = path
        self.prefix = messages.RELAY_HEAD.pack(messages.RELAY, path.relay) if path is not None and path.relay else b""
        known = self.mtus.get(path) if path is not None else None
        self.limit = known.limit(len(self.prefix)) if known is not None else ANY
        return True

    def loops(self, packet: bytes) -> bool:
        """Whether a packet of our host is what we ourselves have sent to this peer: the way there leads into here."""
        path = self.path
        if path is None or path.endpoint[0] == "tls":
            return False
        start = 20 if packet[0] >> 4 == 4 else 40
        if packet[9 if start == 20 else 6] != _UDP or len(packet) < start + 8:
            return False
        port = packet[start + 2] << 8 | packet[start + 3]
        return port == path.endpoint[1] and packets.address_text(packets.destination_bytes(packet)) == path.endpoint[0]

    def owns(self, packed: bytes) -> bool:
        """Whether an inner source address is this peer's to use (cryptokey routing)."""
        if packed in self.sources or self.any_source:
            return bool(packed)
        return bool(packed) and any(ipaddress.ip_address(packed) in network for network in self._wide)

    def admits(self, packet: bytes, now: float) -> bool:
        """Whether an inner packet that came from this peer may go to the TUN device."""
        if not self.owns(packets.source_bytes(packet)):
            self.foreign += 1
            return False
        access = self.access
        return access is None or access.open or access.inbound(packet, now)

    def status(self, now: float) -> dict[str, Any]:
        """Return the peer for the status socket: `path` is direct, relayed or none; `rtt_ms` the path's own checks'."""
        check = self.finder.checks.get(self.path) if self.finder is not None and self.path is not None else None
        rtt_s = check.rtt_s if check is not None else math.inf
        up = self.session.usable(now) and self.path is not None
        return {
            "name": self.name,
            "addresses": [str(network) for network in self.networks],
            "path": "none" if not up or self.path is None else "direct" if self.path.direct else "relayed",
            "endpoint": "{}:{}".format(*self.path.endpoint) if up and self.path is not None else None,
            "rtt_ms": round(rtt_s * 1000, 3) if math.isfinite(rtt_s) else None,
            "mtu": min(self.limit, 65535),
            "tx_bytes": self.tx_bytes,
            "rx_bytes": self.rx_bytes,
            "foreign_packets": self.foreign,
            "handshake_s_ago": round(now - self.session.established_s, 3) if self.session.current else None,
            "candidates": [
                {
                    "kind": check.kind,
                    "endpoint": "{}:{}".format(*check.path.endpoint),
                    "valid": check.valid,
                    "answered": check.answered,
                    "rtt_ms": round(check.rtt_s * 1000, 3) if math.isfinite(check.rtt_s) else None,
                }
                for check in (self.finder.checks.values() if self.finder is not None else ())
            ],
        }
