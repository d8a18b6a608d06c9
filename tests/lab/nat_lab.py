"""What the NAT lab tests do inside a sandbox; `tests.lab.nat_sandbox` runs these functions there.

Each takes the calibration's lab (two inside hosts, a router, a public node) and returns something JSON can carry.
"""

from __future__ import annotations

import json
import os
import random
import re
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

from harness.calibration.nat_ground import WAN_ADDRESSES, Ground
from harness.calibration.nat_worker import SCRATCH
from harness.errors import LabNotAsDeclared
from harness.lab.network import Lab
from harness.model.nat import parse_nat
from harness.model.topology import Topology
from harness.nat import discovery, discovery_tcp
from harness.nat.check import check_router, require_as_declared
from harness.nat.check_ipv6 import check_router_ipv6, check_silence
from harness.nat.check_nat64 import check_router_nat64
from harness.nat.egress import answers
from harness.nat.events import RunningRouter
from harness.nat.observation import Observation, differences
from harness.nat.observe import observe_behaviour
from harness.nat.observers import Observers, Side
from harness.nat.packet import Endpoint
from harness.nat.wire import Wire, port_of
from harness.sandbox.mounts import make_private
from harness.trial.checks import check_nats
from tests.lab.nat_answers import all_same_answers, same_answers
from tests.lab.nat_clients import in_network, independent_client
from tests.lab.nat_ports import drawn_ports
from tests.lab.nat_reloads import heard_between_policies, outlives_a_reboot, reloaded_in_use

__all__ = [
    "all_same_answers",
    "drawn_ports",
    "heard_between_policies",
    "independent_client",
    "outlives_a_reboot",
    "reloaded_in_use",
    "same_answers",
]

SO_NO_CHECK = 11  # asm-generic/socket.h


def mislabelled(ground: Ground, actual: str, declared: str) -> list[str]:
    """Return the differences that discovery finds where a router is one thing and is said to be another."""
    ground.router(parse_nat(actual), 1)
    with Wire() as wire:
        return list(differences(parse_nat(declared), observe_behaviour(ground.setup(wire), random.Random(1))))


def spoilt(ground: Ground, rules: list[str]) -> list[list[str]]:
    """Return the differences that discovery finds in a router with one more rule at the head of its forward chain."""
    found = []
    for rule in rules:
        router = ground.router(parse_nat("port-restricted"), 1)
        router.node.check_output(["nft", "insert", "rule", "inet", "filter_router", "forward", *rule.split()])
        with Wire() as wire:
            found.append(list(differences(router.behaviour, observe_behaviour(ground.setup(wire), random.Random(1)))))
    return found


def after_the_last_ack(ground: Ground, idle_s: list[float]) -> list[bool]:
    """Whether a stranger gets in by the mapping of a connection that both sides closed, after so many seconds each."""
    alias = {"alias": "full-cone", "tcp_established_lifetime_s": 60, "tcp_transitory_lifetime_s": 5}
    ground.router(parse_nat(alias), 1)
    with Wire() as wire:
        setup = ground.setup(wire)
        place = setup.inside[0]
        calls = [discovery_tcp.connected(setup, place, setup.primary) for _ in idle_s]
        doors = [discovery_tcp.listener(setup, place, port_of(made.bound)) for made in calls]
        external = [made.mapped for made in calls]
        for to in external:
            assert to is not None
            wire.forget(setup.responder.tcp[to])  # the inside reads the end, and closes as well
        assert wire.pump(lambda: all(made.bound.fileno() < 0 for made in calls), 3.0)
        assert len(doors) == len(idle_s)
        attempts, begun = [], time.monotonic()
        for idle, to in zip(idle_s, external, strict=True):
            assert to is not None
            wire.wait(begun + idle - time.monotonic())
            attempts.append(discovery_tcp.call(setup, setup.strangers[0], to))
        wire.pump(lambda: all(made.state != "waiting" for made in attempts), 0.3)
        return [made.state == "open" for made in attempts]


