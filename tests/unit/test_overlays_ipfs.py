"""kubo's adapter: whose relay it is by mode, that nothing leaves the lab, what its list of peers says. Pure."""

from __future__ import annotations

import json
from typing import Any

import pytest

from harness.model.words import Mode
from harness.overlay.contract import Deployment
from overlays.ipfs import Ipfs
from tests.unit.test_overlays import trial_of


def rendered(mode: Mode) -> Deployment:
    return Ipfs().render(trial_of("ipfs", mode))


def config(deployment: Deployment, node: str) -> dict[str, Any]:
    (file,) = (one for one in deployment.files if one.node == node)
    found: dict[str, Any] = json.loads(file.text)
    return found


def test_the_relay_is_kubos_own_where_streams_must_be_direct() -> None:
    kubo = config(rendered("direct"), "s")
    assert kubo["Swarm"]["RelayService"]["Enabled"]
    for mode in ("mesh", "relay"):
        ours = config(rendered(mode), "s")
        assert ours["unlimited"], "kubo takes limited connections neither for streams nor for content"


@pytest.mark.parametrize("mode", sorted(Ipfs.modes))
def test_a_member_knows_its_relay_by_one_address(mode: Mode) -> None:
    member = config(rendered(mode), "a")
    assert len(member["Swarm"]["RelayClient"]["StaticRelays"]) == 1
    assert member["Swarm"]["EnableHolePunching"] is (mode != "relay")


def test_nothing_that_leaves_the_lab_is_on() -> None:
    member = config(rendered("direct"), "a")
    assert (member["Bootstrap"], member["Routing"], member["DNS"]) == ([], {"Type": "none"}, {"Resolvers": {}})
    for switch in ("AutoConf", "AutoTLS"):
        assert not member[switch]["Enabled"]
    assert not member["Discovery"]["MDNS"]["Enabled"]
    assert not member["Version"]["SwarmCheckEnabled"]
    assert member["Swarm"]["DisableNatPortMap"]
    assert member["Plugins"]["Plugins"]["telemetry"]["Disabled"]


@pytest.mark.parametrize(
    ("peers", "claim"),
    [
        ("/ip4/45.45.0.10/udp/4001/quic-v1/p2p/S/p2p-circuit/p2p/B\n/ip4/45.45.0.10/tcp/4001/p2p/S", "relayed"),
        ("/ip4/45.45.0.10/tcp/4001/p2p/S/p2p-circuit/p2p/B\n/ip4/45.45.2.1/udp/4001/quic-v1/p2p/B", "direct"),
        ("/ip4/45.45.0.10/tcp/4001/p2p/S", None),
    ],
)
def test_claims(peers: str, claim: str | None) -> None:
    assert Ipfs().claimed_path("a", "b", {"peers-a": peers, "id-b": "B\n"}) == claim
    assert Ipfs().claimed_path("a", "b", {"peers-a": peers, "id-b": ""}) is None
