"""The order of NATs from the most permissive to the least, taken from what they do and not from a list of names."""

from __future__ import annotations

from functools import lru_cache

from harness.model.nat import ALIASES, NatBehaviour
from harness.model.nat_words import Egress, Filtering, Mapping, PortAllocation

# How hard a port is to predict from outside; block allocation draws at random from a block.
_PREDICTABLE = (PortAllocation.PRESERVING, PortAllocation.SEQUENTIAL, PortAllocation.BLOCK, PortAllocation.RANDOM)
_MAPPINGS = {word.short: place for place, word in enumerate(Mapping)}
_FILTERINGS = {word.short: place for place, word in enumerate(Filtering)}
_ALLOCATIONS = {word.value: place for place, word in enumerate(_PREDICTABLE)}
_EGRESS = {f"egress={word.value}": place for place, word in enumerate(Egress)}

Rank = tuple[int, ...]


@lru_cache(maxsize=4096)
def nat_rank(label: str) -> tuple[Rank, int, str]:
    """Return the sort key of a NAT's label as records carry it (`NatBehaviour.label`).

    What a router lets out comes first, then mapping, filtering and port allocation (RFC 4787 sections 4 and 5), then
    the place in the list of aliases. Of several routers one behind the other (`home-router+cgn`) the strictest decides.
    A label that says none of this comes last, by name.
    """
    known = [rank for rank in map(_rank_of, label.split("+")) if rank is not None]
    places = list(ALIASES)
    place = places.index(label) if label in ALIASES else len(places)
    return max(known, default=(len(Egress),)), place, label


def _rank_of(label: str) -> Rank | None:
    """Return the rank of one alias, or of axes as in `EIM/ADF/random,egress=no-udp`; None for anything else."""
    if label in ALIASES:
        return _of_behaviour(ALIASES[label].behaviour)
    head, *rest = label.split(",")
    mapping, filtering, allocation = (*head.split("/"), *("", "", ""))[:3]
    if mapping not in _MAPPINGS or filtering not in _FILTERINGS:
        return None
    egress = max((_EGRESS.get(part, 0) for part in rest), default=0)
    return egress, _MAPPINGS[mapping], _FILTERINGS[filtering], _ALLOCATIONS.get(allocation, 0)


def _of_behaviour(behaviour: NatBehaviour) -> Rank:
    return (
        _EGRESS[f"egress={behaviour.egress.value}"],
        _MAPPINGS[behaviour.mapping.short],
        _FILTERINGS[behaviour.filtering.short],
        _ALLOCATIONS[behaviour.port_allocation.value],
    )