def events(ground: Ground) -> dict[str, Any]:
    """Return what a flow and its mapping see of a router's reboot, UDP block, new address and new behaviour."""
    router = ground.router(parse_nat("full-cone"), 1)
    seen: dict[str, Any] = {}
    with Wire() as wire:
        setup = ground.setup(wire)

        def reaches(to: Endpoint) -> bool:
            """Whether the alternate server's datagram comes in to a mapping."""
            before = len(setup.inbox[bound])
            setup.responder.send(1, 1, b"anybody there?", to)
            wire.wait(0.05)
            return len(setup.inbox[bound]) > before

        bound = setup.open()
        first = setup.mapped(bound)
        seen["before"] = reaches(first)
        router.reboot()
        seen["after reboot, from outside"] = reaches(first)
        seen["after reboot, once the inside has sent"] = reaches(setup.mapped(bound))
        router.block_udp()
        seen["blocked"] = answers(setup, 0.1)
        seen["blocked, from outside"] = reaches(first)
        router.unblock_udp()
        seen["unblocked, mapping as before"] = reaches(first)
        seen["unblocked"] = answers(setup, 1.0)
        router.change_address(("45.45.1.9",), 16)
        moved = setup.mapped(bound)
        seen["new address"] = moved.address
        seen["old address"] = reaches(Endpoint(WAN_ADDRESSES[0], moved.port))
        seen["addresses"] = sorted(
            re.findall(r"inet (\S+)/", router.node.check_output(["ip", "-4", "addr", "show", "r-eth0"]))
        )
        router.change_behaviour(parse_nat("symmetric"))
        seen["new behaviour"] = discovery.mapping_test(setup).short
        seen["new behaviour, old flow"] = setup.mapped(bound) != moved
    return seen


def checked_in_a_trial(ground: Ground, actual: Any, declared: Any, line_mtu_bytes: int = 1500) -> dict[str, Any]:
    """Return what the check before a trial says of a router, how long it took, and whether it leaves a mapping."""
    router = ground.router(parse_nat(actual), 1, line_mtu_bytes)
    router.behaviour = parse_nat(declared)
    inside, outside = _sides()
    began = time.monotonic()
    with Observers() as observers:
        seen = check_router(router, observers, inside=inside, inside_gateway="10.45.0.1", outside=outside)
    return {"took_s": time.monotonic() - began, **_said(router, seen)}


def _sides() -> tuple[Side, Side]:
    here = os.getpid()
    inside = Side(here, "lan", True, "10.45.0.0/24", ("10.45.0.1", "10.45.0.2", "10.45.0.3"))
    outside = Side(here, "inet", True, "45.45.0.0/16", ("45.45.0.1", "45.45.0.2", "45.45.0.3", *WAN_ADDRESSES))
    return inside, outside


def checked_ipv6_in_a_trial(ground: Ground, actual: Any, declared: Any, line_mtu_bytes: int = 1500) -> dict[str, Any]:
    """Return the same of a router's IPv6 side."""
    router = ground.router(parse_nat(actual), 1, line_mtu_bytes)
    router.behaviour = parse_nat(declared)
    lan, inet, here = "2a0e:45:0:2::", "2a0e:45:0:1::", os.getpid()
    with Observers() as observers:
        seen = check_router_ipv6(
            router,
            observers,
            inside=Side(here, "lan", True, f"{lan}/64", tuple(f"{lan}{n}" for n in (1, 2, 3))),
            inside_gateway=f"{lan}1",
            outside=Side(here, "inet", True, f"{inet}/64", tuple(f"{inet}{n}" for n in (1, 2, 3, 9))),
            outside_address=f"{inet}9",
        )
    return _said(router, seen)


def checked_nat64_in_a_trial(ground: Ground, actual: Any, declared: Any) -> dict[str, Any]:
    """Return the same of what a router does for hosts with IPv6 alone that ask servers with IPv4 alone."""
    router = ground.router(parse_nat(actual), 1)
    router.behaviour = parse_nat(declared)
    lan, here = "2a0e:45:0:2::", os.getpid()
    _, outside = _sides()
    with Observers() as observers:
        seen = check_router_nat64(
            router,
            observers,
            inside=Side(here, "lan", True, f"{lan}/64", tuple(f"{lan}{n}" for n in (1, 2, 3))),
            inside_gateway=f"{lan}1",
            outside=outside,
        )
    said = _said(router, seen)
    router.stop_daemons()
    return said


