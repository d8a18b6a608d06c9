"""Makes a whole network offline: authority, keys, certificates and every configuration. No I/O."""

from __future__ import annotations

import ipaddress
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import yaml

from overlays.refmesh import credentials, keys
from overlays.refmesh.config import DEFAULT_PORT, DEFAULT_STUN_PORT, Address
from overlays.refmesh.errors import CredentialError
from overlays.refmesh.keys import Rng

ALLOW_ALL: tuple[Mapping[str, Any], ...] = ({"from": "*", "to": "*"},)
YEAR_S = 365 * 24 * 3600


@dataclass(frozen=True)
class Site:
    """A server: where it can be reached. `tls_port` 0: no TLS relay."""

    name: str
    host: str
    port: int = DEFAULT_PORT
    stun_port: int = DEFAULT_STUN_PORT
    tls_port: int = 0


@dataclass(frozen=True)
class Network:
    """A network's secrets, all of them: keep it offline, hand out only what `node_config` and `server_config` give."""

    authority_private: bytes
    sites: tuple[Site, ...]
    policy: str
    private_keys: Mapping[str, bytes]
    certificates: Mapping[str, str]
    addresses: Mapping[str, str]
    """Overlay address with prefix length, by the name of a node or a server."""
    servers: tuple[Mapping[str, Any], ...] = field(repr=False)

    @property
    def authority(self) -> str:
        """The authority's public key in base64; it names the network."""
        return keys.encode(keys.signing_public(self.authority_private))

    def node_config(self, name: str, **options: Any) -> dict[str, Any]:
        """Return a node's configuration; `options`: further fields (`mode`, `interface`, `status_socket` ...)."""
        return self._common(name) | {"servers": [dict(server) for server in self.servers]} | options

    def reached_at(self, hosts: Mapping[str, str]) -> Network:
        """Return the same network, some servers reached at other hosts or addresses: `hosts`, by the server's name."""
        sites = tuple(replace(site, host=hosts.get(site.name, site.host)) for site in self.sites)
        entries = tuple(_server_entry(site, keys.public(self.private_keys[site.name])) for site in sites)
        return replace(self, sites=sites, servers=entries)

    def server_config(self, name: str, **options: Any) -> dict[str, Any]:
        """Return the configuration of a server as data; `options`: further fields (`hub`, `interface` ...)."""
        site = next(site for site in self.sites if site.name == name)
        own = {"listen": f":{site.port}", "stun_port": site.stun_port, "tls_port": site.tls_port}
        return self._common(name) | own | options

    def _common(self, name: str) -> dict[str, Any]:
        return {
            "private_key": keys.encode(self.private_keys[name]),
            "authority": self.authority,
            "certificate": self.certificates[name],
            "policy": self.policy,
        }


def make_network(
    members: Sequence[str],
    sites: Sequence[Site],
    *,
    prefix: str = "10.77.0.0/16",
    rules: Sequence[Mapping[str, Any]] = ALLOW_ALL,
    groups: Mapping[str, Sequence[str]] | None = None,
    not_after: int | None = None,
    rng: Rng = os.urandom,
    public: Callable[[bytes], bytes] = keys.public,
) -> Network:
    """Return a new network. Members get the first addresses of the prefix, upwards, servers the last ones, downwards.

    `not_after` is Unix time in seconds, a year from now by default; `public` gives the public key of a private one.
    CredentialError when the prefix is too small or a name comes twice.
    """
    names = [*members, *(site.name for site in sites)]
    if len(set(names)) != len(names):
        raise CredentialError("a network needs different names for all members and servers")
    net = ipaddress.ip_network(prefix)
    if len(names) > net.num_addresses - 3:
        raise CredentialError(f"{prefix} is too small for {len(names)} members and servers")
    until = int(time.time()) + YEAR_S if not_after is None else not_after
    authority = keys.generate(rng)
    private_keys = {name: keys.generate(rng) for name in names}
    numbers = [*range(1, len(members) + 1), *(net.num_addresses - 2 - i for i in range(len(sites)))]
    addresses = {name: f"{net[number]}/{net.prefixlen}" for name, number in zip(names, numbers, strict=True)}
    servers = {site.name for site in sites}
    certificates = {
        name: credentials.issue(
            authority,
            name,
            public(private_keys[name]),
            [addresses[name]],
            role="server" if name in servers else "node",
            groups=(groups or {}).get(name, ()),
            not_after=until,
            issued=until - YEAR_S,
            rng=rng,
        )
        for name in names
    }
    entries = tuple(_server_entry(site, public(private_keys[site.name])) for site in sites)
    policy = credentials.sign_policy(authority, 1, rules)
    return Network(authority, tuple(sites), policy, private_keys, certificates, addresses, entries)


def to_yaml(config: Mapping[str, Any]) -> str:
    """Return a configuration as the text of a file."""
    return yaml.safe_dump(dict(config), sort_keys=False, width=4096)


def _server_entry(site: Site, public: bytes) -> dict[str, Any]:
    entry = {
        "name": site.name,
        "public_key": keys.encode(public),
        "endpoint": str(Address(site.host, site.port)),
        "stun": str(Address(site.host, site.stun_port)),
    }
    if site.tls_port:
        entry["tls"] = str(Address(site.host, site.tls_port))
    return entry
