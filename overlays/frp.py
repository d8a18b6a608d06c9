"""frp: reverse tunnels, the class of ngrok, whose own service cannot be deployed (frps and frpc, their JSON files).

`hub` is a `tcp` proxy: the public node listens for everybody, and the calling member runs nothing at all; with the
option `proxy: stcp` callers have an frpc and a secret. Both are hubs: frps ends the encryption of each leg
(`useEncryption`, TLS) and could read what it carries, so there is no `relay`. `direct` is an `xtcp` proxy, which
punches and then speaks QUIC, or KCP with `protocol: kcp`; `mesh` lets its visitors fall back to `stcp`, connection by
connection.

STUN servers are the trial's own, on two addresses: frp guesses ports from the difference of two mappings, and does
nothing with one. Visitors start when all proxies are known: one that finds no proxy waits 10 s.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from harness.model.nat_words import Egress
from harness.model.trial import Trial
from harness.model.words import SEEKING_DIRECT, Mode, Verdict
from harness.overlay.contract import (
    ClaimSource,
    Deployment,
    EndpointKind,
    File,
    GoBuild,
    Layer,
    LogLine,
    OverlayOptions,
    Requirement,
    Service,
    StreamEndpoint,
)
from overlays.addressing import options_of, server_of
from overlays.streams import SERVICE_PORT, listen_port, streams_between
from overlays.stun_server import COTURN, STUN_PORT, add_second, stun_addresses, stun_server
from overlays.ways_out import NOTHING, by_tcp

# The port that gets out of most networks; frp speaks TLS there.
CONTROL_PORT = 443
FIRST_REMOTE_PORT = 6001
FALLBACK_MS = 1000


class FrpOptions(OverlayOptions):
    """What holes carry; what a hub's proxies are: public ports, or private ones for visitors with a secret."""

    protocol: Literal["quic", "kcp"] = "quic"
    proxy: Literal["tcp", "stcp"] = "tcp"


class Frp:
    """frps on the public node; on every member an frpc that offers its service, and one that visits the others'."""

    name = "frp"
    modes: frozenset[Mode] = frozenset({"hub", "mesh", "direct"})
    layer: Layer = "L7"
    kinds: frozenset[EndpointKind] = frozenset({"stream"})
    needs_server = True
    depends_on_server: Literal[True] = True
    options: type[OverlayOptions] = FrpOptions

    def requirements(self) -> Sequence[Requirement]:
        """Two programs of one Go module, and coturn as STUN server."""
        builds = tuple(
            Requirement(
                program=program,
                install="overlaybench install frp",
                go=GoBuild(
                    module=str(Path(__file__).parent / "go" / "frp"),
                    package=f"github.com/fatedier/frp/cmd/{program}",
                    tags=("noweb",),
                    memory_mib=300,
                ),
                version_argv=(program, "--version"),
            )
            for program in ("frps", "frpc")
        )
        return (*builds, COTURN)

    def render(self, trial: Trial) -> Deployment:
        """Render a configuration for every process; token and secrets are fresh.

        Raises:
            ValueError: an option, its value, or a segment without a second address for the STUN server.
        """
        options = options_of(trial, FrpOptions)
        server, members = server_of(trial), trial.topology.members
        at, token, secret = trial.topology.address(server), secrets.token_hex(16), secrets.token_hex(16)
        common: dict[str, Any] = {
            "serverAddr": str(at),
            "serverPort": CONTROL_PORT,
            "auth": {"token": token},
            "natHoleStunServer": f"{at}:{STUN_PORT}",
            "loginFailExit": False,
            "log": {"to": "console", "level": "debug", "disablePrintColor": True},
        }
        hub = {"bindAddr": str(at), "bindPort": CONTROL_PORT, "auth": {"token": token}, "log": common["log"]}
        public_hub = trial.mode == "hub" and options.proxy == "tcp"
        files = [_file(server, "frps", hub)]
        for member in members:
            offered = {"proxies": _proxies(trial, member, options, secret)}
            files.append(_file(member, "frpc", common | offered))
            if not public_hub:
                visited = {"visitors": _visitors(trial, member, options, secret)}
                files.append(_file(member, "visitor", common | visited))
        offering = tuple(f"frpc-{member}" for member in members)
        addresses = stun_addresses(trial) if trial.mode in SEEKING_DIRECT else ()
        return Deployment(
            files=tuple(files),
            prepare=(add_second(trial, addresses),) if addresses else (),
            services=(
                *((stun_server(trial, addresses),) if addresses else ()),
                _service("frps", server, "frps", "frps started successfully"),
                *(
                    _service(f"frpc-{m}", m, "frpc", *_all_of("start proxy success", offer), after=_before(addresses))
                    for m in members
                    for offer in [_proxies(trial, m, options, secret)]
                ),
                *(
                    _service(f"visitor-{m}", m, "visitor", r"visitor added: \[", after=offering)
                    for m in (() if public_hub else members)
                ),
            ),
            streams=_public_streams(trial) if public_hub else streams_between(members),
            claims=()
            if public_hub
            else tuple(ClaimSource(name=f"visitor-{m}", node=m, service=f"visitor-{m}") for m in members),
        )

    def paths_behind(self, egress: Egress, trial: Trial) -> tuple[Verdict, ...]:
        """Return `relayed` by frps's port 443; a hub's public ports are others, and callers need those."""
        public = trial.mode == "hub" and options_of(trial, FrpOptions).proxy == "tcp"
        return NOTHING if public and egress is Egress.TCP_443 else by_tcp(egress, trial, CONTROL_PORT)

    def claimed_path(self, src: str, dst: str, evidence: Mapping[str, str]) -> Verdict | None:
        """Return what the visitor at `src` logged last: a hole, or a connection that it gave to the fallback.

        One that has no hole to punch is relayed, and so is who needs none.
        """
        log = evidence.get(f"visitor-{src}", "")
        line = r"establishing nat hole connection successful|try to transfer connection to visitor"
        said = re.findall(rf"\[{re.escape(dst)}\] ({line})", log)
        if said:
            return "direct" if said[-1].startswith("establishing") else "relayed"
        return None if "/xtcp.go" in log else "relayed"


