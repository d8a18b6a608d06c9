"""A real miniupnpd maps a port for refmesh, by each of its protocols: what nothing else punches is direct then.

A router that gives no leases is ours: miniupnpd always gives one.
"""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from harness.sandbox.unshare import sandbox_argv
from tests.lab.running import overlaybench, records

# One worker, so that what its fixture runs is run once.
pytestmark = [pytest.mark.lab, pytest.mark.waits]

SCENARIO = """\
description: two symmetric NATs, one of which maps ports for those who ask
topology: two-sites
params:
  nat_a: symmetric
  nat_b: {{mapping: APDM, filtering: APDF, port_allocation: random, port_mapping: [upnp-igd, nat-pmp, pcp]}}
overlays:
  refmesh: {{modes: {mode}, options: {{port_mapping: {protocols}}}}}
probes: {{path: {{deadline_s: {deadline_s}}}}}
"""


def path(folder: Path, protocols: str, mode: str) -> tuple[str, str]:
    """Return the path of the trial, and the log of the node behind the router that maps."""
    scenario = folder / "scenario.yaml"
    # Who becomes direct ends by that; the other waits for what does not come.
    deadline_s = 30 if mode == "direct" else 10
    scenario.write_text(SCENARIO.format(protocols=protocols, mode=mode, deadline_s=deadline_s))
    done = overlaybench("run", str(scenario), "--out", str(folder / "run"), "--no-report")
    assert done.returncode == 0, done.stderr
    (verdict,) = {record["path"] for record in records(folder / "run") if record["metric"] == "connect_success"}
    logs = (log.read_text() for log in (folder / "run" / "trials").rglob("refmesh-b*.log"))
    return str(verdict), "".join(logs)


CASES = {
    "pcp": ("[pcp]", "direct"),
    "nat-pmp": ("[nat-pmp]", "direct"),
    "igd": ("[upnp-igd]", "direct"),
    "off": ("false", "mesh"),
}


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, str]]:
    """Two cases at once: each of them waits more than it works."""
    with ThreadPoolExecutor(2) as pool:
        jobs = {name: pool.submit(path, tmp_path_factory.mktemp(name), *case) for name, case in CASES.items()}
        return {name: job.result() for name, job in jobs.items()}


@pytest.mark.parametrize(
    ("case", "said"), [("pcp", "PCP or NAT-PMP"), ("nat-pmp", "PCP or NAT-PMP"), ("igd", "UPnP IGD")]
)
def test_a_mapped_port_makes_the_path_direct(paths: dict[str, tuple[str, str]], case: str, said: str) -> None:
    verdict, log = paths[case]
    assert verdict == "direct"
    assert f"to us ({said})" in log


def test_without_a_mapping_the_same_pair_is_relayed(paths: dict[str, tuple[str, str]]) -> None:
    verdict, log = paths["off"]
    assert verdict == "relayed"
    assert "maps" not in log


def test_a_mapping_without_a_lease_is_deleted_and_a_silent_router_does_not_hold_up_the_end() -> None:
    worker = Path(__file__).with_name("igd_worker.py")
    done = subprocess.run(
        sandbox_argv([sys.executable, str(worker)]), capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["answer"] == ["45.0.0.1", 40000, 0]
    assert told["refused"] == 1  # it was asked for a lease first
    assert told["during"] == {"40000": ["127.0.0.1", 40000]}
    assert told["after"] == {}
    assert told["silent"] == told["during"]
