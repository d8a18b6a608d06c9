"""Ethereum's two ways through a NAT, told apart: discovery is UDP and crosses, RLPx is TCP and needs a port mapping."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.model.probes import Probes
from harness.model.trial import Trial
from harness.overlay.install import missing
from harness.overlay.registry import load_overlay
from harness.scenario.load import load_topology
from harness.trial.messages import Job

pytestmark = [pytest.mark.lab, pytest.mark.waits]

WORKER = Path(__file__).with_name("ethereum_worker.py")


@pytest.mark.parametrize(("maps_ports", "crosses"), [(False, False), (True, True)], ids=["plain", "upnp"])
def test_transactions_cross_only_where_a_router_maps_the_port(tmp_path: Path, maps_ports: bool, crosses: bool) -> None:
    overlay = load_overlay("ethereum")
    if lacking := missing(overlay.requirements()):
        pytest.skip(f"ethereum needs {lacking[0].program}: {lacking[0].install}")
    source = load_topology("two-sites")
    params = source.complete({"nat_b": {"port_mapping": ["upnp-igd"]} if maps_ports else "port-restricted"})
    trial = Trial(
        id="t",
        scenario="s",
        repeat=1,
        seed=1,
        overlay="ethereum",
        mode="direct",
        topology=source.resolve(params),
        probes=Probes.model_validate({"path": {}}),
    )
    (tmp_path / "job.json").write_text(Job(trial=trial, deployment=overlay.render(trial)).model_dump_json())
    done = subprocess.run(
        [sys.executable, str(WORKER), str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
        env={**os.environ},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout) == {"discovery": True, "rlpx": crosses, "intact": crosses}
