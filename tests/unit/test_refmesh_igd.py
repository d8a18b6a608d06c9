"""UPnP IGD's client: a mapping without a lease is deleted at the end, and a router that is gone holds nobody up."""

from __future__ import annotations

import select
import threading
from collections.abc import Callable

import pytest

from overlays.refmesh.core.igd import Request
from overlays.refmesh.driver import igd
from overlays.refmesh.driver.igd import Answer, IgdClient

OWN, PORT = "192.168.1.2", 40000
REQUEST = Request(OWN, PORT, PORT)


class Router:
    """What the client uses of miniupnpc.UPnP, with its way to refuse: a bare exception."""

    def __init__(self, *, leases: bool, taken: tuple[int, ...] = ()) -> None:
        self.leases, self.taken = leases, taken
        self.mapped: dict[int, tuple[str, int]] = {}
        self.deleted: list[int] = []
        self.answers = threading.Event()
        """Until it is set the router does not answer to deletions."""
        self.answers.set()

    def externalipaddress(self) -> str:
        return "45.0.0.1"

    def addportmapping(self, port: int, _udp: str, host: str, own: int, _name: str, _any: str, lease_s: int) -> None:
        if lease_s and not self.leases:
            raise Exception("OnlyPermanentLeasesSupported")
        if port in self.taken:
            raise Exception("ConflictInMappingEntry")
        self.mapped[port] = (host, own)

    def deleteportmapping(self, port: int, _udp: str) -> None:
        self.answers.wait()
        self.deleted.append(port)
        del self.mapped[port]


Ask = Callable[[Router], tuple[IgdClient, Answer]]


@pytest.fixture
def ask(monkeypatch: pytest.MonkeyPatch) -> Ask:
    """Has `REQUEST` asked of a router; gives the client and the answer."""

    def asked(router: Router) -> tuple[IgdClient, Answer]:
        monkeypatch.setattr(igd, "find", lambda _: router)
        answers: list[Answer] = []
        client = IgdClient(lambda answer, _: answers.append(answer))
        client.ask([REQUEST])
        while not answers:
            select.select([client], [], [])
            client.on_ready(0.0)
        return client, answers[0]

    return asked


def test_a_mapping_without_a_lease_is_deleted_at_the_end(ask: Ask) -> None:
    router = Router(leases=False)
    client, answer = ask(router)
    assert answer == Answer(REQUEST, ("45.0.0.1", PORT), 0)
    assert router.mapped == {PORT: (OWN, PORT)}
    client.close()
    assert router.mapped == {}


def test_a_mapping_with_a_lease_is_left_to_it(ask: Ask) -> None:
    router = Router(leases=True)
    client, answer = ask(router)
    assert answer.lease_s == igd.LEASE_S
    client.close()
    assert client._thread is not None
    client._thread.join()
    assert router.deleted == []


def test_a_port_that_is_mapped_to_somebody_else_is_not_deleted(ask: Ask) -> None:
    router = Router(leases=False, taken=(PORT,))
    router.mapped[PORT] = ("192.168.1.3", 5)
    client, answer = ask(router)
    assert answer.external is not None
    assert answer.external[1] != PORT
    client.close()
    assert router.deleted == [answer.external[1]]
    assert router.mapped == {PORT: ("192.168.1.3", 5)}


def test_a_router_that_is_gone_does_not_hold_up_the_end(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(igd, "CLOSE_S", 0.01)
    router = Router(leases=False)
    client, _ = ask(router)
    router.answers.clear()
    client.close()  # comes back, though the router does not
    assert router.deleted == []
    assert client._thread is not None
    assert client._thread.daemon
    router.answers.set()
    client._thread.join()
    assert router.deleted == [PORT]
