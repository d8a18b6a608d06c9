"""The in-trial check of the links: what it asks for, and when it asks again."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness.errors import LabNotAsDeclared
from harness.lab.network import Lab
from harness.link.check import PathToCheck
from harness.model.topology import Topology
from harness.scenario.load import load_topology
from harness.trial import checks
from harness.trial.checks import check_links, links_between


def lab(**links: Any) -> Lab:
    """Two sites whose nodes are no more than pids."""
    topology: Topology = load_topology("two-sites").resolve(links)
    nodes = {name: SimpleNamespace(pid=number) for number, name in enumerate("abs", 100)}
    return cast(Lab, SimpleNamespace(topology=topology, nodes=nodes))


class Echoes:
    """Stands for `require_paths`: refuses as often as told, and keeps what it was asked."""

    def __init__(self, refusals: int) -> None:
        self.left = refusals
        self.asked: list[Sequence[PathToCheck]] = []
        self.slept: list[float] = []

    def __call__(self, paths: Sequence[PathToCheck]) -> list[str]:
        self.asked.append(paths)
        if self.left:
            self.left -= 1
            raise LabNotAsDeclared("path a-s: none of 8 echoes was answered")
        return ["as declared"]


@pytest.fixture
def echoes(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Echoes:
    made = Echoes(request.param)
    monkeypatch.setattr(checks, "require_paths", made)
    monkeypatch.setattr(checks.time, "sleep", made.slept.append)
    return made


def test_a_path_to_the_server_crosses_both_access_links() -> None:
    topology = lab(link_a="dsl", link_s={"delay_ms": 10}).topology
    assert [link.label for link in links_between(topology, "a", "s")] == ["ideal", "dsl", "10ms"]
    assert [link.label for link in links_between(topology, "b", "s")] == ["ideal", "ideal", "10ms"]


def test_a_path_between_regions_goes_up_one_arm_and_down_another() -> None:
    topology: Topology = load_topology("regions").resolve({"server": "us", "n": 3})
    trips = {name: 2 * sum(link.up.delay_ms for link in links_between(topology, name, "s")) for name in ("p1", "p2")}
    assert trips == {"p1": 90.0, "p2": 0.0}, "p2 is in the server's own region: it does not leave it"
    assert [topology.hosts[name].on for name in ("s", "p1", "p2", "p3")] == ["ix_us", "lan1", "lan2", "lan3"]
    assert [topology.routers[f"r{number}"].outside.via for number in (1, 2, 3)] == ["x_eu", "x_us", "x_as"]


@pytest.mark.parametrize("echoes", [0], indirect=True)
def test_only_paths_over_impaired_links_are_asked_about(echoes: Echoes) -> None:
    assert check_links(lab()) == []
    assert echoes.asked == []
    check_links(lab(link_a="dsl"))
    ((path,),) = echoes.asked
    assert (path.name, path.from_pid, path.to_address) == ("a-s", 100, "45.45.0.10")


@pytest.mark.parametrize("echoes", [1], indirect=True)
def test_a_check_that_fails_is_made_once_more_after_a_moment(echoes: Echoes) -> None:
    assert check_links(lab(link_a="dsl")) == ["as declared"]
    assert len(echoes.asked) == 2
    assert echoes.asked[0] == echoes.asked[1]
    assert len(echoes.slept) == 1


@pytest.mark.parametrize("echoes", [2], indirect=True)
def test_a_check_that_fails_twice_makes_the_trial_invalid(echoes: Echoes) -> None:
    with pytest.raises(LabNotAsDeclared, match="none of 8 echoes"):
        check_links(lab(link_a="dsl"))
    assert len(echoes.asked) == 2
