"""frp's adapter: who offers and who visits what by mode, and what a visitor's log says. Pure."""

from __future__ import annotations

import json
from typing import Any

import pytest

from harness.model.words import Mode
from harness.overlay.contract import Deployment
from overlays.frp import Frp
from tests.unit.test_overlays import trial_of


def rendered(mode: Mode, **options: str) -> Deployment:
    return Frp().render(trial_of("frp", mode, options=options))


def config(deployment: Deployment, node: str, path: str) -> dict[str, Any]:
    (file,) = (one for one in deployment.files if (one.node, one.path) == (node, path))
    found: dict[str, Any] = json.loads(file.text)
    return found


def test_a_public_hub_needs_nothing_at_the_caller() -> None:
    deployment = rendered("hub")
    (stream,) = (one for one in deployment.streams if (one.src, one.dst) == ("a", "b"))
    assert str(stream.listen_address) == "45.45.0.10"
    (proxy,) = config(deployment, "b", "frpc.json")["proxies"]
    assert (proxy["type"], proxy["remotePort"]) == ("tcp", stream.listen_port)
    assert not any(file.path == "visitor.json" for file in deployment.files)


@pytest.mark.parametrize(
    ("mode", "options", "types"),
    [("hub", {"proxy": "stcp"}, ["stcp"]), ("direct", {}, ["xtcp"]), ("mesh", {"protocol": "kcp"}, ["stcp", "xtcp"])],
)
def test_visitors_are_of_the_modes_types(mode: Mode, options: dict[str, str], types: list[str]) -> None:
    visitors = config(rendered(mode, **options), "a", "visitor.json")["visitors"]
    assert sorted(one["type"] for one in visitors) == types
    assert [one["bindPort"] for one in visitors if one["name"] == "b"] == [7501]
    if mode == "mesh":
        fallback, punching = sorted(visitors, key=lambda one: str(one["type"]))
        assert (fallback["bindPort"], punching["fallbackTo"]) == (-1, fallback["name"])
        assert punching["protocol"] == "kcp"


def test_the_stun_server_is_the_trials_own() -> None:
    """The default is a public name."""
    for mode in sorted(Frp.modes):
        for file in rendered(mode).files:
            assert file.path == "frps.json" or '"natHoleStunServer": "45.45.0.10:3478"' in file.text


def test_an_options_value_is_checked() -> None:
    with pytest.raises(ValueError, match="protocol: Input should be 'quic' or 'kcp', not 'tcp'"):
        rendered("direct", protocol="tcp")


@pytest.mark.parametrize(
    ("lines", "claim"),
    [
        ("[visitor/xtcp.go:1] [r] [b] establishing nat hole connection successful, sid [1]", "direct"),
        ("[visitor/xtcp.go:1] [r] [b] try to transfer connection to visitor: relayed-b", "relayed"),
        ("[visitor/xtcp.go:1] [r] [bb] establishing nat hole connection successful", None),
        ("[visitor/visitor_manager.go:1] [r] start visitor success", "relayed"),
    ],
)
def test_claims(lines: str, claim: str | None) -> None:
    assert Frp().claimed_path("a", "b", {"visitor-a": lines}) == claim