def ended_daemon(ground: Ground, nat: Any, program: str) -> dict[str, list[str]]:
    """Return which daemons a router says have ended: at first, when one was killed, after a reboot, when stopped."""
    router = ground.router(parse_nat(nat), 1)
    said = {"at first": router.ended_daemons()}
    names = {int(at.parent.name): at.read_text().strip() for at in Path("/proc").glob("[0-9]*/comm")}
    (pid,) = (pid for pid, name in names.items() if name == program)
    os.kill(pid, signal.SIGKILL)
    end = time.monotonic() + 5
    while not (killed := router.ended_daemons()) and time.monotonic() < end:
        time.sleep(0.01)
    router.reboot()
    said |= {"killed": killed, "rebooted": router.ended_daemons()}
    router.stop_daemons()
    return said | {"stopped": router.ended_daemons()}


def passes_ipv4(ground: Ground, alias: str) -> bool | None:
    """Whether IPv4 passes a router, as the check before a trial asks where it ought not to."""
    inside, outside = _sides()
    router, at = ground.router(parse_nat(alias), 1), WAN_ADDRESSES[0]
    with Observers() as observers:
        seen = check_silence(
            router, observers, inside=inside, inside_gateway="10.45.0.1", outside=outside, outside_address=at
        )
    return seen.ipv4


def _said(router: RunningRouter, seen: Observation) -> dict[str, Any]:
    try:
        require_as_declared("r", router, seen)
        refused = ""
    except LabNotAsDeclared as error:
        refused = str(error)
    tracked = router.node.check_output(["cat", "/proc/net/nf_conntrack"])
    return {"label": seen.label, "refused": refused, "left": [line for line in tracked.splitlines() if "udp" in line]}


def checked_beside_dead_links(_: Ground, nat: str) -> dict[str, Any]:
    """Return what the check before a trial says of a router whose links lose every packet, and what it leaves."""
    dead = {"loss_percent": 100}
    topology = Topology.model_validate(
        {
            "segments": {
                "internet": {"subnets": ["45.46.0.0/16", "2a0e:46::/64"]},
                "lan_a": {"subnets": ["192.168.1.0/24", "2a0e:46:1::/64"]},
            },
            "hosts": {"a": {"on": "lan_a", "addresses": ["192.168.1.2", "2a0e:46:1::2"], "via": "ra"}},
            "routers": {
                "ra": {
                    "nat": nat,
                    "outside": {"on": "internet", "addresses": ["45.46.1.1", "2a0e:46::1"], "link": dead},
                    "inside": {"on": "lan_a", "addresses": ["192.168.1.1", "2a0e:46:1::1"], "link": dead},
                }
            },
            "members": ["a"],
        }
    )
    lab = Lab(topology, seed=1, link_choice="auto", workdir=SCRATCH / "dead")
    lab.build()
    links_pid, _, _ = lab.facing("ra", 0)

    def look() -> list[str]:
        commands = (
            ["ip", "-o", "address"],
            ["ip", "-4", "route"],
            ["ip", "-6", "route"],
            ["ip", "-o", "link", "show", "type", "bridge"],
        )
        return [in_network(links_pid, command, timeout=10).stdout for command in commands]

    before = look()
    observed = check_nats(lab)
    left = look()
    sets = lab.nodes["ra"].check_output(["nft", "list", "map", "ip", "nat_v4", "back"])
    lab.stop()
    return {"observed": observed, "left": left == before, "mappings": "elements" in sets}


def without_checksum(ground: Ground, alias: str) -> list[bool]:
    """Whether datagrams without a UDP checksum, which RFC 768 allows, are answered: the first one and the next."""
    ground.router(parse_nat(alias), 1)
    with Wire() as wire:
        setup = ground.setup(wire)
        bound = setup.open()
        bound.setsockopt(socket.SOL_SOCKET, SO_NO_CHECK, 1)
        answered = []
        for _ in range(2):
            ask = setup.send(bound)
            wire.pump(lambda ask=ask: ask.answer is not None, 0.5)  # type: ignore[misc]
            answered.append(ask.answer is not None)
        return answered


def main() -> None:
    """Make the calls of the command line: JSON, a list for each, its function and arguments."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    make_private(SCRATCH)
    ground, answers = Ground(SCRATCH), []
    for name, *arguments in json.loads(sys.argv[1]):
        answers.append(globals()[name](ground, *arguments))
        # The next call's observers may stand at the same addresses, with other hardware addresses.
        ground.lab.nodes["r"].check_output(["ip", "neighbour", "flush", "all"])
    print(json.dumps(answers))
    ground.stop()


if __name__ == "__main__":
    main()
