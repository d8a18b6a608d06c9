"""iroh: QUIC streams between members behind NATs, through a relay or a path of their own that both ends open.

The program is ours (`overlays/crates/iroh`), as iroh is a library: its makers' relay server on the public node, and a
member around their endpoint, which says what happens in JSON. A pair shares one connection in each direction, with a
stream for every TCP connection. `mesh` is what iroh's applications do: every connection begins at the relay, and moves
with all its streams to a direct path once there is one. `relay` is an endpoint without IP transports, iroh's own way to
say so. `direct` has no switch in iroh: our member waits for a direct path before it opens a stream, and ends its
streams with that path. There is no `hub`: relayed connections are encrypted from end to end.

Members are told each other's public key and relay, as by a ticket of iroh's; nothing is looked up by DNS.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from harness.model.nat_words import Egress, PortMappingProtocol
from harness.model.trial import Trial
from harness.model.words import SEEKING_DIRECT, Mode, Verdict
from harness.overlay.contract import (
    ClaimSource,
    CrateBuild,
    Deployment,
    EndpointKind,
    File,
    Layer,
    LogLine,
    Requirement,
    Service,
)
from overlays.addressing import check_options, server_of
from overlays.json_events import events_of
from overlays.pki import Authority
from overlays.streams import SERVICE_PORT, listen_port, streams_between
from overlays.ways_out import by_tcp

PROGRAM = "overlaybench-iroh"
CONFIG = "iroh.json"
AUTHORITY = "authority.pem"
_READY = LogLine(pattern='"event":"ready"')


class Iroh:
    """One relay on the public node; on every member an endpoint that carries streams to the others."""

    name = "iroh"
    modes: frozenset[Mode] = frozenset({"mesh", "direct", "relay"})
    layer: Layer = "L7"
    kinds: frozenset[EndpointKind] = frozenset({"stream"})
    needs_server = True

    def requirements(self) -> Sequence[Requirement]:
        """One program for relay and members."""
        return (
            Requirement(
                program=PROGRAM,
                install=f"overlaybench install {self.name}",
                crate=CrateBuild(crate=PROGRAM, folder=str(Path(__file__).parent / "crates" / "iroh")),
                version_argv=(PROGRAM, "--version"),
            ),
        )

    def render(self, trial: Trial) -> Deployment:
        """Render a configuration with a fresh key for every member, and a certificate for the relay.

        Raises:
            ValueError: an option; there are none.
        """
        check_options(trial)
        server, members = server_of(trial), trial.topology.members
        at = trial.topology.address(server)
        authority = Authority("overlaybench trial CA")
        certificate = authority.issue(str(at), server=True, names=(x509.IPAddress(at),))
        keys = {member: Ed25519PrivateKey.generate() for member in members}
        files = [
            File(node=server, path="relay.crt", text=certificate.certificate),
            File(node=server, path="relay.key", text=certificate.key),
            _config(server, role="relay", address=str(at), certificate="relay.crt", key="relay.key"),
        ]
        for member in members:
            peers = {
                name: {
                    "id": keys[name].public_key().public_bytes_raw().hex(),
                    "listen": f"127.0.0.1:{listen_port(members, name)}",
                }
                for name in members
                if name != member
            }
            files += [
                File(node=member, path=AUTHORITY, text=authority.certificate),
                _config(
                    member,
                    role="member",
                    seed=keys[member].private_bytes_raw().hex(),
                    relay=f"https://{at}",
                    authority=AUTHORITY,
                    direct=trial.mode != "relay",
                    relayed=trial.mode != "direct",
                    service=f"127.0.0.1:{SERVICE_PORT}",
                    peers=peers,
                ),
            ]
        relay = _service(server)
        return Deployment(
            files=tuple(files),
            services=(relay, *(_service(member, after=(relay.name,)) for member in members)),
            streams=streams_between(members),
            claims=tuple(ClaimSource(name=f"iroh-{m}", node=m, service=f"iroh-{m}") for m in members),
        )

    def technique(self, mode: Mode) -> str | None:
        """Each probes what the other announced of itself, and answers to where a probe came from."""
        return "peer-reflexive" if mode in SEEKING_DIRECT else None

    def asks_by(self, options: Mapping[str, Any]) -> frozenset[PortMappingProtocol]:  # noqa: ARG002 - always the same
        """Return all: iroh asks by each unless told not to."""
        return frozenset(PortMappingProtocol)

    def paths_behind(self, egress: Egress, trial: Trial) -> tuple[Verdict, ...]:
        """Return `relayed` by the relay's TLS on port 443; all else is UDP."""
        return by_tcp(egress, trial)

    def claimed_path(self, src: str, dst: str, evidence: Mapping[str, str]) -> Verdict | None:
        """Read what the source said last of its connection to `dst`: streams follow their connection's path."""
        path = None
        for event in events_of(evidence.get(f"iroh-{src}", "")):
            if event.get("event") in ("path", "stream") and event.get("peer") == dst:
                path = event.get("path")
        return path if path in ("direct", "relayed") else None


def _config(node: str, **fields: object) -> File:
    return File(node=node, path=CONFIG, text=json.dumps(fields, indent=1))


def _service(node: str, after: tuple[str, ...] = ()) -> Service:
    return Service(name=f"iroh-{node}", node=node, argv=(PROGRAM, CONFIG), ready=(_READY,), after=after)
