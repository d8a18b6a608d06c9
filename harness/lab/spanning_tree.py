"""Switches in a loop agree on a tree before a lab is used: the kernel's spanning tree protocol (IEEE 802.1D-1998)."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from harness.errors import LabError
from harness.lab.wires import FORWARD_DELAY_S, LabBridge, sandbox_netlink

# linux/if_bridge.h: states of a port. One without carrier, of a host whose interface is down, is disabled and stays so.
_DISABLED, _FORWARDING, _BLOCKING = 0, 3, 4
_SETTLED = (_DISABLED, _FORWARDING, _BLOCKING)
_AGREED_AFTER_S = 30.0


def agree_on_spanning_tree(bridges: Sequence[LabBridge]) -> None:
    """Let the bridges carry frames; return when each port of theirs forwards, is blocked for good or has no carrier.

    To be called once the links between them carry frames: bridges that do not hear of each other find no loop, and
    would be in one from the moment that the links start.

    Raises:
        LabError: they have not agreed in time.
    """
    for bridge in bridges:
        bridge.netlink.link("set", index=bridge.bridge_index, state="up")
    deadline = time.monotonic() + _AGREED_AFTER_S
    waiting = {bridge.bridge_index for bridge in bridges}
    while waiting:
        states = [
            (link.get_attr("IFLA_MASTER"), _port_state(link))
            for link in sandbox_netlink().get_links()
            if link.get_attr("IFLA_MASTER") in waiting
        ]
        waiting = {bridge for bridge, state in states if state not in _SETTLED}
        # Ports begin as disabled or blocking, and learn a moment later.
        if not waiting and time.monotonic() < deadline - _AGREED_AFTER_S + FORWARD_DELAY_S:
            waiting = {bridge.bridge_index for bridge in bridges}
        if waiting and time.monotonic() > deadline:
            raise LabError("the switches have not agreed on a spanning tree in time")
        time.sleep(0.1)  # the kernel sends no notice of it in an unprivileged namespace


def _port_state(link: Any) -> int | None:
    info = link.get_attr("IFLA_LINKINFO")
    data = info.get_attr("IFLA_INFO_SLAVE_DATA") if info is not None else None
    state = data.get_attr("IFLA_BRPORT_STATE") if data is not None else None
    return None if state is None else int(state)
