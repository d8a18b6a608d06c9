"""The TCP and IP settings of a lab's nodes: set, never inherited from the machine, and read back for the record
(pure).

A namespace starts with the machine's congestion control and buffer sizes, so the same scenario would measure another
TCP on the next machine (one distribution's default is cubic, another's bbr).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

# TCP's largest window: 64 MB carry 10 Gbit/s over 50 ms. The defaults (4 and 6 MB) cap a 20 ms path at 1.6 Gbit/s.
MAX_WINDOW_BYTES: Final = 64 << 20

_FIXED: Final[Mapping[str, str]] = MappingProxyType(
    {
        "net.ipv4.tcp_rmem": f"4096 131072 {MAX_WINDOW_BYTES}",
        "net.ipv4.tcp_wmem": f"4096 16384 {MAX_WINDOW_BYTES}",
        # Every connection starts without what an earlier one learned of the path: trials are independent.
        "net.ipv4.tcp_no_metrics_save": "1",
        "net.ipv4.tcp_fastopen": "0",
        "net.ipv4.tcp_timestamps": "1",
        "net.ipv4.tcp_sack": "1",
        "net.ipv4.tcp_window_scaling": "1",
        "net.ipv4.tcp_ecn": "2",
        "net.ipv4.tcp_mtu_probing": "0",
        "net.ipv4.tcp_slow_start_after_idle": "1",
        "net.ipv4.ip_no_pmtu_disc": "0",
        # Ping within the lab needs no capability.
        "net.ipv4.ping_group_range": "0 0",
    }
)

ALLOWED_CONGESTION_CONTROL: Final = "net.ipv4.tcp_allowed_congestion_control"

# What differs between machines without our being able to set it inside a namespace: for the record only.
RECORDED: Final = (
    "net.ipv4.tcp_available_congestion_control",
    "net.core.rmem_max",
    "net.core.wmem_max",
    "net.core.rmem_default",
    "net.core.wmem_default",
    ALLOWED_CONGESTION_CONTROL,
)


def node_sysctls(congestion_control: str) -> dict[str, str]:
    """Return the sysctls to set in each node's network namespace, by dotted name."""
    return {"net.ipv4.tcp_congestion_control": congestion_control, **_FIXED}


def pick_congestion_control(allowed: str) -> str:
    """Return the nodes' congestion control: cubic where namespaces may have it, else reno, which they always may.

    `allowed` is what `ALLOWED_CONGESTION_CONTROL` holds inside a node. A kernel whose default is another one keeps
    cubic for the machine's own namespace; a program with CAP_NET_ADMIN can still ask for it by socket (TCP_CONGESTION,
    `iperf3 -C cubic`).
    """
    return "cubic" if "cubic" in allowed.split() else "reno"


def path_of(sysctl: str) -> str:
    """Return the file below /proc/sys that holds a dotted sysctl."""
    return "/proc/sys/" + sysctl.replace(".", "/")


def differences(wanted: Mapping[str, str], seen: Mapping[str, str]) -> list[str]:
    """Return where a node's settings are not what was set, one text each; white space does not count."""
    return [
        f"{name} is {' '.join(seen[name].split()) if name in seen else 'absent'}, not {value}"
        for name, value in wanted.items()
        if name not in seen or seen[name].split() != value.split()
    ]
