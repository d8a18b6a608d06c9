"""Each adapter's word on networks that let no UDP out, or TCP to port 443 alone, against what comes of it there.

CI has the quick scenario, whose expectations are those words, and streams of libp2p's mesh; `make test-all` has all
modes, of every overlay that is installed (OVERLAYBENCH_NETWORKS=all).
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

from harness.conformance.examination import look
from harness.model.nat_words import Egress
from harness.model.probes import Probes
from harness.model.trial import Trial
from harness.overlay.contract import PromisesPaths
from harness.overlay.install import missing
from harness.overlay.registry import load_overlay, overlay_names
from harness.overlay.support import helpers_of, kinds_of
from harness.scenario.load import load_topology
from tests.lab.running import overlaybench, records

pytestmark = [pytest.mark.lab, pytest.mark.waits]
NETWORKS = {"udp-blocked": Egress.NO_UDP, "tls-only": Egress.TCP_443}
IN_CI = {"refmesh", "openvpn", "openvpn-tcp", "libp2p"}


def looked_at(interfaces: bool) -> list[str]:
    """Return the overlays of this run that are installed and give a promise."""
    every = os.environ.get("OVERLAYBENCH_NETWORKS") == "all"
    return [
        name
        for name in overlay_names()
        if (every or name in IN_CI)
        and isinstance(load_overlay(name), PromisesPaths)
        and ("interface" in kinds_of(load_overlay(name))) == interfaces
        and not missing(load_overlay(name).requirements())
    ]


@pytest.mark.nightly  # the quick scenario has the same of refmesh and OpenVPN
@pytest.mark.timeout(900)
@pytest.mark.parametrize("network", NETWORKS)
def test_interfaces_are_reached_as_promised(network: str, tmp_path: Path) -> None:
    names = looked_at(interfaces=True)
    scenario = {
        "description": "what is promised where little gets out",
        "topology": "two-sites",
        "params": {"nat_a": network, "nat_b": "port-restricted"},
        "overlays": {name: sorted(load_overlay(name).modes) for name in names},
        "probes": {"path": {"deadline_s": 15}},
        "expect": "oracle",
    }
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(scenario))
    done = overlaybench(
        "run", str(tmp_path / "mine.yaml"), "--out", str(tmp_path / "run"), "--no-report", timeout_s=850
    )
    found = records(tmp_path / "run")
    seen = {(one["overlay"], one["mode"]): one["path"] for one in found if one["metric"] == "connect_success"}
    assert done.returncode == 0, (done.stderr[-3000:], seen)
    assert seen.keys() == {(name, mode) for name in names for mode in load_overlay(name).modes}


@pytest.mark.timeout(400)
def test_the_quick_scenario_shows_each_way_out(tmp_path: Path) -> None:
    done = overlaybench(
        "run", "restricted-networks-quick", "--out", str(tmp_path / "run"), "--no-report", timeout_s=380
    )
    found = [one for one in records(tmp_path / "run") if one["metric"] == "connect_success"]
    seen = {(one["overlay"], one["mode"], one["nat_a"]): one["path"] for one in found}
    assert done.returncode == 0, (done.stderr[-3000:], seen)
    assert {mode: seen["refmesh", mode, "tls-only"] for mode in ("mesh", "relay", "hub")} == dict.fromkeys(
        ("mesh", "relay", "hub"), "relayed"
    )
    assert seen["refmesh", "mesh", "full-cone"] == "direct"
    assert [seen["openvpn", "hub", nat] for nat in (*NETWORKS, "full-cone")] == ["none", "none", "relayed"]
    assert [seen["openvpn-tcp", "hub", nat] for nat in NETWORKS] == ["relayed", "relayed"]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize(
    ("name", "mode"),
    [
        pytest.param(name, mode, marks=() if mode == "mesh" else pytest.mark.nightly)
        for name in looked_at(interfaces=False)
        for mode in sorted(load_overlay(name).modes)
    ],
)
def test_streams_and_content_come_as_promised(name: str, mode: str, network: str, tmp_path: Path) -> None:
    overlay, source = load_overlay(name), load_topology("two-sites")
    nats = {"nat_a": network, "nat_b": "port-restricted"}
    trial = Trial.model_validate(
        {
            **{"id": "networks", "scenario": "networks", "repeat": 1, "seed": 7, "overlay": name, "mode": mode},
            "topology": source.resolve(source.complete({**nats, "helpers": helpers_of(overlay, mode)})),  # type: ignore[arg-type]
            "probes": Probes.model_validate({"path": {"deadline_s": 15}}),
        }
    )
    seen = look(trial, overlay, tmp_path, what="paths", longest_s=250)
    path = seen.get("stream_path") or (seen.get("content_path") if seen.get("content_fetched") else None) or "none"
    assert isinstance(overlay, PromisesPaths)
    assert path in overlay.paths_behind(NETWORKS[network], trial), seen
