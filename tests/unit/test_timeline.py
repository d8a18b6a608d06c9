"""Events: those of routers, and one from a package outside, which is one file and one line of registration."""

from __future__ import annotations

import json
import re
import signal
from ipaddress import ip_address
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from extension import install, run
from pydantic import ValidationError

from harness.lab.network import Lab
from harness.model.timeline import declared_events
from harness.probes.verdict import front_of
from harness.scenario.load import load_topology
from harness.timeline.performing import Performed, perform
from harness.timeline.registry import events

PAGE = Path(__file__).resolve().parents[2] / "CONTRIBUTING.md"
NEW = ip_address("45.45.200.9")
IDLE: Any = SimpleNamespace(daemons={})


class Router:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def reboot(self) -> None:
        self.told.append("reboot")

    def block_udp(self) -> None:
        self.told.append("block")

    def unblock_udp(self) -> None:
        self.told.append("unblock")

    def change_behaviour(self, behaviour: Any) -> None:
        self.told.append(behaviour.label)

    def change_address(self, addresses: tuple[str, ...], prefix_length: int) -> None:
        self.told.append((addresses, prefix_length))


class FakeLab:
    """A lab of one router that can be told things."""

    def __init__(self, name: str = "two-sites", router: str = "ra") -> None:
        self.topology = load_topology(name).resolve({"nat_a": "full-cone"} if name == "two-sites" else {})
        self.routers = {router: Router()}
        self.routes: list[tuple[str, str]] = []
        self.nodes = {
            router: SimpleNamespace(add_route=lambda network, gateway: self.routes.append((network, gateway)))
        }


def do(lab: FakeLab, name: str, subject: str = "ra", *, undo: bool = False, **settings: Any) -> Performed:
    event = events()[name]
    clock = iter([100.0, 100.5])
    given = event.settings.model_validate(settings)
    return perform(event, cast(Lab, lab), IDLE, subject, given, due_s=99.0, undo=undo, now=lambda: next(clock))


def test_a_router_reboots_and_it_is_measured_when() -> None:
    lab = FakeLab()
    assert do(lab, "reboot") == Performed("reboot", "ra", due_s=99.0, began_s=100.0, effective_s=100.5)
    assert lab.routers["ra"].told == ["reboot"]
    assert not events()["reboot"].can_be_undone


def test_udp_is_blocked_for_a_while() -> None:
    lab = FakeLab()
    do(lab, "block_udp")
    assert do(lab, "block_udp", undo=True).undone
    assert lab.routers["ra"].told == ["block", "unblock"]


def test_a_nat_changes_and_comes_back() -> None:
    lab = FakeLab()
    do(lab, "change_nat", nat="symmetric")
    do(lab, "change_nat", nat="symmetric", undo=True)
    assert lab.routers["ra"].told == ["symmetric", "full-cone"]


def test_an_address_changes_and_verdicts_know_the_new_one() -> None:
    lab = FakeLab()
    (before,) = lab.topology.routers["ra"].outside.ipv4
    do(lab, "change_address", addresses=[str(NEW)])
    assert NEW in front_of(lab.topology, "a").public and before not in front_of(lab.topology, "a").public
    do(lab, "change_address", addresses=[str(NEW)], undo=True)
    assert lab.topology.routers["ra"].outside.ipv4 == (before,)
    assert lab.routers["ra"].told == [((str(NEW),), 16), ((str(before),), 16)]


def test_routes_that_went_with_the_old_address_are_set_again() -> None:
    lab = FakeLab("cgnat")
    carrier_side = lab.topology.segments[lab.topology.routers["ra"].outside.on].ipv4
    assert carrier_side is not None
    do(lab, "change_address", addresses=[str(carrier_side[200])])
    assert [network for network, _ in lab.routes] == ["default"]


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("change_address", {"addresses": ["10.1.1.1"]}, "10.1.1.1 is not in"),
        ("change_address", {"addresses": ["SERVER"]}, "is s's"),
        (
            "change_nat",
            {"nat": {"mapping": "EIM", "filtering": "ADF", "pool_size": 3, "pooling": "paired"}},
            "pool_size 3",
        ),
    ],
)
def test_what_cannot_be_done_is_told_beforehand(name: str, settings: dict[str, Any], words: str) -> None:
    topology = load_topology("two-sites").resolve({})
    text = json.dumps(settings).replace("SERVER", str(topology.address("s")))
    event = events()[name]
    problems = event.problems(topology, "ra", event.settings.model_validate_json(text))
    assert any(words in problem for problem in problems), problems
    assert event.subjects(topology) == ("ra", "rb")


def test_unknown_settings_are_refused() -> None:
    with pytest.raises(ValidationError, match="extra"):
        declared_events()["reboot"].settings.model_validate({"forr_s": 3})


LOOK = """
import json, sys
from types import SimpleNamespace
from harness.timeline.performing import perform
from harness.timeline.registry import events
sent = []
daemons = {name: SimpleNamespace(where=where, send=lambda number, name=name: sent.append([name, number]))
           for name, where in (("vpn-a", "a"), ("vpn-b", "b"))}
event = events()["stall"]
labs = sorted(name for name in sys.modules if name.startswith(("mininet", "scapy", "harness.lab")))
for undo in (False, True):
    perform(event, None, SimpleNamespace(daemons=daemons), "a", event.settings(), due_s=0.0, undo=undo)
print(json.dumps({"sent": sent, "undone": event.can_be_undone, "labs": labs}))
"""


def test_an_event_from_outside_is_one_file_and_one_line(tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (code,) = (block for block in blocks if "class Stall(" in block)
    environment = install(tmp_path, group="overlaybench.events", name="stall", source=code, attribute="Stall")
    listed = run(environment, "overlaybench", "list", "events", "--json")
    assert listed.returncode == 0, listed.stderr
    named = {row["name"]: row for row in json.loads(listed.stdout)}
    assert named["stall"]["settings"] == "hard=True" and named["stall"]["for_s"]
    assert {"reboot", "change_address", "change_nat", "block_udp"} < named.keys()
    done = run(environment, "-c", LOOK)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "sent": [["vpn-a", signal.SIGSTOP], ["vpn-a", signal.SIGCONT]],
        "undone": True,
        "labs": [],
    }


def test_settings_that_hide_an_items_own_keys_are_refused(tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (code,) = (block for block in blocks if "class Stall(" in block)
    source = code.replace("hard: bool = True", "for_s: float = 1.0")
    environment = install(tmp_path, group="overlaybench.events", name="stall", source=source, attribute="Stall")
    done = run(environment, "-c", "from harness.timeline.registry import events; events()")
    assert "event stall: its settings for_s would hide" in done.stderr
