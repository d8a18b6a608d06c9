"""Whether a host is fit to measure for a campaign: the same program, the same subjects, the same instruments. Pure.

Kernel, processors and load may differ; they are recorded, and the host is a block of every comparison.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from harness.hosts.contract import HostFacts
from harness.machine.requirements import MEASURING_TOOLS
from harness.overlay.contract import Overlay

CHANGED: Final = "+changes"


@dataclass(frozen=True)
class Own:
    """What the campaign's own process runs: its commit, a digest of its files where that does not tell, its Python."""

    commit: str | None
    code: str | None
    python: str


@dataclass
class Admitted:
    """A host that takes trials: what it is, and how its NATs and links were found."""

    facts: HostFacts
    calibration: dict[str, Any] = field(default_factory=dict)

    def described(self) -> dict[str, Any]:
        """Return it for the manifest."""
        return {**self.facts.model_dump(mode="json"), "calibration": self.calibration}


def not_ours(facts: HostFacts, own: Own) -> list[str]:
    """Return in what a host's program is another than the campaign's, a phrase each.

    Files that were changed and not committed are taken only where they are the campaign's very own, on a disk that both
    share, say.
    """
    found = []
    if facts.commit != own.commit:
        found.append(f"overlaybench there is at commit {facts.commit}, here at {own.commit}")
    elif facts.code != own.code:
        found.append(f"overlaybench there has other local changes than here (commit {own.commit}); commit them")
    if facts.machine.get("python") != own.python:
        found.append(f"Python there is {facts.machine.get('python')}, here {own.python}")
    return found


def remedies(overlays: Mapping[str, Overlay]) -> dict[str, str]:
    """Return the command that gets, or updates, each program whose version is compared, by the name that facts use."""
    tools = MEASURING_TOOLS.items()  # some go by their package's name
    found = {name: f"apt-get install -y {package}" for program, package in tools for name in (program, package)}
    for name, overlay in overlays.items():
        needed = overlay.requirements()
        found |= {Path(one.program).name: one.install for one in needed}
        if needed:
            found[name] = next((one for one in needed if one.version_argv), needed[0]).install
    return found


def unlike(facts: HostFacts, first: HostFacts, remedies: Mapping[str, str]) -> list[str]:
    """Return in what a host measures otherwise than the campaign's first one, a phrase each.

    `remedies` are as of the function of that name; a program's is part of its phrase.
    """
    return list(_unlike(facts, first, remedies))


def _unlike(facts: HostFacts, first: HostFacts, remedies: Mapping[str, str]) -> Iterator[str]:
    where = f"on {first.name}"
    for kind, ours, theirs in (
        ("tool", facts.tool_versions, first.tool_versions),
        ("overlay", facts.overlay_versions, first.overlay_versions),
    ):
        for name in sorted(ours.keys() | theirs.keys()):
            if ours.get(name) != theirs.get(name):
                remedy = f" ({remedies[name]})" if name in remedies else ""
                yield f"{kind} {name} is {ours.get(name) or 'missing'}, {theirs.get(name) or 'missing'} {where}{remedy}"
    if facts.link_backend != first.link_backend:
        yield f"links are carried by {facts.link_backend}, by {first.link_backend} {where}"
    if facts.privileged != first.privileged:
        yield f"it runs as {_who(facts)}, {first.name} as {_who(first)}"


def _who(facts: HostFacts) -> str:
    return "root" if facts.privileged else "an ordinary user"
