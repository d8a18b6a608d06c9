"""A pair of members as the path probe sees it: addresses, moments, and the figures of what was found."""

from __future__ import annotations

from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from harness.probes.measurement import Target
from harness.probes.pathfigures import PathFound, Since, figures_of
from harness.probes.verdict import MemberAddresses

A_OWN, A_PUBLIC = IPv4Address("10.1.0.2"), IPv4Address("203.0.113.11")
B_OWN, B_PUBLIC = IPv4Address("10.2.0.2"), IPv4Address("203.0.113.12")
SERVER = IPv4Address("203.0.113.2")
A = MemberAddresses(frozenset({A_OWN}), "lan_a", frozenset({A_OWN, A_PUBLIC}))
B = MemberAddresses(frozenset({B_OWN}), "lan_b", frozenset({B_OWN, B_PUBLIC}))
SINCE = Since(started_s=100.0, ready_s=102.0)
DEADLINE_S = 10.0


def target(mode: str = "mesh", src: str = "a", dst: str = "b") -> Target:
    made: Any = Target
    return made(lab=None, src=src, dst=dst, src_address=None, dst_address=None, mode=mode, folder=Path("/nowhere"))  # type: ignore[no-any-return]


def values(one: PathFound, mode: str = "mesh") -> dict[str, float | None]:
    return {figure.metric: figure.value for figure in figures_of(target(mode), one, DEADLINE_S)}