def _proxies(trial: Trial, member: str, options: FrpOptions, secret: str) -> list[dict[str, Any]]:
    """Return what a member offers: its service, under its own name and in every way that the mode has."""
    service = {"localIP": "127.0.0.1", "localPort": SERVICE_PORT}
    if trial.mode == "hub" and options.proxy == "tcp":
        return [{"name": member, "type": "tcp", "remotePort": _remote_port(trial, member), **service}]
    private = service | {"secretKey": secret}
    ways = {"hub": ("stcp",), "direct": ("xtcp",), "mesh": ("xtcp", "stcp")}[trial.mode]
    return [{"name": f"{way}-{member}", "type": way, **private} for way in ways]


def _visitors(trial: Trial, member: str, options: FrpOptions, secret: str) -> list[dict[str, Any]]:
    """Return a visitor for every other member's service. The fallback has no port: it is given connections."""
    made: list[dict[str, Any]] = []
    for peer in trial.topology.members:
        if peer == member:
            continue
        port = {"bindAddr": "127.0.0.1", "bindPort": listen_port(trial.topology.members, peer)}
        relayed = {"name": f"relayed-{peer}", "type": "stcp", "serverName": f"stcp-{peer}", "secretKey": secret}
        if trial.mode == "hub":
            made.append(relayed | {"name": peer} | port)
            continue
        punching = {"name": peer, "type": "xtcp", "serverName": f"xtcp-{peer}", "secretKey": secret, **port}
        # As fast as the visitor can: it tries again 10 s after a try began, and no oftener.
        punching |= {"protocol": options.protocol, "keepTunnelOpen": True}
        punching |= {"maxRetriesAnHour": 3600, "minRetryInterval": 1}
        if trial.mode == "mesh":
            punching |= {"fallbackTo": relayed["name"], "fallbackTimeoutMs": FALLBACK_MS}
            made.append(relayed | {"bindPort": -1})
        made.append(punching)
    return made


def _remote_port(trial: Trial, member: str) -> int:
    return FIRST_REMOTE_PORT + trial.topology.members.index(member)


def _public_streams(trial: Trial) -> tuple[StreamEndpoint, ...]:
    """Whoever reaches the public node reaches the service."""
    at = trial.topology.address(server_of(trial))
    return tuple(
        one.model_copy(update={"listen_address": at, "listen_port": _remote_port(trial, one.dst)})
        for one in streams_between(trial.topology.members)
    )


def _before(stun: Sequence[object]) -> tuple[str, ...]:
    return ("frps", "stun") if stun else ("frps",)


def _all_of(line: str, offered: Sequence[Mapping[str, Any]]) -> list[str]:
    """Each proxy says it for itself, with its name in brackets before."""
    return [rf"\[{re.escape(str(one['name']))}\] {line}" for one in offered]


def _file(node: str, name: str, config: Mapping[str, Any]) -> File:
    return File(node=node, path=f"{name}.json", text=json.dumps(config, indent=1))


def _service(name: str, node: str, role: str, *lines: str, after: tuple[str, ...] = ()) -> Service:
    program = "frps" if role == "frps" else "frpc"
    return Service(
        name=name,
        node=node,
        argv=(program, "-c", f"{role}.json"),
        ready=tuple(LogLine(pattern=line) for line in lines),
        after=after,
    )
