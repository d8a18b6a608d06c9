"""Tailscale with everything it needs self-hosted: Headscale coordinates, derper is STUN server and relay (DERP).

`mesh` is its default, `relay` a switch of tailscaled. There is no `direct`: members find each other by messages through
DERP, and whoever may use DERP for those may use it for data.

Headscale deals addresses in the order in which nodes log in, so members log in one after the other.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import yaml
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from harness.model.scenario import Mode, Verdict
from harness.model.trial import Trial
from harness.overlay.contract import (
    ClaimSource,
    CommandSays,
    Deployment,
    Endpoint,
    File,
    GoBuild,
    Layer,
    LogLine,
    Requirement,
    Service,
)
from overlays.addressing import addresses_of, check_options, server_of
from overlays.pki import Authority, Identity

NETWORK = IPv4Network("100.64.0.0/24")
COORDINATION_PORT = 8080
DERP_PORT = 443
STUN_PORT = 3478
_SOCKET = "/run/tailscaled.sock"
_MODULES = Path(__file__).parent / "go"
_ENV = {"TS_NO_LOGS_NO_SUPPORT": "true"}


class Tailscale:
    """Headscale and derper on the public node, tailscaled on the members."""

    name = "tailscale"
    modes: frozenset[Mode] = frozenset({"mesh", "relay"})
    layer: Layer = "L3"
    needs_server = True

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
        outer = trial.topology.address(server)
        addresses = _in_order_of_login(trial)
        certificate = Authority("overlaybench trial CA").issue(str(outer), server=True, names=(x509.IPAddress(outer),))
        files = (
            File(node=server, path="headscale.yaml", text=_yaml(_headscale(outer))),
            File(node=server, path="derp.yaml", text=_yaml(_derp_map(outer, certificate))),
            File(node=server, path=f"certificates/{outer}.crt", text=certificate.certificate),
            File(node=server, path=f"certificates/{outer}.key", text=certificate.key),
        )
        services = [_derper(server, outer), _headscale_service(server)]
        for member in addresses:
            services.append(_member(trial, member, after=services[-1].name))
        return Deployment(
            files=files,
            services=tuple(services),
            endpoints={m: Endpoint(address=address, interface=f"ts-{m}") for m, address in addresses.items()},
            claims=tuple(
                ClaimSource(name=f"status-{m}", node=m, argv=("tailscale", f"--socket={_SOCKET}", "status", "--json"))
                for m in addresses
            ),
        )

    def technique(self, mode: Mode) -> str | None:
        """disco pings to every endpoint that the other announced; pongs teach where they really came from."""
        return "peer-reflexive" if mode == "mesh" else None

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


def _yaml(data: Mapping[str, object]) -> str:
    return yaml.safe_dump(dict(data), sort_keys=False)


def _headscale(outer: IPv4Address) -> dict[str, object]:
    """Every path is relative to the node's folder; nothing is fetched from outside."""
    return {
        "server_url": f"http://{outer}:{COORDINATION_PORT}",
        "listen_addr": f"{outer}:{COORDINATION_PORT}",
        "metrics_listen_addr": "127.0.0.1:9090",
        "grpc_listen_addr": "127.0.0.1:50443",
        "noise": {"private_key_path": "noise.key"},
        "prefixes": {"v4": str(NETWORK), "v6": "fd7a:115c:a1e0::/64", "allocation": "sequential"},
        "derp": {"urls": [], "paths": ["derp.yaml"], "auto_update_enabled": False, "server": {"enabled": False}},
        "disable_check_updates": True,
        "database": {"type": "sqlite", "sqlite": {"path": "headscale.sqlite", "write_ahead_log": False}},
        "log": {"level": "info", "format": "text"},
        "policy": {"mode": "file", "path": ""},
        "dns": {"magic_dns": False, "base_domain": "trial.invalid", "override_local_dns": False},
        "unix_socket": "/run/headscale.sock",
        "unix_socket_permission": "0700",
        "logtail": {"enabled": False},
        # Headscale gathers changes for up to 0.8 s before it tells anybody; the vendor's own service does not.
        "tuning": {"batch_change_delay": "10ms", "node_store_batch_timeout": "10ms"},
    }


def _derp_map(outer: IPv4Address, identity: Identity) -> dict[str, object]:
    """One region with one node, known by the hash of its certificate (tailcfg.DERPNode, `CertName`)."""
    certificate = x509.load_pem_x509_certificate(identity.certificate.encode())
    digest = hashlib.sha256(certificate.public_bytes(Encoding.DER)).hexdigest()
    node = {
        "name": "900a",
        "regionid": 900,
        "hostname": str(outer),
        "certname": f"sha256-raw:{digest}",
        "ipv4": str(outer),
        "ipv6": "none",
        "derpport": DERP_PORT,
        "stunport": STUN_PORT,
    }
    return {"regions": {900: {"regionid": 900, "regioncode": "lab", "regionname": "lab", "nodes": [node]}}}


def _derper(server: str, outer: IPv4Address) -> Service:
    argv = [
        *("derper", "-a", f"{outer}:{DERP_PORT}", "-http-port", "-1", "-stun-port", str(STUN_PORT)),
        *("-certmode", "manual", "-certdir", "certificates", "-hostname", str(outer), "-c", "derper.json"),
    ]
    ready = (LogLine(pattern="STUN server listening"), LogLine(pattern="Using self-signed certificate"))
    return Service(name="derper", node=server, argv=tuple(argv), ready=ready)


def _headscale_service(server: str) -> Service:
    program = ("headscale", "-c", "headscale.yaml")
    key = "headscale -c headscale.yaml preauthkeys create --user 1 --reusable --expiration 24h >members.key"
    return Service(
        name="headscale",
        node=server,
        argv=(*program, "serve"),
        env={"HEADSCALE_CLI_TIMEOUT": "10s"},
        ready=(LogLine(pattern="listening and serving HTTP on"),),
        configure=((*program, "users", "create", "lab"), ("sh", "-c", key)),
        after=("derper",),
    )


def _member(trial: Trial, member: str, after: str) -> Service:
    server = server_of(trial)
    client = ("tailscale", f"--socket={_SOCKET}")
    login = f"--login-server=http://{trial.topology.address(server)}:{COORDINATION_PORT}"
    up = ("up", login, f"--auth-key=file:../{server}/members.key", f"--hostname={member}", "--timeout=20s")
    return Service(
        name=f"tailscaled-{member}",
        node=member,
        argv=("tailscaled", f"--tun=ts-{member}", "--statedir=.", f"--socket={_SOCKET}", "--no-logs-no-support"),
        env={**_ENV, **({"TS_DEBUG_NEVER_DIRECT_UDP": "true"} if trial.mode == "relay" else {})},
        ready=(CommandSays(argv=("test", "-S", _SOCKET)),),
        configure=((*client, *up, "--accept-dns=false", "--netfilter-mode=off"),),
        after=(after,),
        deadline_s=25.0,
    )
