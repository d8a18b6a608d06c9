"""An overlay's address that the underlay has as well is refused before anything is deployed."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness.campaign.campaign import Campaign
from harness.errors import ScenarioError
from harness.overlay.collisions import collisions
from harness.overlay.contract import Deployment, IpEndpoint
from harness.overlay.registry import load_overlay, overlay_names
from harness.scenario.load import load_scenario
from harness.scenario.plan import expand
from harness.scenario.planned import plan_trials

CARRIER = """\
description: a carrier on 100.64/10
---
segments:
  internet: {subnet: 45.45.0.0/16}
  carrier: {subnet: 100.64.0.0/24}
hosts:
  a: {on: carrier, address: 100.64.0.2, via: ra}
  b: {on: internet, address: 45.45.3.1}
  s: {on: internet, address: 45.45.0.10}
routers:
  ra:
    nat: full-cone
    outside: {on: internet, address: 45.45.1.1}
    inside: {on: carrier, address: 100.64.0.1}
members: [a, b]
server: s
"""


def trial_of(tmp_path: Path, overlay: str) -> Any:
    (tmp_path / "carrier.yaml").write_text(CARRIER)
    mode = "" if overlay == "underlay" else "mesh"
    file = tmp_path / "s.yaml"
    text = f"description: x\ntopology: {tmp_path}/carrier.yaml\noverlays: {{{overlay}: {mode}}}\nprobes: [path]\n"
    file.write_text(text)
    (trial,) = expand(load_scenario(str(file), overlay_names()))
    return trial


def deployed(*addresses: str, open_underlay: bool = False) -> Deployment:
    ends = {name: IpEndpoint(address=address) for name, address in zip("ab", addresses, strict=True)}  # type: ignore[arg-type]
    return Deployment(endpoints=ends, open_underlay=open_underlay)


def test_hosts_and_routers_of_the_underlay_count_and_the_bare_underlay_does_not(tmp_path: Path) -> None:
    topology = trial_of(tmp_path, "underlay").topology
    assert not collisions(deployed("10.1.0.1", "100.64.0.9"), topology)
    (one,) = collisions(deployed("10.1.0.1", "100.64.0.2"), topology)
    assert "b's overlay address 100.64.0.2 is a's address in the underlay" in one
    (other,) = collisions(deployed("10.1.0.1", "100.64.0.1"), topology)
    assert "ra's address" in other
    assert not collisions(deployed("100.64.0.2", "45.45.3.1", open_underlay=True), topology)


@pytest.mark.parametrize("overlay", ["tailscale", "refmesh"])
def test_a_trial_whose_hosts_would_answer_themselves_is_invalid_and_never_started(overlay: str, tmp_path: Path) -> None:
    started: list[str] = []

    async def run(*_: object) -> str:
        started.append(overlay)
        return "ran"

    trial = trial_of(tmp_path, overlay)
    campaign = SimpleNamespace(host=SimpleNamespace(run=run), _fresh_folder=lambda _: tmp_path, pause_on=(), live=False)
    beginning = cast(Any, SimpleNamespace(step=None))
    done: Any = asyncio.run(Campaign._done(cast(Any, campaign), trial, load_overlay(overlay), beginning))
    if overlay == "tailscale":
        assert (done.outcome, started) == ("invalid", [])
        assert "would answer themselves" in done.error
    else:
        assert started == ["refmesh"]


def test_more_members_than_an_overlay_has_addresses_are_refused_before_anything_runs(tmp_path: Path) -> None:
    hosts = "".join(f"  h{n}: {{on: internet, address: 45.45.{n // 250}.{n % 250 + 1}}}\n" for n in range(254))
    names = ", ".join(f"h{n}" for n in range(254))
    text = f"description: many\n---\nsegments:\n  internet: {{subnet: 45.45.0.0/16}}\nhosts:\n{hosts}"
    for members, refused in ((253, None), (254, "10.12.0.0/24 has addresses for 254 nodes, and there are 255")):
        joining = ", ".join(names.split(", ")[:members])
        topology = tmp_path / f"many{members}.yaml"
        topology.write_text(f"{text}  s: {{on: internet, address: 45.45.200.1}}\nmembers: [{joining}]\nserver: s\n")
        file = tmp_path / "s.yaml"
        file.write_text(f"description: x\ntopology: {topology}\noverlays: {{tinc: mesh}}\nprobes: [path]\n")
        if refused is None:
            assert len(plan_trials(str(file)).trials) == 1
        else:
            with pytest.raises(ScenarioError, match=re.escape(refused)):
                plan_trials(str(file))
