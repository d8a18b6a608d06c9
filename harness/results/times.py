"""Times as results have them: ISO 8601, UTC."""

from __future__ import annotations

import datetime


def utc_now(timespec: str = "seconds") -> str:
    """Return the present time, to the second or as `timespec` of `datetime.isoformat` says."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec=timespec)
