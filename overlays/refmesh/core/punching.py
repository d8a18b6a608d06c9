"""What is tried when plain checks have failed: port prediction and birthday probing, agreed on through a server.

A NAT with address-and-port-dependent mapping (RFC 4787, section 4.1) gives each destination another external port, so
the port that a server saw is not the one that a peer must aim at. Two ways round that:

- *Prediction*: such a NAT that hands out ports in sequence tells its next ports by its last ones. Three fresh sockets
  ask the STUN server; if their ports lie one step apart, the next socket's port is known before it is used.
- *Birthday*: with random ports one side opens 256 sockets towards the other side's one known port, and the other side
  aims at random ports of the first. After n tries one hits with probability 1 - (1 - 256/64512)^n: 98 % at 1024.
  Tries are limited to 1000 a second and 2048 in all.

| round of one peer | event | next |
|---|---|---|
| idle | not direct after 1.2 s and 5 checks of each candidate, one side translated, ours the lower key | measuring |
| idle | PUNCH (ask) received | measuring (answer) |
| measuring | the probes are answered, or 0.5 s are over | send PUNCH; if we asked: waiting, else fire |
| waiting | PUNCH (answer) received | fire |
| any | direct path | idle |
| any | 3 s, or 1 s after the last shot | idle; the next round follows, after four rounds in 5 minutes |

PUNCH is a JSON control frame, node to server `{"to": relay number, ...}`, server to node `{"from": relay number, ...}`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from overlays.refmesh.core.pacer import Pacer
from overlays.refmesh.wire.bodies import Punch
from overlays.refmesh.wire.control import Endpoint

START_AFTER_S = 1.2
MEASURE_S = 0.5
ROUND_S = 3.0
SETTLE_S = 1.0
"""So long after the last shot its answer may still come."""
ROUNDS = 4
PAUSE_S = 300.0
PROBES = 3
MAX_STEP = 64
PREDICTED_PORTS = 4
BIRTHDAY_SOCKETS = 256
BIRTHDAY_TRIES = 2048
MAX_SHOTS = 3 * BIRTHDAY_TRIES
"""Shots at one peer within `PAUSE_S`: four rounds, of which two or three are of the expensive kind."""
TRIES_PER_BURST = 50
BURST_S = 0.05
REPEATS = 3
REPEAT_S = 0.25
LOWEST_PORT = 1024
IDLE, MEASURING, WAITING, FIRING = "idle", "measuring", "waiting", "firing"


@dataclass
class Round:
    """The state of punching towards one peer."""

    state: str = IDLE
    number: int = 0
    due_s: float = math.inf
    until_s: float = math.inf
    asked: bool = False
    """Whether our PUNCH asks for an answer; otherwise it is one."""
    probes: dict[bytes, int] = field(default_factory=dict)
    """Position of each outstanding STUN transaction."""
    ports: dict[int, int] = field(default_factory=dict)
    """External port of each probe, by position."""
    host: str = ""
    locals: list[int] = field(default_factory=list)
    theirs: Punch | None = None
    server: int = -1
    asks: Pacer = field(default_factory=lambda: Pacer(ROUNDS / PAUSE_S, 2 * ROUNDS))
    """Rounds that the peer may ask for."""
    budget: Pacer = field(default_factory=lambda: Pacer(MAX_SHOTS / PAUSE_S, MAX_SHOTS))
    """Shots at this peer, whoever asks."""
    shots: list[tuple[float, int, Endpoint]] = field(default_factory=list)
    """What is to be sent: when, from which local socket, where to."""

    def step(self) -> int:
        """Return the distance of successive ports; 0 when they follow no sequence."""
        if len(self.ports) < PROBES:
            return 0
        first, second, third = (self.ports[i] for i in range(PROBES))
        step = second - first
        return step if step == third - second and 0 < abs(step) <= MAX_STEP else 0

    def predicted(self) -> list[int]:
        """Return the ports that the next sockets will get, if no other host's come between."""
        step = self.step()
        last = self.ports.get(PROBES - 1, 0)
        found = [last + step * i for i in range(1, PREDICTED_PORTS + 1)] if step else []
        return [port for port in found if 0 < port < 65536]

    def message(self, *, dependent: bool) -> dict[str, Any]:
        """Our PUNCH."""
        return {
            "n": self.number,
            "ask": self.asked,
            "dependent": dependent,
            "host": self.host,
            "ports": self.predicted(),
        }


@dataclass(frozen=True)
class Plan:
    """What to do in a round: how many fresh sockets, what they aim at, and what the main socket aims at."""

    fresh_sockets: int
    fresh_targets: tuple[Endpoint, ...]
    main_targets: tuple[Endpoint, ...]
    birthday_host: str
    """Aim the main socket at random ports of this host; empty: do not."""


def plan(own: Round, *, dependent: bool, reflexive: list[Endpoint], birthday: bool = True) -> Plan:
    """Return the plan for what both sides have told.

    `reflexive`: the peer's addresses as servers see them; `birthday`: whether random ports are tried.

    Mapping that depends on the address alone looks endpoint-independent to who asks a single server. So the ports of a
    sequence are tried as well as the known one, which costs little, and every second round tries birthday probing too.
    """
    theirs = own.theirs
    if theirs is None:
        return Plan(0, (), (), "")
    peer_dependent, doubt = theirs.dependent, own.number % 2 == 0
    known = tuple(reflexive)
    predicted = tuple((theirs.host, port) for port in theirs.ports[:PREDICTED_PORTS])
    # The first that a fresh socket aims at leaves by the first port that we have told.
    targets = (predicted or known) if peer_dependent else known + predicted
    if own.step():
        return Plan(1, targets, () if dependent else targets, "")
    if predicted:
        return Plan(0, (), targets, "")
    many, aim = dependent, peer_dependent
    if doubt and birthday and not (many or aim):
        many = aim = True
    elif birthday and many and aim:
        return Plan(0, (), (), "")  # random ports on both sides: nothing helps
    if not birthday or not (many or aim):
        return Plan(0, (), known, "")
    host = theirs.host or (known[0][0] if known else "")
    return Plan(BIRTHDAY_SOCKETS if many else 0, known[:1], (), host if aim else "")


def volleys(
    planned: Plan, fresh: list[int], ports: Iterator[int], *, first: bool, now: float
) -> list[tuple[float, int, Endpoint]]:
    """Return the shots of a plan in order of time: (when, local socket, where to); local socket 0 is the main one.

    `first`: the peer fires only when our PUNCH has reached it. Then the one predicted port waits until the peer's main
    socket has sent, so that a router where the unsolicited takes a port away from its own side (docs/nat.md, `poisons`)
    does no harm.
    """
    shots: list[tuple[float, int, Endpoint]] = []
    for repeat in range(REPEATS):
        at = now + repeat * REPEAT_S
        waits_s = REPEAT_S if first and len(fresh) == 1 else 0.0
        shots += [(at + waits_s, local, target) for local in fresh for target in planned.fresh_targets]
        shots += [(at, 0, target) for target in planned.main_targets]
    if planned.birthday_host:
        for i in range(BIRTHDAY_TRIES):
            # Some milliseconds late, so that the other side's sockets have opened their NAT's filter.
            at = now + REPEAT_S + i // TRIES_PER_BURST * BURST_S
            shots.append((at, 0, (planned.birthday_host, next(ports))))
    return sorted(shots, key=lambda shot: shot[0])
