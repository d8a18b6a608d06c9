"""The groups probe: a pair whose sockets are those of this machine, on loopback; and what its figures say."""

from __future__ import annotations

import contextlib
import json
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.errors import OverlayError
from harness.probes.contract import Found
from harness.probes.groups import GroupsProbe, GroupsSettings, Heard
from harness.probes.measurement import Target

ADDRESSES = [{"ifname": "lo", "addr_info": [{"local": "127.0.0.1"}, {"local": "::1"}]}]


def pair(folder: Path, address: IPv4Address | IPv6Address) -> Target:
    node: Any = SimpleNamespace(pid=0, check_output=lambda _argv: json.dumps(ADDRESSES))
    lab: Any = SimpleNamespace(nodes={"a": node, "b": node})
    return Target(lab=lab, src="a", dst="b", src_address=address, dst_address=address, mode="mesh", folder=folder)


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.sandbox.namespace.inside_network_of", lambda _pid: contextlib.nullcontext())


def test_a_member_without_an_interface_of_that_address_is_said(tmp_path: Path) -> None:
    with pytest.raises(OverlayError, match=r"a has no interface with 10\.9\.9\.9|b has no interface"):
        GroupsProbe().measure(pair(tmp_path, IPv4Address("10.9.9.9")), GroupsSettings(count=1), None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("heard", "values"),
    [
        (Heard(5, 0), {"broadcast_heard": 1.0, "multicast_heard": 0.0}),
        (Heard(0, 1), {"broadcast_heard": 0.0, "multicast_heard": 1.0}),
        (Heard(None, 3), {"multicast_heard": 1.0}),
    ],
)
def test_one_that_arrives_is_enough(tmp_path: Path, heard: Heard, values: dict[str, float]) -> None:
    target = pair(tmp_path, IPv4Address("127.0.0.1"))
    found = GroupsProbe().summarise(Found(target, heard), GroupsSettings())
    assert {one.metric: one.value for one in found} == values
