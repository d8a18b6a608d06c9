"""UPnP IGD by miniupnpc, in a thread of its own: the library waits for routers, and the event loop must not."""

from __future__ import annotations

import logging
import os
import queue
import random
import threading
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from overlays.refmesh.core.igd import Request
from overlays.refmesh.wire.control import Endpoint

log = logging.getLogger("refmesh")
LEASE_S = 600
DISCOVERY_MS = (300, 1500)
"""How long to wait for routers to answer: those that take their time get it at the second try."""
PORT_TRIES = 4
CLOSE_S = 1.0
"""So long the end of the program may take for a router's sake; one that is gone would not answer at all."""
_LOWEST_PORT = 1024


class Answer(NamedTuple):
    """What came of a request; `external` None: no router maps it."""

    request: Request
    external: Endpoint | None
    lease_s: int


class IgdClient:
    """Asks for mappings one after the other. Readable when there is an answer."""

    def __init__(self, on_answer: Callable[[Answer, float], None]) -> None:
        """`on_answer(answer, now)` is called in the thread that calls `on_ready`."""
        self._on_answer = on_answer
        self._wanted: queue.SimpleQueue[Request | None] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[Answer] = queue.SimpleQueue()
        self._event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._thread: threading.Thread | None = None
        self._permanent: dict[tuple[str, int], Any] = {}
        """The router of each mapping that does not end by itself, by our address and the external port."""

    def fileno(self) -> int:
        """For epoll."""
        return self._event

    def ask(self, requests: Sequence[Request]) -> None:
        """Asks for these; returns at once."""
        for request in requests:
            self._wanted.put(request)
        if self._thread is None:
            # A daemon thread: a router that does not answer must not hold up the end of the program.
            self._thread = threading.Thread(target=self._work, name="upnp-igd", daemon=True)
            self._thread.start()

    def on_ready(self, now: float) -> None:
        """Hands over the answers that are there."""
        os.eventfd_read(self._event)
        while not self._answers.empty():
            self._on_answer(self._answers.get(), now)

    def close(self) -> None:
        """Asks no more. A mapping ends with its lease; one without a lease is deleted, which is waited for 1 s."""
        self._wanted.put(None)
        if self._permanent and self._thread is not None:
            self._thread.join(CLOSE_S)

    def _work(self) -> None:
        while (request := self._wanted.get()) is not None:
            try:
                answer = self._mapped(request)
            except Exception as error:  # the library raises bare ones, for "no IGD here" too
                log.info("UPnP IGD: %s", error)
                answer = Answer(request, None, 0)
            self._answers.put(answer)
            os.eventfd_write(self._event, 1)
        self._delete()

    def _mapped(self, request: Request) -> Answer:
        """Has a port mapped. Blocks for seconds. Raises what miniupnpc raises: bare exceptions with a text."""
        router = find(request.own)
        if router is None:
            return Answer(request, None, 0)
        host = router.externalipaddress()
        port, lease_s = request.external_port, LEASE_S
        for _ in range(PORT_TRIES):
            if not lease_s:
                # Before it is there: `close` may come while the router is being asked.
                self._permanent[request.own, port] = router
            try:
                router.addportmapping(port, "UDP", request.own, request.port, "refmesh", "", lease_s)
            except Exception as error:
                text = str(error)
                if "OnlyPermanentLeasesSupported" in text:
                    lease_s = 0
                elif "ConflictInMappingEntry" in text:
                    # Somebody else's, and not to be deleted.
                    self._permanent.pop((request.own, port), None)
                    port = random.randrange(_LOWEST_PORT, 65536)
                else:
                    raise
            else:
                return Answer(request, (host, port), lease_s)
        return Answer(request, None, 0)

    def _delete(self) -> None:
        for (_, port), router in self._permanent.items():
            try:
                router.deleteportmapping(port, "UDP")
            except Exception as error:
                log.info("UPnP IGD: port %d stays mapped: %s", port, error)


def find(own: str) -> Any:
    """Return the router that maps ports, as a miniupnpc.UPnP, asked from our address; None when none answers."""
    # Here, as only a node behind a NAT without PCP and NAT-PMP needs it.
    import miniupnpc  # noqa: PLC0415

    for wait_ms in DISCOVERY_MS:
        router = miniupnpc.UPnP(multicastif=own, discoverdelay=wait_ms)
        if router.discover():
            router.selectigd()
            return router
    return None
