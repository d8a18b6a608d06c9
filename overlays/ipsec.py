"""IPsec with IKEv2 by strongSwan (swanctl.conf(5)); ESP in user space, in UDP, where the kernel has none (libipsec).

`hub` is the road warriors' VPN: members tunnel to a gateway that forwards. `direct` is strongSwan's mediation extension
of IKEv2 (draft-brunner-ikev2-mediation): the server introduces members, which then punch, and nothing is ever relayed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network

from cryptography import x509

from harness.model.nat_words import Egress
from harness.model.trial import Trial
from harness.model.words import Mode, Verdict
from harness.overlay.contract import (
    ClaimSource,
    Deployment,
    File,
    IpEndpoint,
    Layer,
    LogLine,
    Requirement,
    Service,
)
from overlays.addressing import addresses_of, check_options, server_of
from overlays.pki import Authority
from overlays.ways_out import NOTHING

NETWORK = IPv4Network("10.14.0.0/24")
CHARON = "/usr/lib/ipsec/charon"
_URI = "unix:///run/charon.vici"

# kdf, or no IKE key can be derived; kernel-libipsec before kernel-netlink, or the latter asks the kernel for ESP. The
# mark keeps IKE's own packets out of the tunnel where a traffic selector covers the peer.
_DAEMON = """\
charon {{
  load_modular = no
  load = random nonce kdf openssl pem pkcs1 pkcs8 x509 pubkey constraints kernel-libipsec kernel-netlink \
socket-default vici updown
  retransmit_base = 1.3
  retransmit_timeout = 0.5
  install_virtual_ip_on = lo
  filelog {{
    stdout {{
      path = /dev/stdout
      default = 1
      ike = 1
      cfg = 1
      flush_line = yes
    }}
  }}
  plugins {{
    vici {{
      socket = {uri}
    }}
    kernel-netlink {{
      fwmark = !0x42
      mtu = 1400
    }}
    socket-default {{
      fwmark = 0x42
    }}
    kernel-libipsec {{
      allow_peer_ts = yes
    }}
  }}
}}
"""
_ENDS = """\
      local {{
        auth = pubkey
        certs = node.crt
        id = {own}
      }}
      remote {{
        auth = pubkey
        id = {other}
      }}
"""
_CHILD = """\
      children {{
        {name} {{
          local_ts = {local}
          remote_ts = {remote}
          esp_proposals = aes128gcm16
          start_action = {start}
          dpd_action = {dead}
        }}
      }}
"""
# A peer that is dead is found out, and asked again for ever, as strongSwan's own examples for road warriors have it.
_HEAD = """\
      version = 2
      encap = yes
      mobike = no
      keyingtries = 0
      dpd_delay = 10s
      proposals = aes128-sha256-x25519
