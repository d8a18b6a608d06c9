"""The public node's part: Headscale, which coordinates, and derper, which is STUN server and relay (DERP)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

import yaml
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from harness.overlay.contract import File, LogLine, Service
from overlays.pki import Authority, Identity

# Headscale and derper both, each at an address of its own: the port that gets out of most networks.
TLS_PORT = 443
STUN_PORT = 3478
AUTHORITY = "authority.crt"


@dataclass(frozen=True)
class Places:
    """Where the public node `server` is asked: derper at the node's first address, Headscale at a second one."""

    server: str
    derper: IPv4Address
    headscale: IPv4Address

    @property
    def login_url(self) -> str:
        """What members are told."""
        return f"https://{self.headscale}"


def files(places: Places, network: IPv4Network, relays: bool) -> tuple[File, ...]:
    """Render configurations and certificates of the public node, and its authority's; `network` is the members'.

    Without `relays` members are told that derper is a STUN server and no more.
    """
    authority, server = Authority("overlaybench trial CA"), places.server
    identities = {
        at: authority.issue(str(at), server=True, names=(x509.IPAddress(at),))
        for at in (places.derper, places.headscale)
    }
    derp_map = _derp_map(places.derper, identities[places.derper], relays)
    return (
        File(node=server, path="headscale.yaml", text=_yaml(_headscale(places.headscale, network))),
        File(node=server, path="derp.yaml", text=_yaml(derp_map)),
        File(node=server, path=AUTHORITY, text=authority.certificate),
        *(File(node=server, path=f"certificates/{at}.crt", text=one.certificate) for at, one in identities.items()),
        *(File(node=server, path=f"certificates/{at}.key", text=one.key) for at, one in identities.items()),
    )


def services(places: Places) -> tuple[Service, ...]:
    """derper, then headscale; the latter's file members.key lets members in."""
    return (_derper(places.server, places.derper), _headscale_service(places.server))


def _yaml(data: Mapping[str, object]) -> str:
    return yaml.safe_dump(dict(data), sort_keys=False)


def _headscale(outer: IPv4Address, network: IPv4Network) -> dict[str, object]:
    """Every path is relative to the node's folder; nothing is fetched from outside."""
    return {
        "server_url": f"https://{outer}",
        "listen_addr": f"{outer}:{TLS_PORT}",
        "tls_cert_path": f"certificates/{outer}.crt",
        "tls_key_path": f"certificates/{outer}.key",
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
        "derpport": TLS_PORT,
        "stunport": STUN_PORT,
        "stunonly": not relays,
    }
    return {"regions": {900: {"regionid": 900, "regioncode": "lab", "regionname": "lab", "nodes": [node]}}}


def _derper(server: str, outer: IPv4Address) -> Service:
    argv = [
        *("derper", "-a", f"{outer}:{TLS_PORT}", "-http-port", "-1", "-stun-port", str(STUN_PORT)),
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
