"""In which order a running router is changed; what packets meet meanwhile is the lab tests' matter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from harness.errors import LabError
from harness.model.nat import parse_nat
from harness.nat import events
from harness.nat.events import RunningRouter
from harness.nat.policies import captive_portal, deny, parse_traffic
from harness.nat.ports import RouterPorts

PORTS = RouterPorts("r-eth0", ("45.45.1.1",), ("r-eth1",), ("10.0.0.0/24",))


class Node:
    """A node that writes down what it is told, by the first table that a script names."""

    pid = 1

    def __init__(self, log: list[str]) -> None:
        self.log = log

    def check_output(self, argv: Sequence[str], *, stdin: str = "", timeout_s: float = 20.0) -> str:
        del timeout_s
        self.log.append(stdin.splitlines()[0] if argv[0] == "nft" else argv[0])
        return ""

    def write_sysctls(self, settings: dict[str, str]) -> None:
        del settings


class Daemon:
    """A router's daemon that never ends by itself."""

    def __init__(self, log: list[str], name: str) -> None:
        self.log, self.name = log, name
        log.append(f"{name} runs")

    def stop(self) -> None:
        self.log.append(f"{self.name} ends")

    def why_ended(self) -> str | None:
        return None


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    made: list[str] = []

    def starts(name: str) -> Any:
        return lambda *_: Daemon(made, name)

    monkeypatch.setattr(events, "_start_portal", starts("portal"))
    monkeypatch.setattr(events, "start_tayga", starts("tayga"))
    monkeypatch.setattr(events, "start_miniupnpd", starts("miniupnpd"))
    monkeypatch.setattr(events, "flush_connections", lambda _: made.append("forgets"))
    monkeypatch.setattr(events, "empty_sets", lambda *_: None)
    return made


def router(log: list[str], nat: Any) -> RunningRouter:
    return RunningRouter(Node(log), parse_nat(nat), PORTS, 1)


def test_a_block_of_ports_is_given_away_last_by_whoever_was_inside_since_the_rules_were_loaded(log: list[str]) -> None:
    made = router(log, {"alias": "cgn", "port_block_size": 16128})  # four blocks
    made.ports = replace(made.ports, subscribers=("10.0.0.1", "10.0.0.2"))
    made.load()
    made.admit(("10.0.0.2",))
    made.admit(("10.0.0.2", "10.0.0.200"))
    places = [block.subscriber for block in made._blocks]
    assert places[:3] == ["10.0.0.1", "10.0.0.2", "10.0.0.200"], "mappings of .1 may be left in its block"
    made.admit(("10.0.0.1", "10.0.0.2"))
    assert [block.subscriber for block in made._blocks] == places


def test_a_policy_takes_the_place_of_another_and_a_portal_that_follows_a_portal_is_the_same(log: list[str]) -> None:
    made, policy = router(log, "port-restricted"), "table inet policy_of_operator"
    denied, signed_out = deny(PORTS, [parse_traffic("udp")]), captive_portal(PORTS)
    made.set_policy(denied)
    made.set_policy(signed_out, portal=True)
    made.set_policy(signed_out, portal=True)
    made.set_policy(denied)
    made.set_policy(signed_out, portal=True)
    made.clear_policy()
    assert log == [
        policy,
        *("portal runs", policy),
        policy,
        *(policy, "portal ends"),
        *("portal runs", policy),
        *(policy, "portal ends"),
    ]


SHUT, OPEN = "table inet filter_reload {", "table inet filter_reload"


@pytest.mark.parametrize(
    ("nat", "daemons"), [("port-restricted", []), ("home-router-upnp", ["miniupnpd"]), ("nat64", ["tayga"])]
)
def test_a_router_that_is_changed_is_shut_until_it_is_whole(log: list[str], nat: str, daemons: list[str]) -> None:
    """A daemon that outlived its rules could write into the new ones, and one that does not run yet answers errors."""
    made = router(log, nat)
    made.load()
    rules = f"# {made.behaviour.axes_label}"
    runs, ends = [f"{name} runs" for name in daemons], [f"{name} ends" for name in daemons]
    assert log == [rules, "forgets", *runs]
    log.clear()
    made.reboot()
    assert log == [SHUT, *ends, rules, "forgets", *runs, OPEN]
    log.clear()
    with made.shut():
        made.change_address(("45.45.1.9",), 16)
        log.append("routes")
    assert log == [
        SHUT,
        *("sysctl", "ip"),
        *ends,
        rules,
        *("forgets", *runs, "routes", OPEN),
    ]


def test_a_router_whose_daemon_does_not_start_is_open_again(log: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    made = router(log, "home-router-upnp")
    made.load()

    def fail(*_: Any) -> None:
        raise LabError("it does not start")

    monkeypatch.setattr(events, "start_miniupnpd", fail)
    with pytest.raises(LabError):
        made.reboot()
    assert log[-1] == OPEN
