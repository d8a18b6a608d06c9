"""How likely all pairs of n parties are direct: what a mesh has to be for its latency not to be a relay's.

A round waits for its slowest pair, so one relayed pair costs all parties a mesh's advantage. The rate of pairs says
little of it: pairs of one party share its NAT, and n parties are n (n - 1) / 2 pairs.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations, combinations_with_replacement

import pandas as pd

from harness.results import statistics
from harness.results.cells import cells, counted_values
from harness.results.conditions import varied_parameters
from harness.results.statistics import Estimate


def measured_by_n(records: pd.DataFrame) -> dict[tuple[str, str, int, str], Estimate]:
    """Return (overlay, mode, n, NATs) -> share of trials in which all pairs punched a hole; NATs of all parties.

    What else was varied stands after the NATs: trials of unlike conditions have no rate together.
    """
    frame = cells(records.reset_index(drop=True))
    frame["value"] = counted_values(frame)
    rows = frame[(frame["metric"] == "hole_punch_success") & frame["value"].notna()]
    besides = _besides(rows)
    whole: dict[tuple[str, str, int, str], list[float]] = {}
    for _, group in rows.groupby("trial", sort=False):
        first = group.iloc[0]
        facts = {name: of for text in group["pair"] for name, of in json.loads(str(text) or "{}").items()}
        members = sorted({*group["src"], *group["dst"]})
        nats = Counter(str((facts.get(name) or {}).get("nat") or "none") for name in members)
        text = ", ".join(f"{count} {name}" if len(nats) > 1 else name for name, count in sorted(nats.items()))
        text = "; ".join(part for part in (text, besides[str(first["params"])]) if part)
        key = (str(first["overlay"]), str(first["mode"]), len(members), text)
        whole.setdefault(key, []).append(float(group["value"].min()))
    return {key: statistics.proportion(round(sum(values)), len(values)) for key, values in sorted(whole.items())}


def _besides(rows: pd.DataFrame) -> dict[str, str]:
    """Return by parameters what was varied of them but for parties and their NATs, which are told by themselves."""
    names = {name for text in rows["params"].unique() for name in json.loads(str(text))}
    return varied_parameters(rows["params"], without=[name for name in names if name == "n" or name.startswith("nat")])


def expected_all_direct(rates: Mapping[tuple[str, str], float], mix: Mapping[str, float], n: int) -> float:
    """Return how likely all pairs of n parties are direct whose NATs are drawn from `mix`.

    Args:
        rates: how likely a pair of NATs is direct; either order.
        mix: share of each NAT, all together 1.
        n: parties.

    Raises:
        ValueError: the shares are not all there is, or a pair of them has no rate.
    """
    if not math.isclose(sum(mix.values()), 1, abs_tol=1e-9):
        raise ValueError(f"the shares add up to {sum(mix.values()):g}, not to 1")
    nats = [name for name, share in mix.items() if share > 0]
    return sum(_likelihood(group, mix) * _all_direct(group, rates) for group in combinations_with_replacement(nats, n))


def _likelihood(group: Sequence[str], mix: Mapping[str, float]) -> float:
    """Return how likely these NATs are drawn, in any order."""
    counts = Counter(group)
    ways = math.factorial(len(group)) / math.prod(math.factorial(count) for count in counts.values())
    return ways * math.prod(mix[name] ** count for name, count in counts.items())


def _all_direct(group: Sequence[str], rates: Mapping[tuple[str, str], float]) -> float:
    likely = 1.0
    for one, other in combinations(group, 2):
        rate = rates.get((one, other), rates.get((other, one)))
        if rate is None:
            raise ValueError(f"no rate of {one} and {other}")
        likely *= rate
    return likely
