"""A router whose address changes opens when all others know it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from ipaddress import IPv4Address
from types import SimpleNamespace
from typing import Any

import pytest

from harness.lab import plugging
from harness.scenario.load import load_topology
from harness.timeline.change_address import _readdress


def test_it_opens_when_its_neighbours_are_settled(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []

    @contextlib.contextmanager
    def shut() -> Iterator[None]:
        done.append("shut")
        yield
        done.append("open")

    router = SimpleNamespace(shut=shut, change_address=lambda *_: done.append("address"))
    lab: Any = SimpleNamespace(
        topology=load_topology("two-sites").resolve({"nat_a": "port-restricted", "nat_b": "port-restricted"}),
        routers={"ra": router},
        followers={"partition": lambda topologies: done.append(f"parted in {len(topologies)}")},
        settle_neighbours=lambda: done.append("neighbours"),
    )
    monkeypatch.setattr(plugging, "admit_subscribers", lambda *_: done.append("blocks"))
    monkeypatch.setattr(plugging, "set_routes", lambda *_: done.append("routes"))
    _readdress(lab, "ra", (IPv4Address("45.45.9.9"),))
    assert done == ["blocks", "shut", "parted in 2", "address", "routes", "parted in 1", "neighbours", "open"]
    assert str(lab.topology.routers["ra"].outside.ipv4[0]) == "45.45.9.9"
