"""Changes of a router under traffic, for `tests.lab.nat_lab`."""

from __future__ import annotations

import threading

from harness.calibration.nat_ground import Ground
from harness.model.nat import parse_nat
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
