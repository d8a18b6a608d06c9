"""Where a router's ruleset applies: its interfaces, addresses and subscribers. Contains no rules."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from harness.model.nat import NatBehaviour, PortAllocation

FIRST_PORT = 1024
# Of Ethernet.
FULL_MTU_BYTES = 1500
PORT_COUNT = 65536 - FIRST_PORT
# Where translated packets come out of a NAT64's translator: to its router, one more inside.
TRANSLATOR_INTERFACE = "nat64"


@dataclass(frozen=True)
class RouterPorts:
    """One router's two sides.

    `wan_addresses` are IPv4 addresses without prefix, the router's own first; `lan_networks` are IPv4 prefixes,
    `lan_prefixes` IPv6 ones. A subscriber is an inside address that surely gets a port block; what is left goes to the
    first hosts of the networks. `line_mtu_bytes` is the longest packet that the access link carries.
    """

    wan: str
    wan_addresses: tuple[str, ...]
    lans: tuple[str, ...]
    lan_networks: tuple[str, ...]
    subscribers: tuple[str, ...] = ()
    line_mtu_bytes: int = FULL_MTU_BYTES
    lan_prefixes: tuple[str, ...] = ()

    def pool(self, behaviour: NatBehaviour) -> tuple[str, ...]:
        """Return the external addresses in use.

        Raises:
            ValueError: the router has fewer addresses than the behaviour's `pool_size`.
        """
        if behaviour.translates and len(self.wan_addresses) < behaviour.pool_size:
            raise ValueError(
                f"pool_size {behaviour.pool_size} needs as many WAN addresses; {self.wan} has {len(self.wan_addresses)}"
            )
        return self.wan_addresses[: behaviour.pool_size]


@dataclass(frozen=True)
class PortBlock:
    """A subscriber's own external ports: `size` of them from `first` on, of one address (RFC 7422)."""

    subscriber: str
    address: str
    first: int
    size: int


def port_blocks(behaviour: NatBehaviour, ports: RouterPorts) -> tuple[PortBlock, ...]:
    """Return who may use which ports; empty unless allocation is by block.

    Raises:
        ValueError: the named subscribers need more ports than the pool has.
    """
    if behaviour.port_allocation is not PortAllocation.BLOCK:
        return ()
    size = behaviour.port_block_size
    pool = ports.pool(behaviour)
    per_address = PORT_COUNT // size
    capacity = per_address * len(pool)
    if len(ports.subscribers) > capacity:
        raise ValueError(
            f"{len(ports.subscribers)} subscribers x {size} ports need "
            f"{-(-len(ports.subscribers) // per_address)} external addresses; the pool has {len(pool)}"
        )
    others = (host for host in _hosts(ports.lan_networks) if host not in ports.subscribers)
    subscribers = (*ports.subscribers, *islice(others, capacity - len(ports.subscribers)))
    return tuple(_block(subscriber, pool, place, size) for place, subscriber in enumerate(subscribers))


def blocks_with_newcomers(
    held: Sequence[PortBlock], behaviour: NatBehaviour, ports: RouterPorts, former: Collection[str]
) -> tuple[PortBlock, ...]:
    """Return who may use which ports once `ports.subscribers` are inside: all of them who had a block keep it.

    A newcomer gets that of somebody who is not inside; of one who was there (`former`) only where there is no other,
    because mappings may be left in it.

    Args:
        held: the blocks as they are, each in its place.

    Raises:
        ValueError: the subscribers need more ports than the pool has.
    """
    wanted, blocks = ports.subscribers, list(held)
    capacity = len(port_blocks(behaviour, ports))
    having = {block.subscriber for block in held}
    unused = [place for place, block in enumerate(held) if block.subscriber not in wanted]
    spare = [
        *(place for place in unused if held[place].subscriber not in former),
        *range(len(held), capacity),
        *(place for place in unused if held[place].subscriber in former),
    ]
    newcomers = (subscriber for subscriber in wanted if subscriber not in having)
    for place, newcomer in zip(spare, newcomers, strict=False):
        block = _block(newcomer, ports.pool(behaviour), place, behaviour.port_block_size)
        blocks[place : place + 1] = [block]
    return tuple(blocks)


def _block(subscriber: str, pool: Sequence[str], place: int, size: int) -> PortBlock:
    per_address = PORT_COUNT // size
    return PortBlock(subscriber, pool[place // per_address], FIRST_PORT + place % per_address * size, size)


def _hosts(networks: tuple[str, ...]) -> Iterator[str]:
    for network in networks:
        yield from map(str, ipaddress.IPv4Network(network).hosts())