"""


class Ipsec:
    """charon on every node, certificates of one authority."""

    name = "ipsec"
    modes: frozenset[Mode] = frozenset({"hub", "direct"})
    layer: Layer = "L3"
    needs_server = True
    network = NETWORK

    def requirements(self) -> Sequence[Requirement]:
        """Debian packages: the daemon, its control program, cryptography, ESP in user space."""
        plugins = "/usr/lib/ipsec/plugins/libstrongswan-"
        parts = (
            ("swanctl", "strongswan-swanctl"),
            (CHARON, "strongswan-charon"),
            (f"{plugins}openssl.so", "libstrongswan-standard-plugins"),
            (f"{plugins}kernel-libipsec.so", "libcharon-extra-plugins"),
        )
        return tuple(
            Requirement(
                program=program,
                install=f"apt-get install -y {package}",
                debian=package,
                version_argv=("swanctl", "--version") if program == "swanctl" else (),
            )
            for program, package in parts
        )

    def render(self, trial: Trial) -> Deployment:
        """Certificates and connections a node; the connections start themselves when they are loaded.

        Raises:
            ValueError: an option; IPsec takes none.
        """
        check_options(trial)
        server, addresses = server_of(trial), addresses_of(trial, NETWORK)
        authority = Authority("overlaybench trial CA")
        connections = _hub(trial, addresses) if trial.mode == "hub" else _mediated(trial, addresses)
        files: list[File] = []
        for node in addresses:
            identity = authority.issue(node, server=node == server, names=(x509.DNSName(_id(node)),))
            files += [
                File(node=node, path="strongswan.conf", text=_DAEMON.format(uri=_URI)),
                File(node=node, path="swanctl.conf", text="connections {\n" + connections[node] + "}\n"),
                File(node=node, path="x509ca/ca.crt", text=authority.certificate),
                File(node=node, path="x509/node.crt", text=identity.certificate),
                File(node=node, path="private/node.key", text=identity.key),
            ]
        return Deployment(
            files=tuple(files),
            services=tuple(_service(trial, node, addresses[node]) for node in addresses),
            endpoints={m: IpEndpoint(address=addresses[m], interface="ipsec0") for m in trial.topology.members},
            claims=tuple(
                ClaimSource(name=f"sas-{m}", node=m, argv=("swanctl", "--list-sas", "--uri", _URI), env=_ENV)
                for m in trial.topology.members
            ),
        )

    def technique(self, mode: Mode) -> str | None:
        """Check connectivity between the endpoints that the mediation server saw; answers go where checks came from."""
        return "peer-reflexive" if mode == "direct" else None

    def paths_behind(self, egress: Egress, trial: Trial) -> tuple[Verdict, ...]:  # noqa: ARG002 - the same in all
        """Return `none`: IKE and ESP in UDP; TCP encapsulation (RFC 9329) is not in strongSwan."""
        return NOTHING

    def claimed_path(self, src: str, dst: str, evidence: Mapping[str, str]) -> Verdict | None:
        """Direct where the source has an established IKE_SA with the other member itself."""
        said = evidence.get(f"sas-{src}", "")
        if not said:
            return None
        if re.search(rf"^{re.escape(_section('to', dst))}: .*ESTABLISHED", said, re.MULTILINE):
            return "direct"
        return "relayed" if re.search(r"^hub: .*ESTABLISHED", said, re.MULTILINE) else "none"


_ENV = {"STRONGSWAN_CONF": "strongswan.conf", "SWANCTL_DIR": "."}


def _id(node: str) -> str:
    return f"{node}.trial"


def _section(kind: str, node: str) -> str:
    """Return a section's name; a dot would part it (strongswan.conf(5)), and no node's name has the other sign."""
    return f"{kind}-{node.replace('.', '~')}"


def _connection(name: str, *parts: str) -> str:
    return f"    {name} {{\n{_HEAD}{''.join(parts)}    }}\n"


def _ends(own: str, other: str) -> str:
    return _ENDS.format(own=_id(own), other=_id(other))


def _hub(trial: Trial, addresses: Mapping[str, IPv4Address]) -> dict[str, str]:
    """One connection a member; the gateway has one for each, so that every member's address is fixed."""
    server = server_of(trial)
    reach = f"      remote_addrs = {trial.topology.address(server)}\n"
    texts = {server: ""}
    for member in (node for node in addresses if node != server):
        own, all_ = f"{addresses[member]}/32", str(NETWORK)
        child = _CHILD.format(name=_section("from", member), local=all_, remote=own, start="none", dead="clear")
        texts[server] += _connection(_section("from", member), _ends(server, member), child)
        child = _CHILD.format(name="hub", local=own, remote=all_, start="start", dead="restart")
        texts[member] = _connection("hub", reach, _ends(member, server), child)
    return texts


def _mediated(trial: Trial, addresses: Mapping[str, IPv4Address]) -> dict[str, str]:
    """Return a mediation connection a member, and one through it to every other.

    Both of a pair begin: a member's answer may overtake the server's, and strongSwan then drops that attempt for good.
    """
    server = server_of(trial)
    members = [node for node in addresses if node != server]
    texts = {server: ""}
    for member in members:
        texts[server] += _connection(_section("med", member), "      mediation = yes\n", _ends(server, member))
        reach = f"      mediation = yes\n      remote_addrs = {trial.topology.address(server)}\n"
        texts[member] = _connection("med", reach, _ends(member, server))
        for peer in (node for node in members if node != member):
            child = _CHILD.format(
                name=_section("to", peer),
                local=f"{addresses[member]}/32",
                remote=f"{addresses[peer]}/32",
                start="start",
                dead="restart",
            )
            mediation = f"      mediated_by = med\n      mediation_peer = {_id(peer)}\n"
            texts[member] += _connection(_section("to", peer), mediation, _ends(member, peer), child)
    return texts


def _service(trial: Trial, node: str, address: IPv4Address) -> Service:
    server = server_of(trial)
    configure: list[tuple[str, ...]] = [("ip", "address", "replace", f"{address}/32", "dev", "lo")]
    if node == server and trial.mode == "hub":
        configure.append(("sysctl", "-q", "-w", "net.ipv4.ip_forward=1"))
    configure.append(("swanctl", "--load-all", "--file", "swanctl.conf", "--uri", _URI))
    if node != server and trial.mode == "direct":
        configure.append(("swanctl", "--initiate", "--ike", "med", "--timeout", "10", "--uri", _URI))
    return Service(
        name=f"charon-{node}",
        node=node,
        argv=(CHARON,),
        env=_ENV,
        ready=(LogLine(pattern=r"spawning \d+ worker threads"),),
        configure=tuple(configure),
        after=() if node == server else (f"charon-{server}",),
    )
