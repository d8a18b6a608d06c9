"""A daemon of somebody else's that carries pings and loses UDP above 3 MB/s fails as a test, by what the trial said."""

from __future__ import annotations

import re
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))
from extension import install

pytest_plugins = ["pytester"]
pytestmark = [pytest.mark.lab, pytest.mark.waits, pytest.mark.timeout(220)]

ADAPTER = """
from harness.overlay.contract import Command
from overlays.refmesh.adapter import RefmeshAdapter

RULES = '''
table inet fault {
  set dead { type ipv4_addr; flags dynamic, timeout; timeout 1h; }
  chain leave {
    type filter hook output priority 0;
    ip saddr @dead meta l4proto udp drop
    ip saddr @dead tcp dport 443 drop
    meta l4proto udp limit rate over 3 mbytes/second update @dead { ip saddr } drop
  }
}
'''


class Leaky(RefmeshAdapter):
    name = "leaky"

    def render(self, trial):
        deployment = super().render(trial)
        load = ("sh", "-c", f"echo '{RULES}' | nft -f -")
        faults = tuple(Command(node=member, argv=load) for member in trial.topology.members)
        return deployment.model_copy(update={"setup": (*deployment.setup, *faults)})
"""
SCENARIO = """\
description: connects, then carries a load
topology: two-sites
overlays: {refmesh: mesh, leaky: mesh}
probes: {path: {deadline_s: 10}, throughput: {duration_s: 1, omit_s: 0, baseline: lab}}
expect:
  - path: direct
    tcp_throughput_mbit: {min: 1}
"""


def test_it_fails_as_a_test_and_the_sound_one_passes(
    pytester: pytest.Pytester, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = install(tmp_path, group="overlaybench.overlays", name="leaky", source=ADAPTER, attribute="Leaky")
    monkeypatch.setenv("PYTHONPATH", environment["PYTHONPATH"])
    (pytester.path / "load.yaml").write_text(SCENARIO)
    result = pytester.runpytest_subprocess(
        "load.yaml", "--overlaybench-only", "--overlaybench-out=out", "--junitxml=junit.xml"
    )
    result.assert_outcomes(passed=1, failed=1)
    told = "\n".join(result.outlines)
    # By whichever tool measured last: ours does where iperf3 lost its own connection.
    assert re.search("leaky_mesh_r1: expected path direct, but the trial failed: (iperf3|sender) a to b", told), told
    assert "not measured: leaky_mesh: expected tcp_throughput_mbit at least 1 Mbit/s" in told
    cases = {case.attrib["name"]: case for case in ET.parse(pytester.path / "junit.xml").iter("testcase")}
    values = {one.attrib["name"]: one.attrib["value"] for one in cases["refmesh_mesh"].iter("property")}
    assert float(values["tcp_throughput_mbit"]) > 1
    assert values["expected tcp_throughput_mbit"].startswith("not decided: refmesh_mesh"), "by one repeat"
    assert cases["leaky_mesh"].find("failure") is not None
