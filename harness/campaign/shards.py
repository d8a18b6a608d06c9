"""Parts of a plan that run on machines of their own, without any engine between them. Pure."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from harness.hosts.placement import condition_of
from harness.model.trial import Trial


@dataclass(frozen=True)
class Shard:
    """The `number`-th of `of` parts, counted from 1."""

    number: int
    of: int

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"


def parse_shard(text: str) -> Shard:
    """Parse `K/N`.

    Raises:
        ValueError: it is not of that form, or there is no K-th of N parts.
    """
    found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
    if found is None:
        raise ValueError(f"{text!r} is not of the form K/N, for example 2/8")
    shard = Shard(int(found[1]), int(found[2]))
    if not 1 <= shard.number <= shard.of:
        raise ValueError(f"{text!r}: there is no part {shard.number} of {shard.of}")
    return shard


def trials_of(trials: Sequence[Trial], shard: Shard) -> tuple[list[Trial], list[int]]:
    """Return a shard's trials in their order, and the place of each in the whole plan.

    Whole blocks stay together: all overlays of one condition and repeat share a seed, so their differences never are
    differences between machines. Blocks are dealt out in turn, one condition after the other whatever their order in
    the plan: its repeats go to as many shards as there are, or as it has repeats.
    """
    of_condition: dict[str, dict[int, None]] = {}
    for trial in trials:
        of_condition.setdefault(condition_of(trial), {})[trial.seed] = None
    blocks = {seed: number for number, seed in enumerate(chain.from_iterable(of_condition.values()))}
    places = [place for place, trial in enumerate(trials) if blocks[trial.seed] % shard.of == shard.number - 1]
    return [trials[place] for place in places], places


def description(trials: Sequence[Trial], shard: Shard, places: Sequence[int]) -> dict[str, Any]:
    """Return what a shard's manifest says of the whole plan: `merge` puts the parts together by it."""
    whole = json.dumps([[trial.id, trial.seed] for trial in trials])
    return {
        "number": shard.number,
        "of": shard.of,
        "planned": len(trials),
        "places": list(places),
        "plan_sha256": hashlib.sha256(whole.encode()).hexdigest(),
    }
