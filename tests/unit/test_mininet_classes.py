"""Any Mininet class is a topology, or `check` says why not: each kind of a small zoo. Nothing is built."""

from __future__ import annotations

from pathlib import Path

import pytest
from mininet.node import OVSBridge
from mininet.nodelib import LinuxBridge
from mininet.topo import Topo

from harness.errors import ScenarioError
from harness.model.topology import Topology
from harness.scenario.planned import plan_trials
from harness.topology.mininet_class import MininetSource
from harness.topology.mininet_graph import priorities_of

ZOO = str(Path(__file__).parents[1] / "lab")


def source(name: str) -> MininetSource:
    return MininetSource(name if ":" in name else f"mininet_zoo:{name}", (), None, ZOO)


def resolved(name: str, **params: object) -> Topology:
    return source(name).resolve(params)


def addresses(topology: Topology) -> dict[str, str]:
    return {name: str(host.addresses[0]) for name, host in topology.hosts.items()}


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("NoCable", "host h2 has no cable"),
        ("SameAddress", "address 10.0.0.2 is h1's already"),
        ("PrivateDirs", r"host h1: privateDirs: /no/such/folder is not there.*or below /run"),
        ("Cpu", "host h1: cpu: nodes share the machine's processors"),
        ("QueueAlone", "link h1 <-> s1: max_queue_size without bw"),
        ("mininet_rings:Ring", "switches s. and s. close a loop, .*stp=True"),
        ("mininet_rings:PrioTooLarge", "switch s2: prio is a whole number from 1 to 65535, not 65536"),
        ("WritesFile", r"Read-only file system: 'topo.log' \(.*mininet_zoo.py:\d+\)"),
        ("Raises", r"RuntimeError: no tree of size 0 \(.*mininet_zoo.py:\d+\)"),
        ("Ends", r"SystemExit: 3 \(.*mininet_zoo.py:\d+\)"),
        ("Nothing", "mininet_zoo has no Nothing"),
    ],
)
def test_what_no_lab_does_is_refused_by_name(name: str, complaint: str) -> None:
    with pytest.raises(ScenarioError, match=complaint):
        resolved(name)


def test_a_module_that_prints_and_parses_its_arguments_is_loaded_apart(capfd: pytest.CaptureFixture[str]) -> None:
    assert list(resolved("WithArguments").hosts) == ["h1", "h2"]
    out, said = capfd.readouterr()
    assert out == "" and "a module that prints" in said


def test_a_module_that_cannot_be_imported_is_told_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "my-own.py").write_text("import mininet.topo\n\nx = 1 / 0\n")
    with pytest.raises(ScenarioError, match=r"ZeroDivisionError: division by zero \(.*my-own.py:3\)"):
        MininetSource("my-own:X", (), None, str(tmp_path)).resolve({})


def test_hyphens_are_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "my-own.py").write_text(
        "from mininet.topo import Topo\nclass X(Topo):\n    def build(self):\n"
        "        self.addLink(self.addHost('h-1'), self.addHost('h-2'))\n"
    )
    assert list(MininetSource("my-own:X", (), None, str(tmp_path)).resolve({}).hosts) == ["h-1", "h-2"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ParsesInBuild", {"h1": "10.0.0.1", "h2": "10.0.0.2"}),
        ("AddressOnLink", {"h1": "10.0.0.77", "h2": "10.0.0.2"}),
        ("V6", {"h1": "2001:db8::1", "h2": "2001:db8::2"}),
        ("Cabled", {"h1": "10.0.0.1", "h2": "10.0.0.2"}),
        ("SameHomes", {"h1": "192.168.1.100", "h2": "192.168.1.100", "s": "45.45.0.10"}),
    ],
)
def test_addresses_are_those_that_mininet_will_give(name: str, expected: dict[str, str]) -> None:
    assert addresses(resolved(name)) == expected


def test_a_class_is_built_in_the_folder_of_its_scenario(tmp_path: Path) -> None:
    (tmp_path / "mininet_zoo.py").write_text((Path(ZOO) / "mininet_zoo.py").read_text())
    (tmp_path / "hosts.txt").write_text("one\ntwo\n")
    assert list(MininetSource("mininet_zoo:ReadsFile", (), None, str(tmp_path)).resolve({}).hosts) == ["one", "two"]


def test_three_hundred_hosts_are_as_many() -> None:
    topology = resolved("Many", n=300)
    assert len(topology.members) == 300
    assert len(set(addresses(topology).values())) == 300


def test_an_overlay_that_needs_a_server_says_how_a_host_becomes_one(tmp_path: Path) -> None:
    scenario = tmp_path / "s.yaml"
    text = "description: x\ntopology: {use: 'mininet_zoo:Ovs'%s}\noverlays: {refmesh: mesh}\nprobes: [path]\n"
    (tmp_path / "mininet_zoo.py").write_text((Path(ZOO, "mininet_zoo.py")).read_text())
    scenario.write_text(text % "")
    with pytest.raises(ScenarioError, match=r"needs a server, .* has none; `topology: \{use: \.\.\., server: HOST\}`"):
        plan_trials(str(scenario))


def test_what_a_lab_does_in_its_own_way_is_noted() -> None:
    notes = source("Ovs").notes({})
    assert notes == [
        "switch s1 (OVSSwitch) is a Linux bridge here: no controller, no flow tables",
        "switch s1: failMode, protocols means nothing to a Linux bridge",
    ]
    assert source("mininet_rings:RingWithTree").notes({}) == []
    assert source("PrioAlone").notes({}) == ["switch s1: prio means nothing without stp=True"]


def test_priorities_in_the_spanning_tree_are_those_asked_for_or_mininets_own() -> None:
    topo = Topo()
    for name, options in (("s1", {"prio": 300}), ("s2", {}), ("s3", {"cls": OVSBridge}), ("s4", {"stp": False})):
        topo.addSwitch(name, **{"cls": LinuxBridge, "stp": True} | options)
    topo.addSwitch("s5", stp=True)
    assert priorities_of(topo) == {"s1": 300, "s2": 100, "s3": 32768, "s5": 102}


def test_mininets_own_nat_is_a_router_of_ours() -> None:
    topology = resolved("Homes")
    assert topology.routers_of("h1") == ["nat1"] and topology.routers_of("s") == []
    assert [str(one) for one in topology.routers["nat2"].outside.addresses] == ["45.45.0.2"]
    assert topology.members == ("h1", "h2") and topology.server == "s"
    assert topology.hosts["h1"].on != topology.hosts["h2"].on
