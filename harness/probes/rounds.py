"""Pairs that can be measured at the same time: those that share no member. Pure."""

from __future__ import annotations

from collections.abc import Sequence


def rounds_of(pairs: Sequence[tuple[str, str]]) -> list[list[int]]:
    """Return the indices of the pairs in rounds within which no member occurs twice; n members need about n rounds."""
    members = sorted({name for pair in pairs for name in pair})
    place = {name: number for number, name in enumerate(members)}
    colours = len(members) if len(members) % 2 else max(1, len(members) - 1)
    rounds: dict[int, list[int]] = {}
    for index, (src, dst) in enumerate(pairs):
        # The circle method: with an odd number of members, pair (i, j) plays in round i + j modulo n; with an even one
        # the last member stands still and takes the place that is free in each round.
        one, other = sorted((place[src], place[dst]))
        last = len(members) - 1 if len(members) % 2 == 0 else -1
        number = 2 * one if other == last else one + other
        rounds.setdefault(number % colours, []).append(index)
    return [rounds[number] for number in sorted(rounds)]
