"""coturn as a STUN server on two addresses, which RFC 5780 asks of one that can tell what a NAT does."""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import IPv4Address

from harness.model.trial import Trial
from harness.overlay.contract import Command, LogLine, Requirement, Service
from overlays.addressing import server_of

STUN_PORT = 3478
_SEARCHED = 65536
COTURN = Requirement(program="turnserver", install="apt-get install -y coturn", debian="coturn")


def stun_addresses(trial: Trial) -> tuple[IPv4Address, IPv4Address]:
    """Return the public node's address and a second one, which is free on its segment.

    Raises:
        ValueError: the segment has none left.
    """
    server = server_of(trial)
    segment = trial.topology.hosts[server].on
    attached = [attachment for attachments in trial.topology.attachments().values() for attachment in attachments]
    taken = {address for attachment in attached if attachment.on == segment for address in attachment.addresses}
    subnet = trial.topology.segments[segment].ipv4
    own = trial.topology.address(server)
    # From its own on: a Mininet class's subnet is everything, of which no host has the first address.
    near = (own + step for step in range(1, _SEARCHED))
    free = (one for one in near if subnet and one in subnet and one != subnet.broadcast_address and one not in taken)
    found = next(free, None)
    if found is None:
        raise ValueError(f"{trial.overlay} needs a second address for {server}, and {segment} has none left")
    return own, found


def add_second(trial: Trial, addresses: Sequence[IPv4Address]) -> Command:
    """Return the command that gives the public node its second address."""
    server = server_of(trial)
    length = trial.topology.prefix_length(trial.topology.hosts[server], addresses[1])
    argv = ("ip", "address", "add", f"{addresses[1]}/{length}", "dev", f"{server}-eth0")
    return Command(node=server, argv=argv)


def stun_server(trial: Trial, addresses: Sequence[IPv4Address]) -> Service:
    """Return the service `stun`, which answers at STUN_PORT of both addresses."""
    listen = [word for address in addresses for word in ("-L", str(address))]
    argv = ("turnserver", "-v", "-n", "--stun-only", "--no-cli", "--log-file", "stdout", "--pidfile", "/run/turn.pid")
    return Service(
        name="stun",
        node=server_of(trial),
        argv=(*argv, "--db", "/run/turn.db", "-p", str(STUN_PORT), *listen),
        ready=(LogLine(pattern=rf"IPv4\. UDP listener opened on\s*:\s*{re.escape(str(addresses[-1]))}:{STUN_PORT}"),),
    )
