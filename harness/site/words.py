"""What an overlay's page says of it besides figures: from its adapter, where that is installed."""

from __future__ import annotations

import inspect
from dataclasses import dataclass

from harness.errors import MissingPrerequisite
from harness.model.words import MODES
from harness.overlay.contract import HasKinds, HasOptions, HasUnderlays, Overlay, Requirement
from harness.overlay.deployed import deployed_as
from harness.overlay.registry import load_overlay, overlay_names
from harness.overlay.support import asks_by
from harness.report.verdict import listed

NOT_HERE = "Its adapter was not installed where this page was made, so that the page has only its figures."


@dataclass(frozen=True)
class About:
    """An overlay in words: what it is, what it can, and how it is deployed, as rows of (what, answer)."""

    lead: str
    notes: tuple[str, ...]
    can: tuple[tuple[str, str], ...]
    deployed: tuple[tuple[str, str], ...]


def about(name: str) -> About:
    """Return what the adapter says; of one that is missing or broken, that it is."""
    if name not in overlay_names():
        return About(NOT_HERE, (), (), ())
    try:
        overlay = load_overlay(name)
    except MissingPrerequisite as error:
        return About(f"{NOT_HERE} ({error})", (), (), ())
    own = " ".join((inspect.getdoc(type(overlay)) or "").split())
    module = _paragraphs(inspect.getdoc(inspect.getmodule(type(overlay))) or "")
    return About(own, tuple(module), _can(overlay), _deployed(overlay))


def _paragraphs(text: str) -> list[str]:
    return [" ".join(part.split()) for part in text.split("\n\n") if part.strip()]


def _can(overlay: Overlay) -> tuple[tuple[str, str], ...]:
    modes: list[str] = [mode for mode in MODES if mode in overlay.modes]
    missing: list[str] = [mode for mode in MODES if mode != "underlay" and mode not in overlay.modes]
    kinds: list[str] = sorted(overlay.kinds) if isinstance(overlay, HasKinds) else ["interface"]
    families = sorted(overlay.underlays) if isinstance(overlay, HasUnderlays) else ["ipv4"]
    rows = [
        ("modes", listed(modes)),
        ("modes that it lacks", listed(missing) if "underlay" not in overlay.modes else ""),
        ("layer", overlay.layer),
        ("endpoints", listed(kinds)),
        ("runs over", listed([{"ipv4": "IPv4", "ipv6": "IPv6"}[family] for family in families])),
        ("needs a public server", "yes" if overlay.needs_server else "no"),
        ("direct sessions end when the server does", "yes" if getattr(overlay, "depends_on_server", False) else ""),
        ("asks routers for port mappings by", listed(sorted(asks_by(overlay, {})))),
        ("needs routers that forward ports on request", "yes" if getattr(overlay, "asks_for_ports", False) else ""),
    ]
    return tuple((name, value) for name, value in rows if value)


def _deployed(overlay: Overlay) -> tuple[tuple[str, str], ...]:
    said = deployed_as(overlay)
    rows: list[tuple[str, str]] = []
    if said is not None:
        rows = [
            ("its makers recommend", said.makers),
            ("we set", said.ours),
            ("where we differ from that, and why", said.differs),
            ("in a network that blocks UDP", said.udp_blocked),
            ("in a network that lets out only TCP port 443", said.tls_only),
        ]
    rows += [(f"program {requirement.program}", _source(requirement)) for requirement in overlay.requirements()]
    if isinstance(overlay, HasOptions):
        rows += [
            (f"option {key}", "the program's own" if field.default is None else str(field.default))
            for key, field in overlay.options.model_fields.items()
        ]
    return tuple(rows)


def _source(requirement: Requirement) -> str:
    if requirement.debian:
        return f"Debian package {requirement.debian}"
    if requirement.wheel is not None:
        return f"Python package {requirement.wheel}"
    if requirement.go is not None:
        return f"built from {requirement.go.package}, at the version that this project pins"
    if requirement.crate is not None:
        return f"built from the crate {requirement.crate.crate}"
    return requirement.install
