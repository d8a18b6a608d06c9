"""Who is to be looked at when, so that only those are looked at that are due."""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Hashable
from typing import Generic, TypeVar

Item = TypeVar("Item", bound=Hashable)
_SLACK = 64


class Schedule(Generic[Item]):
    """One time for each item; a change costs the logarithm of their number, and a look what is due."""

    def __init__(self) -> None:
        self._at: dict[Item, float] = {}
        self._heap: list[tuple[float, int, Item]] = []
        self._order = itertools.count()

    def at(self, item: Item) -> float:
        """When an item is due; infinity when it is not."""
        return self._at.get(item, math.inf)

    def set(self, item: Item, at: float) -> None:
        """Make the item due at that time, and at no other."""
        planned, heap = self._at, self._heap
        if planned.get(item, math.inf) == at:
            return
        if at == math.inf:
            planned.pop(item, None)
            return
        planned[item] = at
        heapq.heappush(heap, (at, next(self._order), item))
        if len(heap) > 2 * len(planned) + _SLACK:
            # Most are of times that were changed since.
            self._heap = [(when, next(self._order), each) for each, when in self._at.items()]
            heapq.heapify(self._heap)

    def sooner(self, item: Item, at: float) -> None:
        """Make the item due at that time, or before."""
        if at < self._at.get(item, math.inf):
            self.set(item, at)

    def forget(self, item: Item) -> None:
        """Note that the item is gone."""
        self._at.pop(item, None)

    def take(self, now: float) -> list[Item]:
        """Return the items that are due; they are not any more, until they are set again."""
        due = []
        while self._heap and self._heap[0][0] <= now:
            at, _, item = heapq.heappop(self._heap)
            if self._at.get(item) == at:
                del self._at[item]
                due.append(item)
        return due

    def next_s(self) -> float:
        """When the next item is due."""
        while self._heap and self._at.get(self._heap[0][2]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else math.inf
