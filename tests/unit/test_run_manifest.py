"""A run that goes on is the same experiment, or is refused with what differs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest
from made_runs import folder_of

from harness.campaign.manifest import differences, new_manifest, require_same_labels, require_same_plan
from harness.commands.arguments import NOT_LABELS, labels_of
from harness.errors import ScenarioError
from harness.hosts.contract import HostFacts
from harness.report.facts import asked
from harness.results.history import RUN, VERSION
from harness.results.loading import load
from harness.scenario.planned import Planned, plan_trials

FACTS = HostFacts(
    commit="abc",
    privileged=True,
    machine={"kernel": "6.1", "cpus": 2, "load_1min": 1.0, "sysctls": {"net.core.rmem_max": "1"}},
    tool_versions={"nft": "1.0.6"},
    overlay_versions={"refmesh": "0.1"},
    link_backend="userlink",
)
TOPOLOGY = """\
description: x
parameters:
  nat_a: {type: nat, default: full-cone}
---
segments: {net: {subnet: 45.45.0.0/16}, lan: {subnet: 192.168.1.0/24}}
hosts:
  a: {on: lan, address: 192.168.1.2, via: ra}
  b: {on: net, address: 45.45.0.2}
routers:
  ra:
    nat: {{ nat_a }}
    outside: {on: net, address: 45.45.1.1}
    inside: {on: lan, address: 192.168.1.1}
