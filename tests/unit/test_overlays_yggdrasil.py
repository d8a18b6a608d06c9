"""Yggdrasil's adapter: addresses from keys, who peers with whom, what its own word for a path is. Pure."""

from __future__ import annotations

import json
from ipaddress import IPv6Address
from typing import Any

import pytest

from harness.model.nat_words import Egress
from overlays.yggdrasil import Yggdrasil, address_of
from tests.unit.test_overlays import trial_of

A, B, S = "aa" * 32, "bb" * 32, "cc" * 32


@pytest.mark.parametrize(
    ("key", "address"),
    [
        # AddrForKey's own example (src/address/address_test.go of 0.5).
        (
            "bdbacfd82240de3dcd123924cbb55256fb8dab08aa98e305528ab84f419e6efb",
            "200:848a:604f:bb7e:4384:65db:8db6:6895",
        ),
        # Nine zero bits and the one that ends them are left out.
        ("0040" + "00" * 30, "209:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
        # Fewer bits than there is room for: zeros.
        ("00" * 31 + "02", "2fe:8000::"),
    ],
)
def test_the_address_follows_from_the_key(key: str, address: str) -> None:
    assert address_of(bytes.fromhex(key)) == IPv6Address(address)


def test_members_peer_with_the_public_node_alone() -> None:
    deployment = Yggdrasil().render(trial_of("yggdrasil", "relay"))
    configs: dict[str, dict[str, Any]] = {file.node: json.loads(file.text) for file in deployment.files}
    assert configs["a"]["Peers"] == configs["b"]["Peers"] == ["tls://45.45.0.10:443"]
    assert (configs["s"]["Peers"], configs["s"]["Listen"]) == ([], ["tls://[::]:443"])
    assert configs["s"]["IfName"] == "none", "the public node carries, and has no address of its own"
    for member, endpoint in deployment.endpoints.items():
        public = bytes.fromhex(configs[member]["PrivateKey"])[32:]
        assert endpoint.address == address_of(public)
        assert endpoint.interface == configs[member]["IfName"]


def peers(*keys: str, up: bool = True) -> str:
    return json.dumps({"peers": [{"key": key, "up": up} for key in keys]})


def test_the_public_node_is_the_root_of_the_tree_and_members_come_in_either_order() -> None:
    orders = set()
    for _ in range(40):
        files = Yggdrasil().render(trial_of("yggdrasil", "relay")).files
        public = {file.node: json.loads(file.text)["PrivateKey"][64:] for file in files}
        orders.add(tuple(sorted(public, key=lambda node: public[node])))
    assert orders == {("s", "a", "b"), ("s", "b", "a")}


@pytest.mark.parametrize(
    ("seen", "claimed"),
    [(peers(S), "relayed"), (peers(S, B), "direct"), (peers(S, up=False), None), ("yggdrasilctl: no such file", None)],
)
def test_what_goes_to_a_peer_is_direct(seen: str, claimed: str | None) -> None:
    evidence = {"yggdrasil-getPeers-a": seen, "yggdrasil-getSelf-b": json.dumps({"key": B})}
    assert Yggdrasil().claimed_path("a", "b", evidence) == claimed
    assert Yggdrasil().claimed_path("a", "b", {"yggdrasil-getPeers-a": seen}) is None


def test_it_gets_out_of_networks_that_let_tls_out_alone() -> None:
    trial = trial_of("yggdrasil", "relay")
    assert all(Yggdrasil().paths_behind(egress, trial) == ("relayed",) for egress in (Egress.NO_UDP, Egress.TCP_443))


def test_the_build_says_its_version() -> None:
    """A build from a module proxy would call itself unknown."""
    daemon, control = Yggdrasil().requirements()
    for one in (daemon, control):
        assert one.go is not None
        assert one.go.strings["github.com/yggdrasil-network/yggdrasil-go/src/version.buildVersion"].startswith("v0.5.")
