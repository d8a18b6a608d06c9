"""Numbers of veth pairs' ends, so that a pair carries frames from the moment when both of its ends are up."""

from __future__ import annotations

import itertools
from typing import Final

# Far above what the kernel numbers by itself, which begins at 1 in every network namespace.
_FIRST: Final = 1001
_numbers = itertools.count(_FIRST)


def pair_number() -> int:
    """Return an interface index for one end of a new veth pair; the kernel chooses the other's.

    An end whose index happens to be its peer's, as in two young namespaces it easily is, is no end of a pair to the
    kernel (`linkwatch_urgent_event` of net/core/link_watch.c): it learns up to a second late that it has a carrier, and
    until then a bridge keeps the port closed. Numbers are unique within this process.
    """
    return next(_numbers)
