"""A coordinator for WireGuard: tells members each other's outer address, moves traffic once a direct session stands.

WireGuard learns a peer's outer address from its packets, so the hub knows everybody's. `serve` hands that list out,
inside the tunnel alone, and says who begins (`turns.py`); `join` tells the member's own WireGuard, as its users do with
scripts of their own.
"""

from __future__ import annotations

import json
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from ipaddress import IPv4Address

from overlays.wireguard.turns import Peer, Report, Seen, Told, Turns

FAST_S = 0.1
SLOW_S = 1.0
WG_S = 10.0


def parse_dump(text: str) -> dict[str, Seen]:
    """Parse `wg show DEVICE dump`: the device's line, then one a peer of eight tab-separated fields (wg(8))."""
    peers = {}
    for line in text.splitlines()[1:]:
        key, _psk, endpoint, _allowed, handshake, received, _sent, _keepalive = line.split("\t")
        peers[key] = Seen(None if endpoint == "(none)" else endpoint, int(handshake), int(received))
    return peers


def outer_addresses(peers: Mapping[str, Seen]) -> dict[str, str]:
    """Return what the hub hands out: the outer addresses of those that it has had a handshake with."""
    return {key: seen.endpoint for key, seen in peers.items() if seen.endpoint is not None and seen.handshake}


def opening(source_port: int, endpoint: str) -> bytes:
    """Return an IPv4 packet with an empty UDP datagram from WireGuard's port: it opens our NAT, and a peer drops it.

    The kernel fills in length, source address and the header's checksum (raw(7)); a UDP checksum of 0 is none.
    """
    host, port = endpoint.rsplit(":", 1)
    udp = struct.pack("!HHHH", source_port, int(port), 8, 0)
    return struct.pack("!BBHHHBBH4s4s", 0x45, 0, 0, 0, 0, 64, 17, 0, bytes(4), IPv4Address(host).packed) + udp


def serve(device: str, host: str, port: int) -> None:
    """Answer every report, a line of JSON each way. Bound to the tunnel's address, so only members reach it."""
    turns = Turns()
    with socket.create_server((host, port)) as listener:
        _say("serving")
        while True:
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(SLOW_S)
                try:
                    who, report = _parse_report(_line(connection))
                    known = outer_addresses(parse_dump(_wg("show", device, "dump")))
                    told = turns.answer(time.monotonic(), who, report, known)
                    connection.sendall(json.dumps({key: asdict(one) for key, one in told.items()}).encode() + b"\n")
                except (OSError, ValueError, KeyError, TypeError) as error:
                    _say(f"a member went away: {error}")


class Asker:
    """Asks the coordinator again and again in a thread of its own, so that a long way there delays nothing here."""

    def __init__(self, host: str, port: int, key: str) -> None:
        self.told: dict[str, Told] = {}
        self.joined = threading.Event()
        self.hurry = threading.Event()
        self.report = Report()
        self._where, self._key = (host, port), key
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def _run(self) -> None:
        rtt_s = 0.0
        while True:
            self.hurry.clear()
            began = time.monotonic()
            try:
                with socket.create_connection(self._where, timeout=2 * SLOW_S) as connection:
                    rtt_s = time.monotonic() - began
                    connection.sendall(_report_line(self._key, self.report, rtt_s))
                    told = json.loads(_line(connection))
                self.told = {str(key): Told(**one) for key, one in told.items()}
                self.joined.set()
            except (OSError, ValueError, TypeError):
                time.sleep(FAST_S)  # the hub is gone: sessions that stand go on without it
            at_rest = bool(self.told) and all(one.slow or key in self.report.direct for key, one in self.told.items())
            self.hurry.wait(SLOW_S if at_rest else FAST_S)


def join(device: str, host: str, port: int, peers: Sequence[Peer]) -> None:
    """Do as the coordinator says until stopped. A hub that is gone changes nothing for sessions that stand."""
    own_key, own_port = _wg("show", device, "public-key").strip(), int(_wg("show", device, "listen-port"))
    asker = Asker(host, port, own_key)
    asker.start()
    asker.joined.wait()
    _say("joined")
    # It sends whole packets and receives none, whereas a raw UDP socket would get a copy of each datagram.
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
        while True:
            seen = parse_dump(_wg("show", device, "dump"))
            for peer in peers:
                was_direct = peer.direct
                step = peer.step(time.monotonic(), seen.get(peer.key), asker.told.get(peer.key))
                for command in step.commands:
                    _wg("set", device, *command)
                if step.open_to is not None:
                    _send(raw, own_port, step.open_to)
                if peer.direct != was_direct:
                    _say(str(peer))
            report = Report(
                opened={peer.key: peer.opened for peer in peers if peer.opened is not None},
                direct=frozenset(peer.key for peer in peers if peer.direct),
            )
            if report != asker.report:
                asker.report = report
                asker.hurry.set()
            time.sleep(SLOW_S if len(report.direct) == len(peers) else FAST_S)


def _send(raw: socket.socket, own_port: int, endpoint: str) -> None:
    try:
        raw.sendto(opening(own_port, endpoint), (endpoint.rsplit(":", 1)[0], 0))
    except OSError as error:
        _say(f"cannot open the way to {endpoint}: {error.strerror}")


def _report_line(key: str, report: Report, rtt_s: float) -> bytes:
    said = {"key": key, "rtt_s": rtt_s, "opened": dict(report.opened), "direct": sorted(report.direct)}
    return json.dumps(said).encode() + b"\n"


def _parse_report(line: bytes) -> tuple[str, Report]:
    """Read it; raise ValueError, KeyError or TypeError where it is none."""
    said = json.loads(line)
    return str(said["key"]), Report(
        float(said["rtt_s"]),
        {str(key): int(attempt) for key, attempt in said["opened"].items()},
        frozenset(map(str, said["direct"])),
    )


def _line(connection: socket.socket) -> bytes:
    with connection.makefile("rb") as reader:
        return reader.readline()


def _wg(*arguments: str) -> str:
    try:
        done = subprocess.run(["wg", *arguments], capture_output=True, text=True, timeout=WG_S, check=False)
    except subprocess.TimeoutExpired:
        raise SystemExit(f"coordinator: wg {' '.join(arguments)}: did not end within {WG_S:g} s") from None
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
