"""The programs that run in our routers, and whether this machine has them. Enters no namespace: asked before a run."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import Final

from harness.errors import MissingPrerequisite


@dataclass(frozen=True)
class RouterProgram:
    """A program by the name that it has in PATH, and the Debian package that brings it."""

    name: str
    package: str

    @property
    def install(self) -> str:
        """Return the command that gets it."""
        return f"apt-get install -y {self.package}"

    def path(self) -> str | None:
        """Return where this machine has it, if it does."""
        return shutil.which(self.name)

    def require(self) -> None:
        """Refuse to go on without it.

        Raises:
            MissingPrerequisite: this machine does not have it.
        """
        if self.path() is None:
            raise MissingPrerequisite(f"the program `{self.name}`", self.install)


# UPnP IGD, NAT-PMP and PCP.
MINIUPNPD: Final = RouterProgram("miniupnpd", "miniupnpd-nftables")
# NAT64's translation of headers.
TAYGA: Final = RouterProgram("tayga", "tayga")
