"""A coordinator for WireGuard: tells members each other's outer address, moves traffic once a direct session stands.

WireGuard learns a peer's outer address from its packets, so the hub knows everybody's. `serve` hands that list out,
inside the tunnel alone; `join` gives it to the member's own WireGuard, as its users do with scripts of their own.

A new direct peer first gets no allowed IPs, only a keepalive: both ends then punch while traffic still goes through the
hub, and the peer's /32 moves over when its handshake has been seen. It moves back when the peer falls silent.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

FAST_S = 0.1
SLOW_S = 1.0
# Ten keepalives of 1 s; WireGuard itself gives a session up after 15 s (KEEPALIVE_TIMEOUT + REKEY_TIMEOUT).
SILENT_S = 10.0
KEEPALIVE_S = 1


@dataclass(frozen=True)
class Seen:
    """A peer in `wg show DEVICE dump`: its outer address, Unix time of the last handshake (0: none), bytes received."""

    endpoint: str | None
    handshake: int
    received: int


@dataclass
class Peer:
    """Another member: what is known of it, and whether its /32 is its own or the hub's."""

    name: str
    key: str
    address: str
    endpoint: str | None = None
    direct: bool = False
    _received: int = 0
    _heard_at: float = field(default=0.0)

    def step(self, now: float, seen: Seen | None, announced: str | None) -> list[str] | None:
        """Return what is to be told to `wg set DEVICE` now; None: nothing.

        Args:
            now: a monotonic time in seconds.
            seen: what the own WireGuard knows of the peer.
            announced: its outer address as the hub sees it, None if the hub does not know it yet.
        """
        if seen is not None and seen.received > self._received:
            self._received, self._heard_at = seen.received, now
        if self.direct and now - self._heard_at > SILENT_S:
            self.direct, self.endpoint = False, None
            return ["peer", self.key, "remove"]
        if not self.direct and seen is not None and seen.handshake and now - self._heard_at <= SILENT_S:
            self.direct, self.endpoint = True, seen.endpoint
            return ["peer", self.key, "allowed-ips", f"{self.address}/32"]
        if not self.direct and announced is not None and announced != self.endpoint:
            self.endpoint, self._received = announced, 0
            return ["peer", self.key, "endpoint", announced, "persistent-keepalive", str(KEEPALIVE_S)]
        return None

    def __str__(self) -> str:
        return f"{self.name}: direct at {self.endpoint}" if self.direct else f"{self.name}: through the hub"


def parse_dump(text: str) -> dict[str, Seen]:
    """`wg show DEVICE dump`: the device's line, then one a peer of eight tab-separated fields (wg(8))."""
    peers = {}
    for line in text.splitlines()[1:]:
        key, _psk, endpoint, _allowed, handshake, received, _sent, _keepalive = line.split("\t")
        peers[key] = Seen(None if endpoint == "(none)" else endpoint, int(handshake), int(received))
    return peers


def outer_addresses(peers: Mapping[str, Seen]) -> dict[str, str]:
    """Return what the hub hands out: the outer addresses of those that it has had a handshake with."""
    return {key: seen.endpoint for key, seen in peers.items() if seen.endpoint is not None and seen.handshake}


def serve(device: str, host: str, port: int) -> None:
    """Answer every connection with the list, as JSON. Bound to the tunnel's address: only members reach it."""
    with socket.create_server((host, port)) as listener:
        _say("serving")
        while True:
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(SLOW_S)
                try:
                    connection.sendall(json.dumps(outer_addresses(parse_dump(_wg("show", device, "dump")))).encode())
                except OSError as error:
                    _say(f"a member went away: {error}")


def join(device: str, host: str, port: int, peers: Sequence[Peer]) -> None:
    """Follow the hub's list until stopped. A hub that is gone changes nothing for sessions that stand."""
    joined = False
    while True:
        announced = _fetch(host, port)
        if announced is not None and not joined:
            joined = True
            _say("joined")
        seen = parse_dump(_wg("show", device, "dump"))
        for peer in peers:
            was_direct = peer.direct
            change = peer.step(time.monotonic(), seen.get(peer.key), (announced or {}).get(peer.key))
            if change is not None:
                _wg("set", device, *change)
            if peer.direct != was_direct:
                _say(str(peer))
        time.sleep(SLOW_S if all(peer.direct for peer in peers) else FAST_S)


def _fetch(host: str, port: int) -> dict[str, str] | None:
    try:
        with socket.create_connection((host, port), timeout=SLOW_S) as connection:
            parts = []
            while part := connection.recv(65536):
                parts.append(part)
        answer = json.loads(b"".join(parts))
    except (OSError, ValueError):
        return None
    return {str(key): str(endpoint) for key, endpoint in answer.items()}


def _wg(*arguments: str) -> str:
    done = subprocess.run(["wg", *arguments], capture_output=True, text=True, timeout=10, check=False)
    if done.returncode != 0:
        raise SystemExit(f"coordinator: wg {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


def _say(text: str) -> None:
    print(f"coordinator: {text}", flush=True)


def _peers(arguments: Iterable[str]) -> list[Peer]:
    """Peers from NAME,KEY,ADDRESS."""
    return [Peer(name, key, address) for name, key, address in (argument.split(",") for argument in arguments)]


def main(arguments: Sequence[str]) -> None:
    """`serve DEVICE HOST:PORT`, or `join DEVICE HOST:PORT NAME,KEY,ADDRESS...`."""
    verb, device, where, *rest = arguments
    host, port = where.rsplit(":", 1)
    if verb == "serve":
        serve(device, host, int(port))
    else:
        join(device, host, int(port), _peers(rest))


if __name__ == "__main__":
    main(sys.argv[1:])
