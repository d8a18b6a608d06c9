"""How a program of ours in a sandbox ends: by one line and an exit code, which whoever started it passes on.

The line goes to stderr. A trial's worker has its messages instead.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from typing import NoReturn

from harness.errors import EXIT_MACHINE, OverlaybenchError, StorageError

_PREFIX = "overlaybench: "
# What the machine, or where the user stands, lacks: no fault of the program in the sandbox.
_LACKS = {errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.EROFS, errno.EPIPE}


@contextlib.contextmanager
def ending_in_one_line() -> Iterator[None]:
    """End the process with an error's line and exit code; other errors are faults of ours and keep their traceback."""
    try:
        yield
        sys.stdout.flush()
    except OverlaybenchError as error:
        _end(error)
    except Exception as error:
        lacking = lack_behind(error)
        if lacking is None:
            raise
        _end(StorageError.of(lacking))


def lack_behind(error: BaseException) -> OSError | None:
    """Return the operating system's error that an error came of, where disk, rights or descriptors ran out."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno in _LACKS:
            return seen
        seen = seen.__cause__ or seen.__context__
    return None


def require_enough(status: int, stderr: str) -> None:
    """Do nothing unless a program in a sandbox ended because the machine lacked something.

    Raises:
        StorageError: in the program's own words.
    """
    if status == EXIT_MACHINE and stderr.strip():
        raise StorageError(stderr.strip().splitlines()[-1].removeprefix(_PREFIX))


def drop_unwritten_output() -> None:
    """Discard what standard output still holds: Python would complain of it at exit, from 3.13 on with status 120."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _end(error: OverlaybenchError) -> NoReturn:
    print(f"{_PREFIX}{error}", file=sys.stderr)
    drop_unwritten_output()
    raise SystemExit(error.exit_code) from error
