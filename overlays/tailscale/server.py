"""The public node's part: Headscale, which coordinates, and derper, which is STUN server and relay (DERP)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Network

import yaml
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from harness.overlay.contract import File, LogLine, Service
from overlays.pki import Authority, Identity

COORDINATION_PORT = 8080
DERP_PORT = 443
STUN_PORT = 3478


def files(server: str, outer: IPv4Address, network: IPv4Network, relays: bool) -> tuple[File, ...]:
    """Render configurations and a certificate for the node `server` at `outer`; members' addresses are of `network`.

    Without `relays` members are told that derper is a STUN server and no more.
    """
    certificate = Authority("overlaybench trial CA").issue(str(outer), server=True, names=(x509.IPAddress(outer),))
    return (
        File(node=server, path="headscale.yaml", text=_yaml(_headscale(outer, network))),
        File(node=server, path="derp.yaml", text=_yaml(_derp_map(outer, certificate, relays))),
        File(node=server, path=f"certificates/{outer}.crt", text=certificate.certificate),
        File(node=server, path=f"certificates/{outer}.key", text=certificate.key),
    )


def services(server: str, outer: IPv4Address) -> tuple[Service, ...]:
    """derper, then headscale; the latter's file members.key lets members in."""
    return (_derper(server, outer), _headscale_service(server))


def _yaml(data: Mapping[str, object]) -> str:
    return yaml.safe_dump(dict(data), sort_keys=False)


def _headscale(outer: IPv4Address, network: IPv4Network) -> dict[str, object]:
    """Every path is relative to the node's folder; nothing is fetched from outside."""
    return {
        "server_url": f"http://{outer}:{COORDINATION_PORT}",
        "listen_addr": f"{outer}:{COORDINATION_PORT}",
        "metrics_listen_addr": "127.0.0.1:9090",
        "grpc_listen_addr": "127.0.0.1:50443",
        "noise": {"private_key_path": "noise.key"},
        "prefixes": {"v4": str(network), "v6": "fd7a:115c:a1e0::/64", "allocation": "sequential"},
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


def _derp_map(outer: IPv4Address, identity: Identity, relays: bool) -> dict[str, object]:
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
        "stunonly": not relays,
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
