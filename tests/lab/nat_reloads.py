"""Changes of a router under traffic, for `tests.lab.nat_lab`."""

from __future__ import annotations

import contextlib
import socket
import threading

from harness.calibration.nat_ground import Ground
from harness.model.nat import parse_nat
from harness.nat.policies import captive_portal, deny, parse_traffic
from harness.nat.wire import Wire


def reloaded_in_use(ground: Ground, alias: str, times: int) -> list[tuple[str, str]]:
    """Return, for each change of a router's address under a flow in use, the address and what the flow has then."""
    router, seen = ground.router(parse_nat(alias), 1), []
    with Wire() as wire:
        setup = ground.setup(wire)
        bound = setup.open()
        setup.mapped(bound)
        for number in range(times):
            ended = threading.Event()

            def keep_sending(ended: threading.Event = ended) -> None:
                while not ended.wait(0.0002):
                    bound.sendto(b"still here", setup.primary)

            sender = threading.Thread(target=keep_sending)
            sender.start()
            router.change_address((f"45.45.1.{100 + number}",), 16)
            ended.set()
            sender.join()
            seen.append((f"45.45.1.{100 + number}", setup.mapped(bound).address))
    return seen


def heard_between_policies(ground: Ground, times: int) -> dict[str, int]:
    """Return how much UDP gets through while one policy after the other forbids it, and whether any does afterwards."""
    router = ground.router(parse_nat("port-restricted"), 1)
    far, near = ground.public[0].udp(), ground.inside[0].udp()
    denied, signed_out = deny(router.ports, [parse_traffic("udp")]), captive_portal(router.ports)
    ended = threading.Event()

    def keep_sending() -> None:
        while not ended.wait(0.0002):
            near.sendto(b"still here", far.getsockname())

    sender = threading.Thread(target=keep_sending)
    with far, near:
        router.set_policy(denied)
        sender.start()
        for _ in range(times):
            router.set_policy(signed_out, portal=True)
            router.set_policy(denied)
        during = len(_arrived(far))
        router.clear_policy()
        far.settimeout(5.0)
        after = len(far.recv(100))
        ended.set()
        sender.join()
    return {"during": during, "after": after, "ended": len(router.ended_daemons())}


def outlives_a_reboot(ground: Ground, alias: str, end: str) -> bool:
    """Whether a TCP connection that began inside carries on after a reboot, if one end (`inside`, `outside`) sends."""
    router = ground.router(parse_nat(alias), 1)
    listener, calling = (place.raw(socket.SOCK_STREAM) for place in (ground.public[0], ground.inside[0]))
    with listener, calling:
        listener.bind((ground.public[0].address, 0))
        listener.listen()
        calling.settimeout(1.0)
        calling.connect(listener.getsockname())
        called, _ = listener.accept()
        with called:
            called.settimeout(1.0)
            src, dst = (calling, called) if end == "inside" else (called, calling)
            src.sendall(b"1")
            dst.recv(1)
            router.reboot()
            src.sendall(b"2")
            with contextlib.suppress(TimeoutError, ConnectionResetError):
                return dst.recv(1) == b"2"
    return False


def _arrived(far: socket.socket) -> list[bytes]:
    found = []
    with contextlib.suppress(BlockingIOError):
        while True:
            found.append(far.recv(100))
    return found
