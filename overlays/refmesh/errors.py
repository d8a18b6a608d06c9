"""What refmesh raises on purpose; independent of the harness, so that refmesh can be used alone."""

from __future__ import annotations

from collections.abc import Sequence


class RefmeshError(Exception):
    """Base of all; the command line prints its text and ends with `exit_code`."""

    exit_code = 4


class ConfigError(RefmeshError):
    """The configuration is wrong; carries one `FILE:LINE: field: what is wrong` for each problem."""

    exit_code = 2

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


class CredentialError(RefmeshError):
    """A certificate, invitation or network document is not to be believed; the text says why."""

    exit_code = 2


class MachineError(RefmeshError):
    """The machine lacks something (a TUN device, a privilege, a free port); the text says how to get it."""

    exit_code = 3


class MalformedMessage(RefmeshError):
    """Bytes from the network that are not what they claim to be; never leaves the core."""
