"""Sets of revisions as spans: `(start, end)` stands for all revisions above `start` up to `end`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

Span = tuple[int, int]


def joined(spans: Iterable[Span]) -> list[Span]:
    """Return the same revisions in as few spans as possible, in order."""
    found: list[Span] = []
    for start, end in sorted(spans):
        if found and start <= found[-1][1]:
            found[-1] = found[-1][0], max(end, found[-1][1])
        else:
            found.append((start, end))
    return found


def gaps(after: int, until: int, spans: Iterable[Span]) -> Iterator[Span]:
    """Return what of `(after, until)` is in none of the spans."""
    for start, end in joined(spans):
        if after < start:
            yield after, min(start, until)
        after = max(after, end)
        if after >= until:
            return
    if after < until:
        yield after, until
