"""Numbers as people read them. Pure."""

from __future__ import annotations


def plain(value: float, significant: int = 3, *, sign: bool = False) -> str:
    """Return a finite value with so many significant digits; sizes and counts above that keep all that they have."""
    plus = "+" if sign else ""
    whole = abs(value) >= 10 ** (significant - 1)
    return f"{value:{plus}.0f}" if whole else f"{value:{plus}.{significant}g}"
