"""How a fuzz target is called and what it says at its end; and scenes, one after the other, that keep no memory."""

from __future__ import annotations

import argparse
import itertools
import sys
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable

MAX_GROWTH = 6 << 20
"""Octets that may be held more after many scenes than after the third."""


def command(about: str | None, attack: Callable[[int, int], tuple[str | None, str]]) -> None:
    """Call `attack` with the count and the seed of the command line; print what went wrong (exit 1), or what was tried.

    Args:
        about: what `--help` says.
        attack: returns what went wrong, None when nothing did, and what was tried.
    """
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    started = time.monotonic()
    wrong, tried = attack(options.count, options.seed)
    print(wrong or f"{tried} in {time.monotonic() - started:.1f} s: all that must hold has held")
    sys.exit(wrong is not None)


def each_role(count: int, seed: int, scene: Callable[[int, Counter[str], int], str | None]) -> tuple[str | None, str]:
    """Play scenes until each role in them has said `count` things, or something went wrong.

    Args:
        scene: plays one of a seed, adds to what each role has said, up to `count`, and returns what went wrong.
    """
    said, first, wrong = Counter[str](), 0, None
    for number in itertools.count():
        before = said.total()
        wrong = scene(seed + number, said, count)
        if wrong or said.total() == before:
            break
        if number == 1:
            tracemalloc.start()
        elif number == 2:
            first = tracemalloc.get_traced_memory()[0]
        elif number > 2 and tracemalloc.get_traced_memory()[0] - first > MAX_GROWTH:
            wrong = f"{tracemalloc.get_traced_memory()[0] - first} octets more memory after {number} scenes"
            break
    return wrong, ", ".join(f"{number} {role.replace('_', ' ')}" for role, number in sorted(said.items()))
