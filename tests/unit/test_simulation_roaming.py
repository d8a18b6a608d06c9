"""Who roams leaves no router behind in the simulated Internet, and takes none away that somebody else needs."""

from __future__ import annotations

import gc
import random
import weakref

import pytest

from harness.simulation.internet import Host, Internet, Router
from harness.simulation.population import Access
from harness.simulation.world import attach, roam

PORT = 4000


def routers_of(host: Host) -> list[Router]:
    """Return the routers in front of a host, nearest first."""
    found, router = [], host.router
    while router is not None:
        found.append(router)
        router = router.outside.router
    return found


def answered(internet: Internet, host: Host) -> bool:
    """Tell whether a public server's answer comes back to a host."""
    got: list[bytes] = []
    server = internet.host(None, lambda datagram, source, port: server.send(datagram, port, source))
    host.receive = lambda datagram, *_: got.append(datagram)
    host.send(b"hello", PORT, (server.address, PORT))
    internet.events.run(1.0)
    return got == [b"hello"]


@pytest.mark.parametrize("shared", [0, 1])
@pytest.mark.parametrize("routers", [["full-cone"], ["firewall"], ["home-router", "cgn"], ["firewall", "full-cone"]])
def test_routers_go_behind_which_nobody_is_any_more(routers: list[str], shared: int) -> None:
    internet, access = Internet(random.Random(1)), Access.model_validate({"share": 1.0, "routers": routers})
    a, b = attach(internet, [access] * 2, shared, ipv6=False)
    left = [weakref.ref(router) for router in routers_of(a)]
    for _ in range(2):
        roam(internet, a, access, ipv6=False)
    gc.collect()
    assert [ref() for ref in left if ref() is not None] == shared * routers_of(b)[-1:]
    assert answered(internet, a)
    assert answered(internet, b)
    left = [weakref.ref(router) for router in routers_of(b)]
    roam(internet, b, access, ipv6=False)
    internet.events.run(600.0)
    gc.collect()
    assert [ref() for ref in left if ref() is not None] == []
