"""Somebody who knows the key of the WireGuard node at 45.9.0.2 asks it for handshakes, 880 a second.

python refmesh_flood.py PUBLIC_KEY SECONDS PRIVATE_KEY...      keys in hexadecimal; the private ones are of its peers

Says `busy` when it has a cookie, with which the peers prove from then on where they are; after SIGTERM, as JSON:
`cookies` that have come, handshakes `answered` since then, and `proving_s`, the seconds until the last of these.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sys
import time
from types import FrameType

from overlays.refmesh.core.cookie import MAC_LEN, Macs
from overlays.refmesh.core.noise import Initiation, StaticKey
from overlays.refmesh.core.timestamp import tai64n
from overlays.refmesh.wire import messages

ROUND_S, STRANGE = 0.1, 80
"""Above the rate at which a responder asks for cookies, below what starves it of its processor in a busy lab."""
GAP_S, AGAIN_S = 0.5, 2.0
"""Had we to wait so long for a processor, the node may be at ease again: what it answers for a while is not counted."""
FIRST = 1000
"""The indexes of peers' initiations begin here."""


class Flood:
    """What it has, and what it has seen."""

    def __init__(self, target: bytes, own: list[bytes]) -> None:
        self._target, self._own = target, [StaticKey(key) for key in own]
        self._macs, self._began_s = Macs(target), 0.0
        strangers = Macs(target)
        self._strange = [
            strangers.protect(self._initiation(StaticKey(os.urandom(32)), number), 0.0) for number in range(STRANGE)
        ]
        self._asked_s = self._counts_from_s = 0.0
        self.seen = {"cookies": 0, "answered": 0, "proving_s": 0.0}

    def _initiation(self, key: StaticKey, index: int) -> bytes:
        return Initiation(key, self._target, index, tai64n(time.time()), os.urandom).message

    def asks(self, sock: socket.socket) -> None:
        """Ask for all handshakes once."""
        now = time.monotonic()
        if now - self._asked_s > GAP_S and self._began_s:
            self._began_s = self._counts_from_s = now + AGAIN_S
            self.seen |= {"answered": 0, "proving_s": 0.0}
        self._asked_s = now
        own = [self._macs.protect(self._initiation(key, FIRST + n), now) for n, key in enumerate(self._own)]
        if not self._began_s and self._macs.proof(b"", now) != bytes(MAC_LEN):
            self._began_s = now
            print("busy", flush=True)
        for message in self._strange + own:
            with contextlib.suppress(OSError):
                sock.send(message)

    def hears(self, sock: socket.socket) -> None:
        """Take what has come."""
        with contextlib.suppress(OSError):
            while True:
                reply = sock.recv(2048)
                if messages.message_type(reply) == messages.COOKIE_REPLY:
                    self.seen["cookies"] += 1
                    if messages.COOKIE_HEAD.unpack_from(reply)[1] >= FIRST:
                        self._macs.accept_reply(reply, time.monotonic())
                elif self._began_s and time.monotonic() >= self._counts_from_s:
                    self.seen["answered"] += 1
                    self.seen["proving_s"] = time.monotonic() - self._began_s


def main() -> None:
    """Run the command line."""
    flood = Flood(bytes.fromhex(sys.argv[1]), [bytes.fromhex(key) for key in sys.argv[3:]])

    told: list[int] = []

    def leave(number: int, _frame: FrameType | None) -> None:
        told.append(number)

    signal.signal(signal.SIGTERM, leave)
    until_s = time.monotonic() + float(sys.argv[2])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.connect(("45.9.0.2", 51820))
        while time.monotonic() < until_s and not (told and flood.seen["answered"]):
            flood.asks(sock)
            time.sleep(ROUND_S)
            flood.hears(sock)
    print(json.dumps(flood.seen), flush=True)


if __name__ == "__main__":
    main()
