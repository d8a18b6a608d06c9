"""Ends of events: each gives back what there was before its own beginning, whatever else is in force."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from harness.lab.plugging import becoming
from harness.model.nat import parse_nat
from harness.model.topology import Topology
from harness.probes.measurement import Target
from harness.probes.traffic import _Watch
from harness.scenario.load import load_topology
from harness.timeline.contract import EventSettings, NoSettings
from harness.timeline.layers import Before, Layers
from harness.timeline.partition import _addresses
from harness.timeline.registry import events


class Lab:
    """A lab that notes what is done to its one router."""

    def __init__(self, topology: Topology) -> None:
        self.topology, self.done = topology, list[str]()
        self.followers: dict[str, Any] = {}
        router = SimpleNamespace(
            ports="the ports",
            behaviour=topology.routers["ra"].nat,
            block_udp=lambda: self.done.append("block"),
            unblock_udp=lambda: self.done.append("unblock"),
            set_policy=lambda text, portal=False: self.done.append(f"policy {text}{' portal' * portal}"),
            clear_policy=lambda: self.done.append("no policy"),
        )
        router.change_behaviour = lambda nat: (setattr(router, "behaviour", nat), self.done.append(nat.label))
        self.routers = {"ra": router}
        changed: Any = lambda cable, profile: self.done.append(f"{cable} {profile.name}")  # noqa: E731
        self.links = SimpleNamespace(applied={"ra-internet": None}, change=changed)

    def watched_ports(self) -> dict[str, list[str]]:
        return {}


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch) -> Lab:
    source = load_topology("two-uplinks")
    made = Lab(source.resolve(source.complete({"nat_a": "full-cone", "link_a": "fibre"})))

    def place(one: Lab, host: str, placed: Any) -> float:
        one.topology = one.topology.model_copy(update={"hosts": {**one.topology.hosts, host: placed}})
        one.done.append(f"{host} {placed.on} {placed.addresses[0]}")
        return 1.0

    monkeypatch.setattr("harness.lab.plugging.place_host", place)

    def send(one: Lab, host: str, router: str) -> None:
        placed = one.topology.hosts[host].model_copy(update={"via": router})
        one.topology = one.topology.model_copy(update={"hosts": {**one.topology.hosts, host: placed}})
        one.done.append(f"by {router}")

    monkeypatch.setattr("harness.lab.plugging.send_by", send)
    monkeypatch.setattr("harness.lab.partition.separate", lambda name, *_: made.done.append(f"part {name}"))
    monkeypatch.setattr("harness.lab.partition.join", lambda name: made.done.append(f"join {name}"))
    monkeypatch.setattr("harness.nat.policies.deny", lambda _, traffic: f"deny {len(traffic)}")
    monkeypatch.setattr("harness.nat.policies.captive_portal", lambda _: "captive")
    return made


class Doing:
    """One event on one subject of a lab."""

    def __init__(self, lab: Any, name: str, to: str) -> None:
        self.lab, self.to, self.event = lab, to, type(events()[name])()

    def do(self, **said: Any) -> None:
        self.event.perform(self.lab, None, self.to, self.event.settings.model_validate(said))

    def undo(self, **said: Any) -> None:
        self.event.undo(self.lab, None, self.to, self.event.settings.model_validate(said))


def test_an_end_after_a_change_for_good_leads_back_to_that_change(lab: Lab) -> None:
    one = Doing(lab, "renew_ip", "a")
    first, second = {"addresses": ["192.168.1.77"]}, {"addresses": ["192.168.1.88"]}
    one.do(**first)
    one.do(**second)
    one.undo(**second)
    assert [step.split()[-1] for step in lab.done] == ["192.168.1.77", "192.168.1.88", "192.168.1.77"]
    lab.done.clear()
    sent = Doing(lab, "switch_uplink", "a")
    sent.do(via="ra2")
    sent.do(via="ra")
    sent.undo(via="ra")
    assert lab.done == ["by ra2", "by ra", "by ra2"]
    lab.done.clear()
    moved = Doing(lab, "move", "a")
    moved.do(into="lan_b")
    moved.do(into="internet", addresses=["45.45.9.9"])
    moved.undo(into="internet", addresses=["45.45.9.9"])
    assert [step.split()[1] for step in lab.done] == ["lan_b", "internet", "lan_b"]


def test_an_address_that_is_given_back_while_its_host_is_elsewhere_is_there_when_it_comes_home(lab: Lab) -> None:
    """One begins after so many seconds, the other when all is direct: nobody can know beforehand that they overlap."""
    renewed, moved, home = Doing(lab, "renew_ip", "a"), Doing(lab, "move", "a"), lab.topology.hosts["a"]
    renewed.do(addresses=["192.168.1.77"])
    moved.do(into="lan_b")
    away = lab.topology.hosts["a"]
    renewed.undo(addresses=["192.168.1.77"])
    assert lab.topology.hosts["a"] == away, "its address there is none of that"
    moved.undo(into="lan_b")
    assert lab.topology.hosts["a"] == home
    moved.do(into="lan_b")
    renewed.do(addresses=["192.168.2.77"])
    moved.undo(into="lan_b")
    renewed.undo(addresses=["192.168.2.77"])
    assert lab.topology.hosts["a"] == home, "what was another there is over with the place"


def test_two_that_overlap_end_with_the_last_of_them(lab: Lab) -> None:
    blocked = Doing(lab, "block_udp", "ra")
    blocked.do()
    blocked.do()
    blocked.undo()
    assert lab.done == ["block"], "the second lasts"
    blocked.undo()
    assert lab.done == ["block", "unblock"]
    lab.done.clear()
    parted = Doing(lab, "partition", "a")
    for act in (parted.do, parted.do, parted.undo, parted.undo):
        act(away_from="b")
    assert lab.done == ["part a_b", "join a_b"]


def test_a_policy_a_behaviour_and_a_profile_are_those_from_before(lab: Lab) -> None:
    wall = Doing(lab, "firewall", "ra")
    wall.do(deny="udp")
    wall.do(captive_portal=True)
    wall.undo(captive_portal=True)
    wall.undo(deny="udp")
    assert lab.done == ["policy deny 1", "policy captive portal", "policy deny 1", "no policy"]
    nat = Doing(lab, "change_nat", "ra")
    before = lab.routers["ra"].behaviour
    nat.do(nat="symmetric")
    nat.do(nat="cgn")
    nat.undo(nat="cgn")
    assert lab.routers["ra"].behaviour.label == parse_nat("symmetric").label
    nat.undo(nat="symmetric")
    assert lab.routers["ra"].behaviour == before
    lab.done.clear()
    link = Doing(lab, "link_change", "ra")
    link.do(link="lte")
    ramp = link.event.settings.model_validate({"link": "dsl", "over_s": 0.2})
    steps = link.event.further(lab, "ra", ramp)  # type: ignore[arg-type]
    link.event.perform(lab, None, "ra", ramp)  # type: ignore[arg-type]
    for _, step in steps:
        link.event.perform(lab, None, "ra", step)  # type: ignore[arg-type]
    link.event.undo(lab, None, "ra", ramp)  # type: ignore[arg-type]
    assert lab.done[-2:] == ["ra-internet dsl", "ra-internet lte"], "the steps are one change"


class Named(EventSettings):
    """Settings that tell changes apart."""

    word: str = ""


def test_a_change_under_another_one_is_taken_out_and_the_other_goes_on() -> None:
    layers, lab = Layers[str](), Lab(load_topology("two-sites").resolve({}))
    there: Any = lab
    first, second = Named(word="1"), Named(word="2")
    assert layers.top(there, "a") is None
    layers.put(there, "a", first, "home")
    layers.put(there, "a", second, "first")
    assert layers.take(there, "a", first) is None and layers.top(there, "a") == second
    assert layers.take(there, "a", second) == Before("home")
    with pytest.raises(KeyError):
        layers.take(there, "a", NoSettings())


def test_housemates_of_who_is_parted_keep_their_router() -> None:
    def addresses(topology: str, *hosts: str) -> set[str]:
        return set(map(str, _addresses(load_topology(topology).resolve({}), hosts)))

    assert addresses("same-site", "a") == {"192.168.1.2"}
    assert "45.45.1.1" in addresses("same-site", "a", "b"), "it is theirs alone"
    assert addresses("two-sites", "a") == {"192.168.1.2", "45.45.1.1"}


def test_who_is_parted_stays_so_at_other_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    source = load_topology("roaming")
    lab: Any = Lab(source.resolve({"ip": "dual", "nat_a": {"alias": "dual-stack", "nptv6": "2a0e:77::/64"}}))
    seen: list[set[str]] = []
    monkeypatch.setattr(
        "harness.lab.partition.separate",
        lambda _name, _ports, one, other: seen.append(set(map(str, one)) | set(map(str, other))),
    )
    monkeypatch.setattr("harness.lab.partition.join", lambda _name: seen.append(set()))
    parted = Doing(lab, "partition", "a")
    parted.do(away_from="b")
    b = {"192.168.2.2", "2a0e:45:2::2", "45.45.2.1", "2a0e:45::2:1"}
    home = {"192.168.1.2", "2a0e:45:1::2", "2a0e:77::2", "45.45.1.1", "2a0e:45::1:1"}
    away = {"10.64.0.250", "2a0e:45:3::fa", "45.45.3.1", "2a0e:45::3:1"}
    moved = events()["move"].applied(lab.topology, "a", events()["move"].settings.model_validate({"into": "rm"}))
    with becoming(lab, moved):
        pass
    parted.undo(away_from="b")
    assert seen == [home | b, home | away | b, away | b, set()]
    with becoming(lab, source.resolve({})):
        pass
    assert len(seen) == 4, "it is over"


def test_all_are_direct_once_those_are_who_are_there() -> None:
    watch = _Watch.__new__(_Watch)
    watch._targets = [
        Target(lab=None, src="p1", dst=dst, mode="mesh", folder=None)  # type: ignore[arg-type]
        for dst in ("p2", "p3")
    ]
    asked: Any = {("p1", "p2"): SimpleNamespace(pings=[1]), ("p1", "p3"): SimpleNamespace(pings=[])}
    watch._askers = asked
    direct = SimpleNamespace(carried="direct", ping=SimpleNamespace(answered_s=1.0))
    watch._ways = lambda _target, pings: [direct for _ in pings]  # type: ignore[method-assign,assignment,misc]
    assert not watch.all_direct(frozenset())
    assert watch.all_direct(frozenset({"p3"}))
