"""One path to a peer, and what the checks of it have shown."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple

from overlays.refmesh.wire.control import Endpoint

HOST, SERVER_REFLEXIVE, PEER_REFLEXIVE, PORT_MAPPED, PREDICTED, RELAYED = (
    "host",
    "server-reflexive",
    "peer-reflexive",
    "port-mapped",
    "predicted",
    "relayed",
)
"""Kinds of candidates (RFC 8445, section 4), and of the paths that punching and relays give."""


class Path(NamedTuple):
    """A way to a peer: straight to `endpoint`, or, with a relay number, through the server that lives there.

    `local` is the number of the socket that it leaves from: 0 the main one, others were opened to punch a hole.
    """

    endpoint: Endpoint
    relay: int = 0
    local: int = 0

    @property
    def direct(self) -> bool:
        """Whether no relay is on it."""
        return not self.relay


@dataclass
class Check:
    """The checks of one path."""

    path: Path
    kind: str
    since_s: float
    due_s: float
    valid: bool = False
    rtt_s: float = math.inf
    unanswered: int = 0
    answered: int = 0
    pong_s: float = -math.inf
    paused: bool = False
    """Whether the path was idle for a whole keepalive interval before the PING that is out."""
    transactions: dict[bytes, float] = field(default_factory=dict)
    seen_s: float = -math.inf
    pinged: bool = False
    """Whether the peer has checked it."""
    proved: bool = False
    """Whether the peer has shown that it receives there."""
    credit: int = 0
    """PINGs that have come from there, and were not yet answered by a check of ours."""
