"""The public part of a private Tor network: one directory authority and relays, a node each, as torrc texts. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address

from harness.overlay.contract import Command, CommandSays, File, LogLine, Service
from overlays.tor.identity import RsaIdentity, rsa_identity

PROGRAM = "tor"
# As its makers ask of relays: more networks let it out than any other port.
OR_PORT = 443
DIR_PORT = 7000
RELAYS = 5
BOOTSTRAPPED = r"Bootstrapped 100% \(done\)"
MAY_HANG = (
    "a worker thread of tor 0.4.9 that is at work when it is told to end looks for more work afterwards, not whether "
    "it should end, and its main thread waits for it for ever"
)
# The shortest that tor accepts, so that the first consensus is there in seconds.
_VOTING = """\
V3AuthVotingInterval 10
V3AuthVoteDelay 2
V3AuthDistDelay 2
TestingV3AuthInitialVotingInterval 5
TestingV3AuthInitialVoteDelay 2
TestingV3AuthInitialDistDelay 2
"""


@dataclass(frozen=True)
class Network:
    """Who the authority is, and what everybody must know of it; `relays` are further public nodes by address."""

    authority: str
    addresses: Mapping[str, IPv4Address]
    signing: RsaIdentity
    routing: RsaIdentity

    def common(self) -> str:
        """Return what every torrc begins with."""
        address = self.addresses[self.authority]
        who = f"orport={OR_PORT} v3ident={self.signing.fingerprint} {address}:{DIR_PORT} {self.routing.fingerprint}"
        return (
            "TestingTorNetwork 1\n"
            f"DirAuthority {self.authority} {who}\n"
            "DataDirectory data\n"
            "AssumeReachable 1\n"
            "PathsNeededToBuildCircuits 0.67\n"
            # Whatever flags relays earn by their age: in a new network none has earned any yet.
            "TestingDirAuthVoteExit *\nTestingDirAuthVoteHSDir *\nTestingDirAuthVoteGuard *\n"
            "ShutdownWaitLength 0\n"
            "Log notice stdout\n"
        )

    def relay(self, node: str) -> str:
        """Return a relay's torrc, the authority's with its duties."""
        address = self.addresses[node]
        text = (
            f"{self.common()}Nickname {node}\nAddress {address}\nOutboundBindAddress {address}\n"
            f"ORPort {address}:{OR_PORT}\nSocksPort 0\nExitRelay 1\nExitPolicy accept *:*\n"
        )
        if node != self.authority:
            return text
        duties = f"DirPort {address}:{DIR_PORT}\nAuthoritativeDirectory 1\nV3AuthoritativeDirectory 1\n"
        return f"{text}ContactInfo nobody\n{duties}{_VOTING}"

    def files(self) -> tuple[File, ...]:
        """All torrc files, and the authority's keys, which are in everybody's torrc."""
        return (
            *(File(node=node, path="torrc", text=self.relay(node)) for node in self.addresses),
            File(node=self.authority, path="data/keys/authority_identity_key", text=self.signing.pem),
            File(node=self.authority, path="data/keys/secret_id_key", text=self.routing.pem),
        )

    def prepare(self) -> Command:
        """Let the authority's identity sign a signing key and a certificate, as tor-gencert alone does."""
        names = {"-i": "identity_key", "-s": "signing_key", "-c": "certificate"}
        keys = [word for flag, name in names.items() for word in (flag, f"data/keys/authority_{name}")]
        address = f"{self.addresses[self.authority]}:{DIR_PORT}"
        return Command(node=self.authority, argv=("tor-gencert", *keys, "-m", "12", "-a", address))

    def services(self, deadline_s: float) -> tuple[Service, ...]:
        """One tor a node, ready when it can build circuits; the authority when its consensus has all of them.

        An authority's first consensus knows no relay but itself. Who starts with that picks it as guard, and may fail
        to build circuits for a minute.
        """
        counted = ("grep", "-c", "^r ", "data/cached-microdesc-consensus")
        complete = CommandSays(argv=counted, pattern=f"^{len(self.addresses)}$")
        bootstrapped = LogLine(pattern=BOOTSTRAPPED)
        return tuple(
            Service(
                name=f"tor-{node}",
                node=node,
                argv=argv("torrc"),
                ready=(bootstrapped, complete) if node == self.authority else (bootstrapped,),
                deadline_s=deadline_s,
                may_hang=MAY_HANG,
            )
            for node in self.addresses
        )


def argv(torrc: str) -> tuple[str, ...]:
    """Tor with one file and no other: what the machine has in /etc/tor counts for nothing here."""
    return (PROGRAM, "--defaults-torrc", "none", "--ignore-missing-torrc", "-f", torrc)


def new_network(authority: str, addresses: Mapping[str, IPv4Address], relays: Sequence[str]) -> Network:
    """Return a network with fresh keys.

    Raises:
        ValueError: fewer relays than onion services need.
    """
    if len(relays) < RELAYS:
        raise ValueError(f"tor needs {RELAYS} helpers as relays, and the topology has {len(relays)}")
    nodes = {node: addresses[node] for node in (authority, *relays[:RELAYS])}
    return Network(authority, nodes, rsa_identity(2048), rsa_identity(1024))
