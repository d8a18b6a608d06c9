"""Tor: every member is an onion service, and reaches the others' by name through its own SOCKS port (tor(1)).

The network is the trial's own: a directory authority on the public node and a relay on each of five helpers, the least
with which onion services work. `relay` is all there is: a rendezvous point joins two circuits and cannot read them.
`tor-single` has single-hop services, which give up their own anonymity for shorter paths: three hops less.
"""

from __future__ import annotations

import re
import secrets
import sys
from collections.abc import Mapping, Sequence

from harness.model.nat_words import Egress
from harness.model.trial import Trial
from harness.model.words import Mode, Verdict
from harness.overlay.contract import (
    ClaimSource,
    Command,
    Deployment,
    EndpointKind,
    File,
    Layer,
    LogLine,
    Requirement,
    Service,
)
from overlays.addressing import check_options, server_of
from overlays.streams import SERVICE_PORT, listen_port, streams_between
from overlays.tor.identity import Onion, onion
from overlays.tor.network import BOOTSTRAPPED, MAY_HANG, OR_PORT, PROGRAM, RELAYS, Network, argv, new_network
from overlays.ways_out import by_tcp

SOCKS_PORT = 9050
ONION_PORT = 80
# Leads to the forwarder on the service's side, which answers when the probe's service is not there yet.
KNOCK_PORT = 81
ANSWER_PORT = 7399
# Votes take some 15 s, members and the descriptors of their services as long again.
DEADLINE_S = 60.0

_UPLOADED = r"Uploading hidden service descriptor: finished with status 200"
_SINGLE_HOP = "HiddenServiceNonAnonymousMode 1\nHiddenServiceSingleHopMode 1\n"


class Tor:
    """An authority, five relays, and on every member one tor that is both client and onion service."""

    name = "tor"
    modes: frozenset[Mode] = frozenset({"relay"})
    layer: Layer = "L7"
    kinds: frozenset[EndpointKind] = frozenset({"stream"})
    needs_server = True
    single_hop = False

    def requirements(self) -> Sequence[Requirement]:
        """One Debian package, which has tor-gencert too."""
        install = "apt-get install -y tor"
        return (
            Requirement(program=PROGRAM, install=install, debian="tor", version_argv=(PROGRAM, "--version")),
            Requirement(program="tor-gencert", install=install, debian="tor"),
        )

    def helpers(self, mode: Mode) -> int:  # noqa: ARG002 - the same in all
        """Ask for a public node for every relay, so that a circuit's hops are hops."""
        return RELAYS

    def render(self, trial: Trial) -> Deployment:
        """Keys of authority and services, a torrc a process, a forwarder before every member's SOCKS port.

        Raises:
            ValueError: an option, or too few helpers.
        """
        check_options(trial)
        topology, authority = trial.topology, server_of(trial)
        relays = topology.helpers
        public = {node: topology.address(node) for node in (authority, *relays)}
        network = new_network(authority, public, relays)
        onions = {member: onion(secrets.token_bytes(32)) for member in topology.members}
        public_tors = network.services(DEADLINE_S)
        after = tuple(service.name for service in public_tors)
        tors = [service for member in onions for service in self._members_tor(member, after)]
        return Deployment(
            files=(*network.files(), *(file for m in onions for file in self._files(network, m, onions[m]))),
            prepare=(network.prepare(), *(_place_key(member) for member in onions)),
            services=(
                *public_tors,
                *tors,
                *(_forwarder(member, onions, tors) for member in onions),
            ),
            streams=streams_between(topology.members),
            claims=tuple(
                ClaimSource(name=f"circuits-{member}", node=member, argv=_circuits_argv()) for member in onions
            ),
        )

    def technique(self, mode: Mode) -> str | None:  # noqa: ARG002 - the same in all
        """No path is ever direct."""
        return None

    def paths_behind(self, egress: Egress, trial: Trial) -> tuple[Verdict, ...]:
        """Return `relayed`: relays take everything, directory requests too, on one TCP port."""
        return by_tcp(egress, trial, OR_PORT)

    def claimed_path(self, src: str, dst: str, evidence: Mapping[str, str]) -> Verdict | None:  # noqa: ARG002
        """Say `relayed` of a circuit that has been joined at a rendezvous point (control-spec: HSCR_JOINED)."""
        joined = re.search(r"PURPOSE=HS_CLIENT_REND HS_STATE=HSCR_JOINED", evidence.get(f"circuits-{src}", ""))
        return "relayed" if joined else None

    def _files(self, network: Network, member: str, service: Onion) -> tuple[File, ...]:
        """One torrc for both duties, or two: tor refuses to be an anonymous client and a single-hop service at once."""
        key = File(node=member, path="onion.b64", text=service.secret)
        client, offered = _client_torrc(network), _service_torrc()
        if not self.single_hop:
            return (key, File(node=member, path="torrc", text=client + offered))
        common = network.common().replace("DataDirectory data\n", "DataDirectory service-data\n")
        single = f"{common}SocksPort 0\n{_SINGLE_HOP}{offered}"
        return (
            key,
            File(node=member, path="torrc", text=client),
            File(node=member, path="service-torrc", text=single),
        )

    def _members_tor(self, member: str, after: tuple[str, ...]) -> tuple[Service, ...]:
        bootstrapped, uploaded = LogLine(pattern=BOOTSTRAPPED), LogLine(pattern=_UPLOADED)
        one = Service(
            name=f"tor-{member}",
            node=member,
            argv=argv("torrc"),
            ready=(bootstrapped,) if self.single_hop else (bootstrapped, uploaded),
            after=after,
            deadline_s=DEADLINE_S,
            may_hang=MAY_HANG,
        )
        if not self.single_hop:
            return (one,)
        service = Service(
            name=f"tor-service-{member}",
            node=member,
            argv=argv("service-torrc"),
            ready=(bootstrapped, uploaded),
            after=after,
            deadline_s=DEADLINE_S,
            may_hang=MAY_HANG,
        )
        return (one, service)


