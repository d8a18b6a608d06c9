"""Whether this machine has the port mapping daemon of our routers. Enters no namespace: it is checked before a run."""

from __future__ import annotations

import shutil

from harness.errors import MissingPrerequisite

DAEMON = "miniupnpd"
INSTALL = "apt-get install -y miniupnpd-nftables"


def require_miniupnpd() -> None:
    """Refuse to go on without the daemon.

    Raises:
        MissingPrerequisite: this machine does not have it.
    """
    if shutil.which(DAEMON) is None:
        raise MissingPrerequisite(f"the program `{DAEMON}`", INSTALL)