members: [a, b]
"""


@pytest.fixture
def planned(tmp_path: Path) -> Planned:
    (tmp_path / "net.yaml").write_text(TOPOLOGY)
    (tmp_path / "mine.yaml").write_text("description: x\ntopology: net.yaml\noverlays: {underlay: }\nprobes: [path]\n")
    return plan_trials(str(tmp_path / "mine.yaml"))


def manifest_of(planned: Planned) -> dict[str, Any]:
    return new_manifest(planned.loaded, FACTS, started_at="now", run="r", command=["overlaybench"], version="1")


def changed(**changes: Any) -> HostFacts:
    return FACTS.model_copy(update=changes)


def test_nothing_has_changed_but_the_load(planned: Planned) -> None:
    busier = changed(machine={**FACTS.machine, "load_1min": 7.5})
    assert differences(manifest_of(planned), planned.loaded, busier) == []


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        (changed(commit="def"), "overlaybench's commit (was abc, is def)"),
        (changed(link_backend="netem"), "what carries the links (was userlink, is netem)"),
        (changed(privileged=False), "root (was True, is False)"),
        (changed(tool_versions={"nft": "1.1.3"}), "tool nft (was 1.0.6, is 1.1.3)"),
        (changed(overlay_versions={"refmesh": "0.2"}), "overlay refmesh (was 0.1, is 0.2)"),
        (changed(machine={**FACTS.machine, "kernel": "6.12"}), "machine: kernel (was 6.1, is 6.12)"),
        (
            changed(machine={**FACTS.machine, "sysctls": {"net.core.rmem_max": "2"}}),
            "machine: sysctls net.core.rmem_max (was 1, is 2)",
        ),
    ],
)
def test_what_has_changed_is_named(planned: Planned, facts: HostFacts, said: str) -> None:
    assert differences(manifest_of(planned), planned.loaded, facts) == [said]


def test_files_that_no_commit_tells_are_known_by_their_digest(planned: Planned) -> None:
    begun = changed(commit="abc+changes", code="digest")
    manifest = new_manifest(planned.loaded, begun, started_at="now", run="r", command=["overlaybench"], version="1")
    assert differences(manifest, planned.loaded, begun) == []
    other = begun.model_copy(update={"code": "another"})
    for same_machine in (True, False):
        found = differences(manifest, planned.loaded, other, same_machine=same_machine)
        assert found == ["overlaybench's local changes, which no commit tells"]
    (older,) = manifest["hosts"].values()
    del older["code"]
    assert differences(manifest, planned.loaded, other) == []


def test_over_many_hosts_the_machine_may_be_another_and_its_python_not(planned: Planned) -> None:
    begun = changed(machine={**FACTS.machine, "python": "3.11.2"})
    manifest = new_manifest(planned.loaded, begun, started_at="now", run="r", command=["overlaybench"], version="1")
    newer = changed(machine={"kernel": "6.12", "python": "3.11.2"})
    assert differences(manifest, planned.loaded, newer, same_machine=False) == []
    newer = changed(machine={"kernel": "6.12", "python": "3.12.0"})
    said = differences(manifest, planned.loaded, newer, same_machine=False)
    assert said == ["machine: python (was 3.11.2, is 3.12.0)"]


def test_another_link_backend_is_no_difference_where_the_scenario_names_one(planned: Planned, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(planned.loaded.text + "links: userlink\n")
    named = plan_trials(str(tmp_path / "mine.yaml"))
    assert differences(manifest_of(named), named.loaded, changed(link_backend="netem")) == []


def test_a_run_of_before_backends_were_kept_goes_on(planned: Planned) -> None:
    older = {key: value for key, value in manifest_of(planned).items() if key != "link_backend"}
    assert differences(older, planned.loaded, FACTS) == []


def test_another_content_of_the_topology_is_another_experiment(planned: Planned, tmp_path: Path) -> None:
    before = manifest_of(planned)
    (tmp_path / "net.yaml").write_text(TOPOLOGY.replace("default: full-cone", "default: symmetric"))
    again = plan_trials(str(tmp_path / "mine.yaml"))
    require_same_plan(before, [{"id": t.id, "seed": t.seed} for t in again.trials], again.loaded, again.trials, "run")
    assert differences(before, again.loaded, FACTS) == ["the content of topology net"]


def test_a_mininet_class_is_known_by_its_text(tmp_path: Path) -> None:
    text = "from mininet.topo import Topo\nclass Two(Topo):\n    def build(self):\n        s = self.addSwitch('s1')\n"
    text += "        for name in ('a', 'b'):\n            self.addLink(self.addHost(name), s)\n"
    (tmp_path / "two_hosts_by_text.py").write_text(text)
    (tmp_path / "mine.yaml").write_text(
        "description: x\ntopology: two_hosts_by_text:Two\noverlays: {underlay: }\nprobes: [path]\n"
    )
    assert plan_trials(str(tmp_path / "mine.yaml")).loaded.topology.source_text == text


def test_another_plan_is_refused_whatever_is_accepted(planned: Planned) -> None:
    with pytest.raises(ScenarioError, match="another plan"):
        require_same_plan(manifest_of(planned), [], planned.loaded, planned.trials, "run")
    other = {**manifest_of(planned), "scenario_sha256": "0"}
    with pytest.raises(ScenarioError, match="another text"):
        require_same_plan(other, [], planned.loaded, planned.trials, "run")


def test_a_run_goes_on_with_its_own_labels_and_no_others() -> None:
    began = {"labels": {"commit": "1a2b"}}
    require_same_labels(began, {}, "runs/x")
    require_same_labels(began, {"commit": "1a2b"}, "runs/x")
    for labels, said in (({"commit": "3c4d"}, "was 1a2b"), ({"branch": "main"}, "was not given")):
        with pytest.raises(ScenarioError, match=rf"runs/x:0: --label \w+: {said}"):
            require_same_labels(began, labels, "runs/x")


def test_labels_are_pairs_each_given_once() -> None:
    assert labels_of(("commit=1a2b", "url=http://x/?a=b")) == {"commit": "1a2b", "url": "http://x/?a=b"}
    for texts in (("commit",), ("=1a2b",), ("commit=",), ("commit=1", "commit=2"), ("version=1",), ("run=x",)):
        with pytest.raises(click.UsageError, match="--label"):
            labels_of(texts)


def test_no_label_is_named_like_what_trend_tells_points_apart_by_anyway() -> None:
    assert set(NOT_LABELS) == {VERSION, RUN}


def test_the_page_says_what_a_run_is_of(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, 1)
    assert "labels" not in dict(asked(load(tmp_path)))
    folder.write_manifest({**folder.manifest(), "labels": {"commit": "1a2b", "branch": "main"}})
    assert dict(asked(load(tmp_path)))["labels"] == "commit=1a2b, branch=main"
