"""The order in which subjects and conditions are shown: the same in every table and plot, whatever ran first."""

from __future__ import annotations

_MODES = ("underlay", "mesh", "direct", "relay", "hub")

# From the most permissive to the least; a label that is not here comes after, by name.
_NATS = (
    *("none", "firewall", "full-cone", "address-restricted", "port-restricted"),
    *("symmetric-sequential", "symmetric", "symmetric-cgnat", "cgnat", "udp-blocked"),
)


def subject_key(subject: tuple[str, str]) -> tuple[bool, str, int, str]:
    """Sort key of (overlay, mode): the underlay first, overlays by name, modes from mesh to hub."""
    overlay, mode = subject
    rank = _MODES.index(mode) if mode in _MODES else len(_MODES)
    return overlay != "underlay", overlay, rank, mode


def nat_key(label: str) -> tuple[int, str]:
    """Sort key of a NAT label."""
    return (_NATS.index(label) if label in _NATS else len(_NATS)), label


def subject_name(overlay: str, mode: str) -> str:
    """How a subject is called in tables and plots."""
    return overlay if overlay == mode else f"{overlay} {mode}"
