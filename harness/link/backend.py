"""The contract between a lab and whatever impairs its links.

A lab makes two veth pairs for an impaired link: the node's interface with `near`, and `far` with the bridge port (or
the other node). `near` and `far` lie in a private network namespace of the lab, without addresses and with IPv6 off;
a backend carries frames between them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from harness.link.accounting import Accounting
from harness.model.link import LinkProfile


@dataclass(frozen=True)
class Cable:
    """One impaired link of a lab.

    `name` is unique in the lab and goes into the seeds of the link's random streams: the same name and seed repeat
    the same losses. The lab has called `harness.link.offload.prepare_outer_end` for both outer ends.
    """

    name: str
    profile: LinkProfile
    near: str
    far: str


# What a backend can account for: how late each frame was; frames lost on their way in, which no link lost; and whether
# a seed repeats the link's own losses.
Accountable = Literal["lateness", "ingress drops", "losses by seed"]


class RunningLinks(Protocol):
    """Links at work; `applied` is, for each cable, what the backend says that it does (read back, JSON-ready).

    `accounts_for` is what a trial over these links was held to; what is missing was not looked at.
    """

    applied: Mapping[str, Mapping[str, Any]]
    accounts_for: tuple[Accountable, ...]

    def change(self, cable: str, profile: LinkProfile) -> None:
        """Change a link while it runs; frames under way keep their times. ValueError if the backend cannot."""

    def accounting(self) -> Accounting:
        """Return the counts since the start; subtract an earlier one with `Accounting.since` for a window."""

    def close(self) -> None:
        """Stop impairing; safe to call twice."""


class LinkBackend(Protocol):
    """A way to impair links: `netem`, `userlink` or `userlink-python`."""

    name: str

    def refusals(self, profile: LinkProfile) -> list[str]:
        """Return why this backend cannot do the profile, one text a reason; empty where it can."""

    def start(self, cables: Sequence[Cable], *, netns_pid: int, seed: int, workdir: Path) -> RunningLinks:
        """Impair `cables` in the network namespace of process `netns_pid`; return when frames flow.

        Raises MissingPrerequisite where the machine lacks something, LabError where a link cannot be set up.
        """
