"""How far the moments that a timeline records lie from those of the packets, at the links' ends; asked: 10 ms.

    python -m bench.event_moments [--json] [--runs N]

In each run a link goes down, two members are parted and a link begins to lose everything, for a second each, while a
packet leaves every 2 ms. What is compared: the last packet that arrived before, and the first after, with the record.
It fails where an event is further off than that and two packets.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from tests.lab.event_runs import Moments, moments

_MOST_S = 0.010
_PACKETS_S = 0.004  # two of them


def main() -> None:
    """Run the benchmark and print the largest difference of each event."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one line of JSON")
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    found: dict[str, list[Moments]] = {}
    for _ in range(options.runs):
        with tempfile.TemporaryDirectory() as folder:
            for one in moments(Path(folder), _MOST_S + _PACKETS_S):
                found.setdefault(one.event, []).append(one)
    most_s = _MOST_S + _PACKETS_S
    largest = {event: max(max(abs(one.begin_s), abs(one.end_s)) for one in seen) for event, seen in found.items()}
    if options.json:
        print(json.dumps({"runs": options.runs, "largest_ms": {event: 1000 * far for event, far in largest.items()}}))
    else:
        for event, far in largest.items():
            met = "within" if far < most_s else "NOT within"
            print(f"{event:12} at most {1000 * far:.1f} ms off: {met} 10 ms and two packets, {options.runs} runs")
    passed = {event: sum(one.passed_meanwhile for one in seen) for event, seen in found.items()}
    if wrong := [event for event, far in largest.items() if far >= most_s or passed[event]]:
        raise SystemExit(f"not within 10 ms and two packets: {', '.join(wrong)}")


if __name__ == "__main__":
    main()
