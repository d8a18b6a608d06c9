"""Tailscale with everything it needs self-hosted: Headscale coordinates, derper is STUN server and relay (DERP).

`mesh` is its default, `relay` a switch of tailscaled. `direct` is a DERP map whose only node is `STUNOnly`: no node
relays, but no node tells a member that it is called either, and two NATs open only when both send. So in `direct`
members knock at each other with `tailscale ping` until it is answered.

Headscale deals addresses in the order in which nodes log in, so members log in one after the other.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

from harness.model.nat_words import Egress, PortMappingProtocol
from harness.model.trial import Trial
from harness.model.words import SEEKING_DIRECT, Mode, Verdict
from harness.overlay.contract import (
    ClaimSource,
    CommandSays,
    Deployment,
    GoBuild,
    IpEndpoint,
    Layer,
    LogLine,
    Requirement,
    Service,
)
from overlays.addressing import addresses_of, check_options, device, server_of
from overlays.stun_server import add_second, stun_addresses
from overlays.tailscale.server import AUTHORITY, TLS_PORT, Places, files, services
from overlays.ways_out import by_tcp

NETWORK = IPv4Network("100.64.0.0/24")
_SOCKET = "/run/tailscaled.sock"
_MODULES = Path(__file__).parents[1] / "go"
_ENV = {"TS_NO_LOGS_NO_SUPPORT": "true"}
_KNOCK = f"""\
for peer; do
    until tailscale --socket={_SOCKET} ping -c 1 --timeout=1s "$peer"; do sleep 0.1; done &
done
echo knocking
wait
exec sleep infinity
"""


class Tailscale:
    """Headscale and derper on the public node, tailscaled on the members."""

    name = "tailscale"
    modes: frozenset[Mode] = frozenset({"mesh", "direct", "relay"})
    layer: Layer = "L3"
    needs_server = True
    network = NETWORK

    def requirements(self) -> Sequence[Requirement]:
        """Four programs of two Go modules."""
        programs = {
            "tailscaled": ("tailscale", "tailscale.com/cmd/tailscaled"),
            "tailscale": ("tailscale", "tailscale.com/cmd/tailscale"),
            "derper": ("tailscale", "tailscale.com/cmd/derper"),
            "headscale": ("headscale", "github.com/juanfont/headscale/cmd/headscale"),
        }
        return tuple(
            Requirement(
                program=program,
                install="overlaybench install tailscale",
                go=GoBuild(module=str(_MODULES / module), package=package),
                version_argv=(program, "--version"),
            )
            for program, (module, package) in programs.items()
        )

    def render(self, trial: Trial) -> Deployment:
        """Headscale's and derper's configuration; a key that lets members in is made on the server's node.

        Raises:
            ValueError: an option; Tailscale takes none here.
        """
        check_options(trial)
        server = server_of(trial)
        both = stun_addresses(trial)
        places = Places(server, *both)
        addresses = _in_order_of_login(trial)
        daemons = [*services(places)]
        for member in addresses:
            daemons.append(_member(trial, member, places, after=daemons[-1].name))
        if trial.mode == "direct":
            daemons += [_knocker(member, addresses, after=daemons[-1].name) for member in addresses]
        return Deployment(
            files=files(places, NETWORK, relays=trial.mode != "direct"),
            prepare=(add_second(trial, both),),
            services=tuple(daemons),
            endpoints={m: IpEndpoint(address=address, interface=device("ts", m)) for m, address in addresses.items()},
            claims=tuple(
                ClaimSource(name=f"status-{m}", node=m, argv=("tailscale", f"--socket={_SOCKET}", "status", "--json"))
                for m in addresses
            ),
        )

    def technique(self, mode: Mode) -> str | None:
        """disco pings to every endpoint that the other announced; pongs teach where they really came from."""
        return "peer-reflexive" if mode in SEEKING_DIRECT else None

    def asks_by(self, options: Mapping[str, Any]) -> frozenset[PortMappingProtocol]:  # noqa: ARG002 - always the same
        """Return all: tailscaled asks by each, unless a tailnet's policy says no."""
        return frozenset(PortMappingProtocol)

    def paths_behind(self, egress: Egress, trial: Trial) -> tuple[Verdict, ...]:
        """Return `relayed`: Headscale and DERP are both on TCP port 443."""
        return by_tcp(egress, trial, TLS_PORT)

    def claimed_path(self, src: str, dst: str, evidence: Mapping[str, str]) -> Verdict | None:
        """`tailscale status`: a peer in use has the address it is at, or only the region of its relay."""
        try:
            status = json.loads(evidence.get(f"status-{src}", ""))
        except ValueError:
            return None
        for peer in (status.get("Peer") or {}).values():
            if peer.get("HostName") == dst:
                if peer.get("CurAddr"):
                    return "direct"
                return "relayed" if peer.get("Relay") else "none"
        return None


def _in_order_of_login(trial: Trial) -> dict[str, IPv4Address]:
    """Headscale deals the first host address first; its server has none."""
    members = [name for name in addresses_of(trial, NETWORK) if name != server_of(trial)]
    return dict(zip(members, NETWORK.hosts(), strict=False))


def _member(trial: Trial, member: str, places: Places, after: str) -> Service:
    client = ("tailscale", f"--socket={_SOCKET}")
    login = f"--login-server={places.login_url}"
    up = ("up", login, f"--auth-key=file:../{places.server}/members.key", f"--hostname={member}", "--timeout=20s")
    return Service(
        name=f"tailscaled-{member}",
        node=member,
        argv=(
            "tailscaled",
            f"--tun={device('ts', member)}",
            "--statedir=.",
            f"--socket={_SOCKET}",
            "--no-logs-no-support",
        ),
        env={
            **_ENV,
            # Go reads the trusted authorities from there.
            "SSL_CERT_FILE": f"../{places.server}/{AUTHORITY}",
            **({"TS_DEBUG_NEVER_DIRECT_UDP": "true"} if trial.mode == "relay" else {}),
        },
        ready=(CommandSays(argv=("test", "-S", _SOCKET)),),
        configure=((*client, *up, "--accept-dns=false", "--netfilter-mode=off"),),
        after=(after,),
        deadline_s=25.0,
    )


def _knocker(member: str, addresses: Mapping[str, IPv4Address], after: str) -> Service:
    peers = [str(address) for name, address in addresses.items() if name != member]
    return Service(
        name=f"knock-{member}",
        node=member,
        argv=("sh", "-c", _KNOCK, "knock", *peers),
        env=_ENV,
        ready=(LogLine(pattern="^knocking"),),
        after=(after,),
    )
