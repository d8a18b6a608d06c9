"""NetBird: WireGuard tunnels that ICE sets up, with its makers' combined server (netbird-server) on the public node.

`mesh` is its default: relayed at first, direct once ICE has a pair. `relay` is a switch of the client. `direct` is left
out: there is no switch against the relay, and the combined server has one built in.

Members log in, are given their address by the administrator's part, and then connect. Left alone, the server deals
random addresses of 100.64.0.0/10, which labs with carriers use. Connections are lazy: the first packet starts one.
"""

from __future__ import annotations

import json
import secrets
import shlex
import sys
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import yaml

from harness.model.nat_words import Egress
from harness.model.trial import Trial
from harness.model.words import Mode, Verdict
from harness.overlay.contract import (
    ClaimSource,
    Command,
    CommandSays,
    Deployment,
    File,
    GoBuild,
    InterfaceAddress,
    IpEndpoint,
    Layer,
    LogLine,
    Requirement,
    Service,
)
from overlays.addressing import addresses_of, check_options, device, server_of
from overlays.ways_out import by_tcp

NETWORK = IPv4Network("10.16.0.0/16")
# Everything but STUN is on one port; this one gets out of most networks.
PORT = 443
STUN_PORT = 3478
# The client asks them all in which cloud it is, and has no switch against it.
METADATA_SERVICES = (IPv4Address("169.254.169.254"), IPv4Address("100.100.100.200"))
_SOCKET = "/run/netbird.sock"
_CLIENT = ("netbird", "--daemon-addr", f"unix://{_SOCKET}")
_ADMIN = (sys.executable, "-m", "overlays.netbird.admin")
_MODULE = str(Path(__file__).parents[1] / "go" / "netbird")
_SERVER_ENV = {"NB_SETUP_PAT_ENABLED": "true", "NB_DISABLE_GEOLOCATION": "true"}
_MEMBER_ENV = {
    "NB_STATE_DIR": ".",
    "NB_DISABLE_CUSTOM_ROUTING": "true",
    "NB_METRICS_PUSH_ENABLED": "false",
    # A client that looks for routers to map its ports does not end within 3 s of SIGTERM.
    "NB_DISABLE_NAT_MAPPER": "true",
    "NB_DISABLE_SSH_CONFIG": "true",
}


