"""The external addresses and ports of a simulated NAT's new mappings (RFC 4787 sections 4.1 and 4.2). Pure."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from harness.model.nat import NatBehaviour, Pooling, PortAllocation
from harness.nat.packet import Endpoint, Protocol
from harness.nat.ports import FIRST_PORT, PORT_COUNT, PortBlock

SEQUENCE_START = 10000
CANDIDATES = 16


class ExternalPorts:
    """The choice among the external addresses `pool` and their ports; which are taken, the NAT's table knows."""

    def __init__(
        self, behaviour: NatBehaviour, pool: Sequence[str], rng: random.Random, blocks: Sequence[PortBlock]
    ) -> None:
        self.behaviour = behaviour
        self._pool = pool
        self._rng = rng
        self._blocks = {block.subscriber: block for block in blocks}
        self._next_in_sequence: dict[Protocol, int] = {"udp": 0, "tcp": 0}

    def candidates(self, protocol: Protocol, internal: Endpoint) -> Iterator[Endpoint]:
        """Yield external endpoints for a new mapping, best first; none for an address without a port block."""
        preserving = self.behaviour.port_allocation is PortAllocation.PRESERVING
        for attempt in range(CANDIDATES + preserving):
            address = self._address(internal)
            if address is None:
                return
            yield Endpoint(address, internal.port if preserving and attempt == 0 else self._port(protocol, internal))

    def random_port(self) -> int:
        """Draw a port."""
        return FIRST_PORT + self._rng.randrange(PORT_COUNT)

    def _address(self, internal: Endpoint) -> str | None:
        if self.behaviour.port_allocation is PortAllocation.BLOCK:
            block = self._blocks.get(internal.address)
            return None if block is None else block.address
        if len(self._pool) == 1:
            return self._pool[0]
        if self.behaviour.pooling is Pooling.ARBITRARY:
            return self._rng.choice(self._pool)
        # Paired: any stable choice is as good as another.
        return self._pool[sum(internal.address.encode()) % len(self._pool)]

    def _port(self, protocol: Protocol, internal: Endpoint) -> int:
        b = self.behaviour
        if b.port_allocation is PortAllocation.SEQUENTIAL:
            number = self._next_in_sequence[protocol]
            self._next_in_sequence[protocol] = number + 1
            # A falling sequence begins at the top.
            return SEQUENCE_START + (number * b.port_step - (b.port_step < 0)) % (65536 - SEQUENCE_START)
        if b.port_allocation is PortAllocation.BLOCK:
            block = self._blocks[internal.address]
            return block.first + self._rng.randrange(block.size)
        return self.random_port()
