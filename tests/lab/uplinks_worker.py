"""Runs in a sandbox: the IPv6 routes of a host that changes its router, and whether it is answered over them.

`python uplinks_worker.py FOLDER`. Prints one JSON object.
"""

from __future__ import annotations

import itertools
import json
import socket
import sys
from pathlib import Path
from typing import Any, cast

from harness.lab import counters
from harness.lab.network import Lab
from harness.sandbox.namespace import inside_network_of
from harness.scenario.load import load_topology
from harness.timeline.contract import RunningDaemons
from harness.timeline.link_down import LinkDown, LinkDownSettings
from harness.timeline.move import Move, MoveSettings
from harness.timeline.switch_uplink import SwitchUplink, SwitchUplinkSettings

_SERVER = "2a0e:45::10"
_OVERLAY = cast(RunningDaemons, None)


def _defaults(lab: Lab) -> list[str]:
    """Return the gateways of the default routes that host a has over IPv6."""
    words = lab.nodes["a"].check_output(["ip", "-6", "route", "show", "default"]).split()
    return [after for word, after in itertools.pairwise(words) if word == "via"]


def _answered(lab: Lab) -> bool:
    """Tell whether the server's answer to a datagram arrives: routers let errors and pings through in any case."""
    ends = []
    for name in ("a", "s"):
        with inside_network_of(lab.nodes[name].pid):
            ends.append(socket.socket(socket.AF_INET6, socket.SOCK_DGRAM))
        ends[-1].settimeout(2.0)
    asking, answering = ends
    with asking, answering:
        answering.bind((_SERVER, 7))
        asking.sendto(b"question", (_SERVER, 7))
        try:
            question, source, *_ = answering.recvfrom(64)
            answering.sendto(question, source)
            return asking.recv(64) == question
        except TimeoutError:
            return False


def _moved(folder: Path) -> dict[str, Any]:
    """Move host a to a network without IPv6 and back."""
    lab = Lab(
        load_topology("roaming").resolve({"ip": "dual", "nat_a": "dual-stack"}),
        seed=1,
        link_choice="auto",
        workdir=folder,
    )
    lab.start()
    counters.install(lab.watched_ports())
    move, settings = Move(), MoveSettings(into="rm")
    seen: dict[str, Any] = {"home": _defaults(lab)}
    move.perform(lab, _OVERLAY, "a", settings)
    seen["away"] = _defaults(lab)
    move.undo(lab, _OVERLAY, "a", settings)
    seen["home again"] = (_defaults(lab), _answered(lab))
    lab.stop()
    return seen


def _switched(folder: Path) -> dict[str, Any]:
    """Have host a use its second router, which has seen none of its connections."""
    nats = dict.fromkeys(("nat_a", "nat_a2", "nat_b", "nat_b2"), "dual-stack")
    lab = Lab(load_topology("two-uplinks").resolve({"ip": "dual", **nats}), seed=1, link_choice="auto", workdir=folder)
    lab.start()
    switch, settings = SwitchUplink(), SwitchUplinkSettings(via="ra2")
    seen = {"first": (_defaults(lab), _answered(lab))}
    switch.perform(lab, _OVERLAY, "a", settings)
    seen["second"] = (_defaults(lab), _answered(lab))
    switch.undo(lab, _OVERLAY, "a", settings)
    seen["first again"] = (_defaults(lab), _answered(lab))
    lab.stop()
    return seen


def _switched_while_down(folder: Path) -> list[str]:
    """Have host a use a router without IPv6 while its cable is out."""
    nats = {"nat_a": "dual-stack", "nat_b": "dual-stack"}
    lab = Lab(load_topology("two-uplinks").resolve({"ip": "dual", **nats}), seed=1, link_choice="auto", workdir=folder)
    lab.start()
    down, nothing = LinkDown(), LinkDownSettings()
    down.perform(lab, _OVERLAY, "a", nothing)
    SwitchUplink().perform(lab, _OVERLAY, "a", SwitchUplinkSettings(via="ra2"))
    down.undo(lab, _OVERLAY, "a", nothing)
    found = _defaults(lab)
    lab.stop()
    return found


def main() -> None:
    """Run the labs, one after the other."""
    folder = Path(sys.argv[1])
    seen = {"moved": _moved(folder), "switched": _switched(folder), "while down": _switched_while_down(folder)}
    print(json.dumps(seen))


if __name__ == "__main__":
    main()
