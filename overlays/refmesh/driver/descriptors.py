"""How many descriptors the process may have: by default 1024, of which TLS streams and punching take many."""

from __future__ import annotations

import contextlib
import resource

WANTED = 16384


def raise_limit() -> None:
    """Raise the soft limit as far as the hard one lets us; what needs descriptors lives with what there is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = WANTED if hard == resource.RLIM_INFINITY else min(WANTED, hard)
    if soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
