"""The way that each ping took, there and back, told from what passed both members' ports. No node is asked. Pure.

First by conservation: an answered ping was carried, so where the packets of one way have fewer octets than the ping's
random payload, the other way carried it; that holds for products that pad, batch and fragment as well. Where both ways
moved enough, by size: packets that fit the ping, on both links and in the order of time, by the framing that the trial
itself shows. Where that leaves it open, by the RTT: an answer as old as a relayed one proves nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from harness.probes.framing import Framing, learn
from harness.probes.pings import HEADERS_BYTES, Ping
from harness.probes.tracks import Leg, PairTracks, sizes_in_order, sizes_of

if TYPE_CHECKING:
    from harness.model.words import Verdict

# `either`: a packet that fits took the direct path, and one that may fit another; `unknown`: nothing fits.
Way = Literal["direct", "relayed", "either", "unknown", "nowhere"]
Carried = Literal["direct", "relayed", "asymmetric", "either", "unknown", "nowhere"]

_TELLING: Final[tuple[Literal["direct", "relayed", "asymmetric"], ...]] = ("direct", "relayed", "asymmetric")
_MOST_OF: Final = 0.9

# A detour this much longer than the direct path tells the two apart by their RTT alone.
_CLEARLY_LONGER: Final = 1.25
_CLEARLY_LONGER_S: Final = 0.002


@dataclass(frozen=True)
class Framings:
    """What is known of the packets that carry pings: between the sites, towards a relay, from a relay."""

    direct: Framing | None
    to_relay: Framing | None
    from_relay: Framing | None


@dataclass(frozen=True)
class Attributed:
    """An answered ping and the way that it took."""

    ping: Ping
    carried: Carried


def attribute(tracks: PairTracks, pings: Sequence[Ping]) -> list[Attributed]:
    """Return the way of every answered ping, in the order of sending."""
    answered = [ping for ping in pings if ping.answered_s is not None]
    known = learn_framings(tracks, answered)
    ways = [_both_ways(tracks, ping, known) for ping in answered]
    return _witnessed([Attributed(ping, _carried(*way)) for ping, way in zip(answered, ways, strict=True)])


def first_direct(attributed: Sequence[Attributed]) -> Ping | None:
    """Return the first ping that went and came back directly; None: none did, as far as can be told."""
    first = first_certain([one.carried for one in attributed], "direct")
    return None if first is None else attributed[first].ping


def first_certain(ways: Sequence[str], wanted: Carried) -> int | None:
    """Return the place of the first that took the wanted way; None: none did, as far as can be told.

    One that may have taken another way as well counts when the next that is certain took the wanted one, and all in
    between may have: then the product sent twice for a moment, and it was no packet of its own that fitted by chance.
    """
    run: int | None = None
    for place, way in enumerate(ways):
        if way == wanted:
            return place if run is None else run
        run = (place if run is None else run) if way == "either" else None
    return None


def verdict_of(burst: Sequence[Attributed]) -> Verdict | None:
    """Return what the pings of a burst say together; None where too many of them cannot be told."""
    told = Counter(one.carried for one in burst)
    for verdict in _TELLING:
        if told[verdict] >= _MOST_OF * len(burst) > 0:
            return verdict
    return None


def share_of_direct(attributed: Sequence[Attributed], sent: Sequence[Ping]) -> float | None:
    """Return the share of some pings that were direct both ways, of those whose way can be told; None: of none.

    One that was not answered was not direct.
    """
    numbers = {ping.seq for ping in sent}
    told = [one.carried for one in attributed if one.ping.seq in numbers and one.carried not in ("either", "unknown")]
    silent = sum(ping.answered_s is None for ping in sent)
    if not told and not silent:
        return None
    return told.count("direct") / (len(told) + silent)


def learn_framings(tracks: PairTracks, answered: Sequence[Ping]) -> Framings:
    """Learn from all pings together how the packets that carry them are framed."""
    legs = (tracks.there, tracks.back)
    windows = [(ping.ip_bytes, ping.sent_s, ping.answered_s or ping.sent_s) for ping in answered]

    return Framings(
        direct=learn([(size, sizes_in_order(leg.direct, *when)) for size, *when in windows for leg in legs]),
        to_relay=learn([(size, sizes_of(leg.other[0], *when)) for size, *when in windows for leg in legs]),
        from_relay=learn([(size, sizes_of(leg.other[1], *when)) for size, *when in windows for leg in legs]),
    )


def _both_ways(tracks: PairTracks, ping: Ping, known: Framings) -> tuple[Way, Way]:
    return _way(tracks.there, ping, known), _way(tracks.back, ping, known)


def _way(leg: Leg, ping: Ping, known: Framings) -> Way:
    assert ping.answered_s is not None
    window = ping.sent_s, ping.answered_s
    payload = ping.ip_bytes - HEADERS_BYTES[6]
    direct, other = (all(track.bytes_between(*window) >= payload for track in way) for way in (leg.direct, leg.other))
    if not direct or not other:
        return "direct" if direct else "relayed" if other else "nowhere"
    fits_direct = known.direct and known.direct.any_fits(sizes_in_order(leg.direct, *window), ping.ip_bytes)
    fits_other = (
        known.to_relay
        and known.from_relay
        and known.to_relay.any_fits(sizes_of(leg.other[0], *window), ping.ip_bytes)
        and known.from_relay.any_fits(sizes_of(leg.other[1], *window), ping.ip_bytes)
    )
    if fits_direct is False:
        return "relayed" if fits_other else "unknown"
    if fits_other is False:
        return "direct"
    return "either" if fits_direct else "unknown"


def _carried(there: Way, back: Way) -> Carried:
    if "nowhere" in {there, back}:
        return "nowhere"
    if "unknown" in {there, back}:
        return "unknown"
    if "either" in {there, back}:
        return "unknown" if "relayed" in {there, back} else "either"
    if there == back:
        return there
    return "asymmetric"


def _witnessed(attributed: Sequence[Attributed]) -> list[Attributed]:
    """Return the same pings, with the RTT as second witness for those that are open."""
    relayed = [one.ping.rtt_s or 0.0 for one in attributed if one.carried == "relayed"]
    direct = [one.ping.rtt_s or 0.0 for one in attributed if one.carried == "direct"]
    if not relayed or not direct or min(relayed) < _CLEARLY_LONGER * min(direct) + _CLEARLY_LONGER_S:
        return list(attributed)
    detour_s = min(relayed)
    return [
        one
        if one.carried != "either"
        else Attributed(one.ping, "direct" if (one.ping.rtt_s or 0.0) < detour_s else "unknown")
        for one in attributed
    ]
