"""What passed two members' ports, sorted by the way it took: between the two sites, or over any other node. Pure."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

from harness.probes.verdict import MemberAddresses

if TYPE_CHECKING:
    from harness.lab.tap import Passing

# A request is stamped by its sender before it is sent and an answer by the kernel when it has come, all on one clock:
# what carried them lies in between. The slack is for the steps of a clock that NTP slews.
SLACK_S: Final = 0.0002


class Track:
    """Packets that passed one port in one direction by one kind of way, in the order of time."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.sizes: list[int] = []
        self._sums: list[int] = [0]

    def add(self, passing: Passing) -> None:
        """Add one packet, not older than the last."""
        self.times.append(passing.t)
        self.sizes.append(passing.ip_bytes)
        self._sums.append(self._sums[-1] + passing.ip_bytes)

    def between(self, start_s: float, end_s: float) -> range:
        """Return the indices of what passed in a window of Unix time."""
        return range(bisect_left(self.times, start_s - SLACK_S), bisect_right(self.times, end_s + SLACK_S))

    def bytes_between(self, start_s: float, end_s: float) -> int:
        """Return the IP bytes that passed in a window."""
        window = self.between(start_s, end_s)
        return self._sums[window.stop] - self._sums[window.start] if window else 0


class Leg:
    """One direction of a pair: out of one member's port, into the other's; on the direct path and on any other."""

    def __init__(self) -> None:
        self.direct = (Track(), Track())
        self.other = (Track(), Track())


class PairTracks:
    """A pair's two legs; `take` sorts what has passed the two members' ports since it was called last."""

    def __init__(self, a: MemberAddresses, b: MemberAddresses) -> None:
        self._a, self._b = a, b
        self.there, self.back = Leg(), Leg()

    def take(self, at_a: Iterable[Passing], at_b: Iterable[Passing]) -> None:
        """Add what has newly passed the port of `a` and that of `b`, each in order."""
        for passing in at_a:
            _sort(passing, self._a, self._b, outgoing=self.there, incoming=self.back)
        for passing in at_b:
            _sort(passing, self._b, self._a, outgoing=self.back, incoming=self.there)


def _sort(passing: Passing, own: MemberAddresses, peer: MemberAddresses, *, outgoing: Leg, incoming: Leg) -> None:
    """Sort a packet into its leg; a direct one's other end is the peer or a router in front of it: see `verdict`."""
    if passing.src in own.own:
        way = outgoing.direct if passing.dst in peer.public else outgoing.other
        way[0].add(passing)
    if passing.dst in own.own:
        way = incoming.direct if passing.src in peer.public else incoming.other
        way[1].add(passing)


def sizes_in_order(way: Sequence[Track], start_s: float, end_s: float) -> set[int]:
    """Return the sizes of packets that passed the first track and then, as large as before, the second, in a window."""
    first: dict[int, float] = {}
    for index in way[0].between(start_s, end_s):
        first.setdefault(way[0].sizes[index], way[0].times[index])
    return {
        way[1].sizes[index]
        for index in way[1].between(start_s, end_s)
        if first.get(way[1].sizes[index], float("inf")) <= way[1].times[index] + SLACK_S
    }


def sizes_of(track: Track, start_s: float, end_s: float) -> set[int]:
    """Return the sizes of the packets that passed a track in a window."""
    return {track.sizes[index] for index in track.between(start_s, end_s)}
