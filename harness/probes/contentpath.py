"""The path of content: fresh files are published and fetched until one takes the way that the mode can hope for."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Final

from harness.errors import OverlayError
from harness.lab import counters
from harness.model.words import SEEKING_DIRECT, Verdict
from harness.probes.exchange import publish_and_fetch
from harness.probes.measurement import Pair, Target
from harness.probes.pathfigures import PathFound, Since
from harness.probes.verdict import member_addresses, path_of_content

# Much more than a product sends along with it, and little enough for a slow one.
CONTENT_BYTES: Final = 1_000_000
EVIDENCE: Final = "fetches.json"
_MISSING: Final = "no content was fetched"
_PAUSE_S: Final = 0.2


@dataclass(frozen=True)
class Fetch:
    """One content that was fetched: when (Unix seconds), and which way its bytes went; `error`: it was not."""

    ended_s: float
    verdict: Verdict
    error: str | None = None


def find_content_paths(targets: Sequence[Target], deadline_s: float, since: Since | None) -> dict[Pair, PathFound]:
    """Find the paths of pairs, one after the other: the counters tell which way bytes went, not whose they were.

    What a pair waits for those before it is not the overlay's time: its clock is set back by as much.
    """
    found: dict[Pair, PathFound] = {}
    began = time.time()
    for target in targets:
        waited_s = time.time() - began
        own = since and Since(since.started_s + waited_s, since.ready_s + waited_s)
        found[target.pair] = find_content_path(target, deadline_s, own)
    return found


def find_content_path(target: Target, deadline_s: float, since: Since | None) -> PathFound:
    """Publish and fetch, fresh content each time, until it goes directly, or until the time is over.

    Once is enough where the mode does not punch.

    Args:
        deadline_s: after the start of the members' daemons.
        since: when these were started and ready; None: there are none, and the time counts from now.
    """
    since = since or Since(time.time(), time.time())
    deadline = since.started_s + deadline_s
    rng = random.Random(f"{target.lab.seed}/{target.src}/{target.dst}/path")
    fetches: list[Fetch] = []
    while not fetches or (time.time() < deadline and _hopes(target, fetches[-1])):
        if fetches:
            time.sleep(_PAUSE_S)
        fetches.append(_fetched(target, rng, len(fetches), max(1.0, deadline - time.time())))
    target.evidence(EVIDENCE).write_text(json.dumps([asdict(one) for one in fetches], indent=1))
    return found_of(fetches, deadline, since)


def found_of(fetches: list[Fetch], deadline: float, since: Since) -> PathFound:
    """Sum up the fetches of a pair; the verdict is that of the last one in time."""
    came = [one for one in fetches if one.error is None and one.ended_s <= deadline]
    direct = next((one.ended_s for one in came if one.verdict == "direct"), None)
    if not came:
        said = next((one.error for one in reversed(fetches) if one.error), "it came too late")
        return PathFound("none", None, None, since, why_not=f": {said}", missing=_MISSING, evidence=EVIDENCE)
    verdict = came[-1].verdict
    return PathFound(verdict, came[0].ended_s, direct if verdict == "direct" else None, since, evidence=EVIDENCE)


def _hopes(target: Target, last: Fetch) -> bool:
    return last.error is not None or (target.mode in SEEKING_DIRECT and last.verdict != "direct")


def _fetched(target: Target, rng: random.Random, number: int, patience_s: float) -> Fetch:
    topology = target.lab.topology
    before = counters.read()
    try:
        done = publish_and_fetch(target, rng.randbytes(CONTENT_BYTES), f"path-{number}", patience_s)
    except OverlayError as error:
        return Fetch(time.time(), "none", str(error))
    ended_s = time.time()
    grown = counters.since(before, counters.read())
    if not done.intact:
        return Fetch(ended_s, "none", "what was fetched is not what was published")
    ends = member_addresses(topology, target.src), member_addresses(topology, target.dst)
    return Fetch(ended_s, path_of_content(grown, *ends, CONTENT_BYTES))
