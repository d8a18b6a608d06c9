"""Whoever sends the path probe's requests over a pair: pings over interfaces, bytes over streams."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator, Sequence
from typing import Protocol

from harness.probes.measurement import Target
from harness.probes.pinger import Pinger, Pingers
from harness.probes.pings import LARGEST_BYTES, Ping
from harness.probes.requester import PATIENCE_S, Requester, echoes


class Asker(Protocol):
    """Sends requests from one member of a pair to the other; the first right answer to each counts.

    `left` are still to be sent; `errors` is what the kernel or the overlay said against some of them, and how often.
    """

    left: float
    errors: dict[str, int]

    @property
    def pings(self) -> list[Ping]:
        """All requests so far, in the order of sending."""

    def ask(self, count: float, interval_s: float, *, together: bool = False) -> None:
        """Let it send `count` (may be infinite) from now on; 0 ends its sending.

        Args:
            together: over one connection, where it has any; else each over a new one.
        """

    def close(self) -> None:
        """End its sending for good; what came of the requests stays."""


@contextlib.contextmanager
def asking(
    targets: Sequence[Target],
    rngs: Sequence[random.Random],
    largest_ping_bytes: int = LARGEST_BYTES,
    patience_s: float = PATIENCE_S,
) -> Iterator[list[Asker]]:
    """Give an asker for each target, over its interface where it has one, else over its stream, until the block ends.

    Args:
        rngs: one for each, of sizes and payloads.
        patience_s: how long a request over a stream is waited for.
    """
    base = random.getrandbits(16)
    by_stream = [target for target in targets if target.dst_address is None]
    made: list[Asker] = []
    with contextlib.ExitStack() as stack:
        stack.enter_context(echoes(by_stream))
        for number, (target, rng) in enumerate(zip(targets, rngs, strict=True)):
            if target.dst_address is None:
                made.append(Requester(target, rng, patience_s))
            else:
                made.append(
                    Pinger(
                        target.lab.nodes[target.src].pid,
                        target.destination,
                        rng,
                        base + number,
                        largest_ping_bytes,
                        sleeps=target.sender_sleeps,
                    )
                )
            stack.callback(made[-1].close)
        stack.enter_context(contextlib.closing(Pingers([one for one in made if isinstance(one, Pinger)])))
        yield made