class NetBird:
    """Management, signal, relay and STUN in one process on the public node; a client on every member."""

    name = "netbird"
    modes: frozenset[Mode] = frozenset({"mesh", "relay"})
    layer: Layer = "L3"
    needs_server = True
    network = NETWORK

    def requirements(self) -> Sequence[Requirement]:
        """Two programs of one Go module; the server has SQLite in C."""
        install = "overlaybench install netbird"
        client = GoBuild(module=_MODULE, package="github.com/netbirdio/netbird/client", memory_mib=700)
        server = GoBuild(module=_MODULE, package="github.com/netbirdio/netbird/combined", cgo=True, memory_mib=1300)
        return (
            Requirement(program="netbird", install=install, go=client, version_argv=("netbird", "version")),
            Requirement(program="netbird-server", install=install, go=server),
        )

    def render(self, trial: Trial) -> Deployment:
        """Render the server's configuration; members are told everything by their client program.

        Raises:
            ValueError: an option; there are none.
        """
        check_options(trial)
        server, addresses = server_of(trial), addresses_of(trial, NETWORK)
        at = trial.topology.address(server)
        url = f"http://{at}:{PORT}"
        instance = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1]).read())"
        hub = Service(
            name="netbird-server",
            node=server,
            argv=("netbird-server", "--config", "server.yaml"),
            env=_SERVER_ENV,
            ready=(
                CommandSays(argv=(sys.executable, "-c", instance, f"{url}/api/instance"), pattern="setup_required"),
            ),
            configure=((*_ADMIN, "setup", url, str(NETWORK)),),
            deadline_s=30.0,
        )
        members = trial.topology.members
        nowhere = (("ip", "route", "add", "unreachable", str(service)) for service in METADATA_SERVICES)
        return Deployment(
            files=(File(node=server, path="server.yaml", text=_server_config(at)),),
            prepare=tuple(Command(node=member, argv=argv) for argv in nowhere for member in members),
            services=(
                hub,
                *(_member(trial, member, url, addresses[member], hub) for member in members),
                *(_up(m, url, addresses[m], after=tuple(f"netbird-{one}" for one in members)) for m in members),
            ),
            endpoints={m: IpEndpoint(address=addresses[m], interface=device("nb", m)) for m in members},
            claims=tuple(ClaimSource(name=f"status-{m}", node=m, argv=(*_CLIENT, "status", "--json")) for m in members),
        )

    def technique(self, mode: Mode) -> str | None:
        """ICE (RFC 8445): checks learn peer-reflexive candidates."""
        return "peer-reflexive" if mode == "mesh" else None

    def paths_behind(self, egress: Egress, trial: Trial) -> tuple[Verdict, ...]:
        """Return `relayed`: management, signal and relay are all on TCP port 443."""
        return by_tcp(egress, trial, PORT)

    def claimed_path(self, src: str, dst: str, evidence: Mapping[str, str]) -> Verdict | None:
        """`netbird status` at the source: the connection type of the peer."""
        try:
            status = json.loads(evidence.get(f"status-{src}", ""))
        except ValueError:
            return None
        for peer in (status.get("peers") or {}).get("details") or ():
            if str(peer.get("fqdn", "")).split(".")[0] == dst:
                return {"P2P": "direct", "Relayed": "relayed"}.get(str(peer.get("connectionType")))  # type: ignore[return-value]
        return None


def _server_config(at: IPv4Address) -> str:
    server = {
        "listenAddress": f"{at}:{PORT}",
        "exposedAddress": f"http://{at}:{PORT}",
        "stunPorts": [STUN_PORT],
        "healthcheckAddress": "127.0.0.1:9000",
        "metricsPort": 9090,
        "logFile": "console",
        "authSecret": secrets.token_hex(16),
        "dataDir": ".",
        "disableAnonymousMetrics": True,
        "disableGeoliteUpdate": True,
        "auth": {"issuer": f"http://{at}:{PORT}/oauth2"},
        "store": {"engine": "sqlite"},
    }
    return yaml.safe_dump({"server": server}, sort_keys=False)


def _member(trial: Trial, member: str, url: str, address: IPv4Address, hub: Service) -> Service:
    return Service(
        name=f"netbird-{member}",
        node=member,
        argv=(*_CLIENT, "service", "run", "--config", "config.json", "--log-file", "console"),
        env=_MEMBER_ENV | ({"NB_FORCE_RELAY": "true"} if trial.mode == "relay" else {}),
        ready=(CommandSays(argv=("test", "-S", _SOCKET)),),
        configure=(
            (*_CLIENT, "login", *_who(member, url), "--setup-key-file", f"../{hub.node}/members.key"),
            (*_ADMIN, "address", url, f"../{hub.node}/owner.token", member, str(address)),
        ),
        after=(hub.name,),
        deadline_s=25.0,
    )


def _up(member: str, url: str, address: IPv4Address, after: tuple[str, ...]) -> Service:
    """Connect once all members have their addresses: a change later makes clients give up a connection just begun."""
    up = shlex.join((*_CLIENT, "up", *_who(member, url), "--disable-dns", "--interface-name", device("nb", member)))
    return Service(
        name=f"up-{member}",
        node=member,
        argv=("sh", "-c", f"{up} && echo up: done && exec sleep infinity"),
        env=_MEMBER_ENV,
        ready=(LogLine(pattern="(?m)^up: done"), InterfaceAddress(address=address)),
        after=after,
        deadline_s=25.0,
    )


def _who(member: str, url: str) -> tuple[str, ...]:
    return ("--management-url", url, "--hostname", member)
