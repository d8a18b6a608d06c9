"""PINGs on many paths that are no candidates, with nothing kept for each: an answer shows by itself what it proves."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2s

from overlays.refmesh.core.check import Path
from overlays.refmesh.keys import Rng
from overlays.refmesh.wire.control import TRANSACTION_LEN, pack_endpoint

MAX_VOLLEYS = 128
"""So many are answered at most: they are 50 ms apart, or more."""


class Volleys:
    """The volleys fired at one peer."""

    def __init__(self, rng: Rng) -> None:
        self._fired_s: dict[int, float] = {}
        """When each was fired, by its number."""
        self._number, self._secret = 0, rng(16)

    def fire(self, paths: Iterable[Path], now: float) -> list[tuple[Path, bytes]]:
        """Return PINGs on many paths, as path and transaction.

        A transaction is made of its path, so that its answer proves that path and no other.
        """
        number = self._number = (self._number + 1) % MAX_VOLLEYS
        self._fired_s[number] = now
        return [(path, self._shot(number, path)) for path in paths]

    def sent_s(self, transaction: bytes, path: Path) -> float | None:
        """Return when the PING was sent that this transaction answers on this path; None: it is of no volley."""
        fired_s = self._fired_s.get(transaction[0]) if transaction else None
        if fired_s is None or not path.direct or transaction != self._shot(transaction[0], path):
            return None
        return fired_s

    def _shot(self, number: int, path: Path) -> bytes:
        aim = b"%d %d " % (number, path.local) + pack_endpoint(path.endpoint)
        return bytes((number,)) + blake2s(aim, key=self._secret, digest_size=TRANSACTION_LEN - 1).digest()
