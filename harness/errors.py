"""The error classes; the class alone decides a trial's outcome and the program's exit code."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

EXIT_OK = 0
EXIT_EXPECTATION = 1
EXIT_INPUT = 2
EXIT_MACHINE = 3
EXIT_HARNESS = 4
# Stopped by a signal: this and its number, as shells have it. Ctrl-C is 130, SIGTERM 143.
EXIT_SIGNAL = 128


class OverlaybenchError(Exception):
    """Base of all errors that this program raises on purpose."""

    exit_code = EXIT_HARNESS
    outcome = "error"


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong in a user's file; `line` counts from 1, 0 where there is none."""

    file: str
    line: int
    field: str
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.field}: {self.text}"


class ScenarioError(OverlaybenchError):
    """The user's input is wrong; carries every problem found, not only the first."""

    exit_code = EXIT_INPUT

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in problems))


class MissingPrerequisite(OverlaybenchError):
    """The machine lacks something; `remedy` is the command that gets it."""

    exit_code = EXIT_MACHINE

    def __init__(self, missing: str, remedy: str) -> None:
        self.missing = missing
        self.remedy = remedy
        super().__init__(f"{missing}; to get it: {remedy}")


class OverlayError(OverlaybenchError):
    """The overlay under test failed: its trial is `failed`, the campaign goes on."""

    outcome = "failed"


class LabError(OverlaybenchError):
    """The lab could not be built or driven: our fault, the trial is an `error`."""


class LabNotAsDeclared(OverlaybenchError):
    """A NAT or link is not what its label says: the trial is `invalid`, never a result."""

    outcome = "invalid"


class StorageError(OverlaybenchError):
    """Something cannot be written or read: a full disk, another user's folder, too many open files."""

    exit_code = EXIT_MACHINE

    @staticmethod
    def is_one(error: OSError) -> bool:
        """Tell whether it is of the kinds that this is for, and not a program that is missing or a fault of ours."""
        return error.errno in _REMEDIES

    @classmethod
    def of(cls, error: OSError, what: object = None) -> StorageError:
        """Return the operating system's error in a line, with the file that it is about (`what` where it has none)."""
        name = error.filename if isinstance(error.filename, str | bytes) and error.filename else what
        about = f"{name.decode(errors='replace') if isinstance(name, bytes) else name}: " if name else ""
        return cls(f"{about}{(error.strerror or str(error)).lower()}{_REMEDIES.get(error.errno or 0, '')}")


_REMEDIES = {
    errno.ENOSPC: "; make room there, or name another place",
    errno.EDQUOT: "; make room there, or name another place",
    errno.EMFILE: "; raise the limit (`ulimit -n 4096`) or run fewer jobs side by side (--jobs)",
    errno.EACCES: "; name a place that is yours",
    errno.EROFS: "; name a place that can be written to",
    errno.EPERM: "; name a place that is yours",
}


@contextlib.contextmanager
def storage_errors(what: object) -> Iterator[None]:
    """Turn errors of the operating system in the block into a StorageError about `what`."""
    try:
        yield
    except OSError as error:
        raise StorageError.of(error, what) from error


class CommandTimedOut(LabError):
    """A subprocess did not end in time; carries what it was, how long it was waited for, and the end of what it said.

    It is ours, unless the caller knows that the command is the overlay's.
    """

    def __init__(self, argv: Sequence[str], waited_s: float, said: str, where: str = "") -> None:
        self.argv = tuple(argv)
        self.waited_s = waited_s
        place = f" on {where}" if where else ""
        end = said[-2000:].strip() or "(silent)"
        super().__init__(f"`{' '.join(argv)}`{place} hangs: it did not end within {waited_s:g} s: {end}")


class CommandFailed(LabError):
    """A subprocess failed; carries what it was, how it ended and the end of what it said."""

    def __init__(self, argv: Sequence[str], status: int, stderr: str, where: str = "") -> None:
        self.argv = tuple(argv)
        self.status = status
        self.stderr = stderr[-2000:]
        place = f" on {where}" if where else ""
        super().__init__(f"`{' '.join(argv)}`{place} ended with status {status}: {self.stderr.strip() or '(silent)'}")
