"""One party of an MPyC computation, as a program of its own: the probe starts it in the nodes.

    python -I mpyc_party.py -P HOST:PORT ... PROGRAM SIZE FEWEST MOST PRECISION

Prints a JSON object a line: versions first, then that it is connected to all others, and, once SIGUSR1 has told it to
begin, one for each time that the program ran; at last what it sent in all of them. The programs are ours, on
MPyC's interface; what they send is what its own demonstrations of the same kind send.

How many rounds a derangement takes is random, so a program runs until its median time is known to a share of PRECISION,
at least FEWEST and at most MOST times. Party 0 decides, since all must run it equally often.
"""

from __future__ import annotations

import asyncio
import json
import math
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from importlib.metadata import version
from typing import Any


def is_steady(times_s: Sequence[float], precision: float) -> bool:
    """Tell whether the median's 95 % interval (order statistics) is within this share of it to either side."""
    ordered, count = sorted(times_s), len(times_s)
    low = math.floor(count / 2 - 0.98 * math.sqrt(count))
    if low < 0:
        return False
    middle = ordered[count // 2]
    return middle - ordered[low] <= precision * middle and ordered[count - 1 - low] - middle <= precision * middle


async def derangement(mpc: Any, size: int) -> None:
    """Draw a secret santa: a random permutation of `size` without fixed points; many small rounds."""
    from mpyc.random import random_derangement  # noqa: PLC0415  # its runtime reads the command line when loaded

    drawn = await mpc.output(random_derangement(mpc.SecInt(32), size))
    if sorted(map(int, drawn)) != list(range(size)) or any(int(y) == x for x, y in enumerate(drawn)):
        raise ArithmeticError(f"{drawn} is no derangement")


async def dense(mpc: Any, size: int) -> None:
    """Take a batch of `size` images through two dense layers, 784 to 128 to 10; fewer and larger messages."""
    import numpy as np  # noqa: PLC0415

    secret = mpc.SecInt(37)
    rng = np.random.default_rng(1)
    batch, first, second = (rng.integers(-8, 8, shape) for shape in ((size, 784), (784, 128), (128, 10)))
    found = await mpc.output(_positive(mpc, secret.array(batch) @ secret.array(first)) @ secret.array(second))
    _require_equal(found, np.maximum(batch @ first, 0) @ second)


async def cnn(mpc: Any, size: int) -> None:
    """Take `size` images through a convolution (5 x 5, 16 channels), pooling, and dense layers of 1024 and 10."""
    import numpy as np  # noqa: PLC0415

    secret = mpc.SecInt(45)
    rng = np.random.default_rng(2)
    images, kernel = rng.integers(0, 4, (size, 28 * 28)), rng.integers(-4, 4, (25, 16))
    first, second = rng.integers(-4, 4, (12 * 12 * 16, 1024)), rng.integers(-4, 4, (1024, 10))
    corner = (np.arange(24)[:, None] * 28 + np.arange(24)).reshape(-1, 1)
    patches = corner + (np.arange(5)[:, None] * 28 + np.arange(5)).reshape(1, -1)
    # Where the four fields of each pool lie among the 24 x 24.
    pools = (2 * np.arange(12)[:, None, None, None] + np.arange(2)[:, None]) * 24
    pools = (pools + 2 * np.arange(12)[:, None, None] + np.arange(2)).reshape(144, 4)
    for image in images:
        seen = _positive(mpc, secret.array(image)[patches] @ secret.array(kernel))
        pooled = seen[pools[:, 0]]
        plain = np.maximum(image[patches] @ kernel, 0)
        for place in range(1, 4):
            pooled = mpc.np_maximum(pooled, seen[pools[:, place]])
        flat = mpc.np_reshape(pooled, (1, -1))
        hidden = _positive(mpc, flat @ secret.array(first))
        found = await mpc.output(hidden @ secret.array(second))
        wanted = plain[pools].max(axis=1).reshape(1, -1)
        _require_equal(found, np.maximum(wanted @ first, 0) @ second)


def _positive(mpc: Any, values: Any) -> Any:
    """Make what is below zero zero (rectify)."""
    return mpc.np_multiply(values >= 0, values)


def _require_equal(found: Any, wanted: Any) -> None:
    if (found.astype(object) != wanted).any():
        raise ArithmeticError("the computation is wrong")


PROGRAMS: dict[str, Callable[[Any, int], Awaitable[None]]] = {"derangement": derangement, "dense": dense, "cnn": cnn}


async def compute(mpc: Any, program: str, size: int, *, fewest: int, most: int, precision: float) -> None:
    """Run a program again and again; a line each."""
    times_s: list[float] = []
    told = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, told.set)
    async with mpc:
        _say(connected_unix_s=time.time())
        await told.wait()
        sent_before = _bytes_sent(mpc)
        go_on = True
        while go_on:
            sent = _bytes_sent(mpc)
            began = time.perf_counter()
            await PROGRAMS[program](mpc, size)
            times_s.append(time.perf_counter() - began)
            _say(elapsed_s=times_s[-1], bytes_sent=_bytes_sent(mpc) - sent, ended_unix_s=time.time())
            enough = len(times_s) >= most or (len(times_s) >= fewest and is_steady(times_s, precision))
            go_on = (await mpc.transfer(not enough, senders=0)) is True
        _say(all_bytes_sent=_bytes_sent(mpc) - sent_before)


def _bytes_sent(mpc: Any) -> int:
    """Return octets of MPyC's messages to all other parties so far, their headers included."""
    return sum(peer.protocol.nbytes_sent for peer in mpc.parties if peer.pid != mpc.pid)


def _say(**what: object) -> None:
    print(json.dumps(what), flush=True)


def main() -> None:
    """Be one party; see the module."""
    _say(**{name: version(name) for name in ("mpyc", "gmpy2", "numpy")})
    from mpyc.runtime import mpc  # noqa: PLC0415  # takes its own words from the command line

    program, size, fewest, most, precision = sys.argv[1:6]
    work = compute(mpc, program, int(size), fewest=int(fewest), most=int(most), precision=float(precision))
    mpc.run(work)


if __name__ == "__main__":
    main()