class TorSingle(Tor):
    """Tor with single-hop onion services."""

    name = "tor-single"
    single_hop = True


def _client_torrc(network: Network) -> str:
    return (
        f"{network.common()}SocksPort 127.0.0.1:{SOCKS_PORT}\nControlSocket unix:/run/tor-control RelaxDirModeCheck\n"
    )


def _service_torrc() -> str:
    """Return the torrc of a service; only its part `rend`, at level info, tells of the descriptor's upload."""
    return (
        "Log notice [rend]info stdout\n"
        f"HiddenServiceDir service\nHiddenServicePort {ONION_PORT} 127.0.0.1:{SERVICE_PORT}\n"
        f"HiddenServicePort {KNOCK_PORT} 127.0.0.1:{ANSWER_PORT}\n"
    )


def _place_key(member: str) -> Command:
    """Return the command that places the key as binary, in a folder closed to others, as tor wants it."""
    script = "umask 077 && mkdir service && base64 -d onion.b64 >service/hs_ed25519_secret_key"
    return Command(node=member, argv=("sh", "-c", script))


def _forwarder(member: str, onions: Mapping[str, Onion], tors: Sequence[Service]) -> Service:
    """Return the forwarder, which listens once every other member's service has been reached through the network."""
    members = list(onions)
    routes = [f"{listen_port(members, dst)}={onions[dst].address}:{ONION_PORT}" for dst in members if dst != member]
    program = (sys.executable, "-m", "overlays.socks", f"127.0.0.1:{SOCKS_PORT}", str(ANSWER_PORT), str(KNOCK_PORT))
    return Service(
        name=f"socks-{member}",
        node=member,
        argv=(*program, *routes),
        ready=(LogLine(pattern="socks: listening"),),
        after=tuple(service.name for service in tors),
        deadline_s=DEADLINE_S,
    )


def _circuits_argv() -> tuple[str, ...]:
    return (sys.executable, "-m", "overlays.tor.circuits", "/run/tor-control")
