"""What a second processor could do for refmesh: its ciphers in one thread, in two threads and in two processes.

    python -m bench.refmesh_processors [--json] [--mb 200] [--rounds 5] [--cpu-s-per-gb 1.6]

The same octets are sealed and opened by the library that refmesh uses, in pieces as refmesh has them: a datagram, and
64 KB as one piece, which no framing of ours sends and which shows what the calls cost beside the cipher. Each round
takes all three ways, and ratios are within a round. With refmesh's processor time a gigabyte, of both daemons together
as `python -m bench.refmesh` measures it, it says what is left once the cipher costs nothing (Amdahl 1967): the most
that threads for the cipher could ever bring.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Final

from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from harness.machine.describe import harness_commit

CIPHERS: Final = {"AES-256-GCM": AESGCM, "ChaCha20-Poly1305": ChaCha20Poly1305}
PIECES: Final = {"datagram": 1448, "64 KB": 65_536}
WORKERS: Final = 2


@dataclass(frozen=True)
class Work:
    """So many pieces of `size` octets, sealed and opened again by one key."""

    cipher: str
    size: int
    pieces: int

    def do(self) -> float:
        """Return the seconds of a processor that it took this thread."""
        aead, data = CIPHERS[self.cipher](bytes(32)), bytes(self.size)
        begun = time.thread_time()
        for counter in range(self.pieces):
            nonce = counter.to_bytes(12)
            aead.decrypt(nonce, aead.encrypt(nonce, data, None), None)
        return time.thread_time() - begun


def in_one(work: Work) -> None:
    """Do the work of all workers one after another."""
    for _ in range(WORKERS):
        work.do()


def in_threads(work: Work) -> None:
    """Do it in threads of this process."""
    threads = [threading.Thread(target=work.do) for _ in range(WORKERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def timed(way: Callable[[Work], None], work: Work) -> float:
    """Return the seconds that pass."""
    begun = time.perf_counter()
    way(work)
    return time.perf_counter() - begun


def rounds_of(work: Work, rounds: int) -> Iterator[dict[str, float]]:
    """Yield a round's speed of each way as a multiple of one thread's, and the cipher's seconds a gigabyte."""
    with ProcessPoolExecutor(WORKERS) as pool:
        list(pool.map(Work.do, [work] * WORKERS))  # the processes are there, and have loaded the library

        def in_processes(one: Work) -> None:
            list(pool.map(Work.do, [one] * WORKERS))

        for _ in range(rounds):
            alone_s = timed(in_one, work)
            yield {
                "threads": alone_s / timed(in_threads, work),
                "processes": alone_s / timed(in_processes, work),
                "cipher_s_per_gb": work.do() / (work.pieces * work.size / 1e9),
            }


def ceiling(cipher_s_per_gb: float, cpu_s_per_gb: float) -> float:
    """Return how much faster a program gets at most once its cipher costs nothing; both in seconds a gigabyte.

    Raises:
        ValueError: the cipher takes as long as the whole.
    """
    if cipher_s_per_gb >= cpu_s_per_gb:
        raise ValueError("the cipher alone takes longer than refmesh with it: the two figures are not of one machine")
    return cpu_s_per_gb / (cpu_s_per_gb - cipher_s_per_gb)


def measured(mb: float, rounds: int, cpu_s_per_gb: float | None) -> dict[str, Any]:
    """Return median, lowest and highest of each figure, by cipher and piece."""
    found: dict[str, Any] = {}
    for cipher in CIPHERS:
        for piece, size in PIECES.items():
            seen = list(rounds_of(Work(cipher, size, max(1, round(mb * 1e6 / size))), rounds))
            row = {key: _spread([one[key] for one in seen]) for key in seen[0]}
            if cpu_s_per_gb is not None and piece == "datagram":
                row["ceiling"] = [round(ceiling(row["cipher_s_per_gb"][0], cpu_s_per_gb), 3)]
            found[f"{cipher}, {piece}"] = row
    return {
        "processors": len(os.sched_getaffinity(0)),
        "commit": harness_commit(),
        "cryptography": version("cryptography"),
        "figures": found,
    }


def _spread(values: list[float]) -> list[float]:
    return [round(value, 3) for value in (statistics.median(values), min(values), max(values))]


def main() -> None:
    """Print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--mb", type=float, default=200, help="megabytes a worker and round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cpu-s-per-gb", type=float, help="what bench.refmesh says of refmesh")
    options = parser.parse_args()
    try:
        result = measured(options.mb, options.rounds, options.cpu_s_per_gb)
    except ValueError as wrong:
        raise SystemExit(f"--cpu-s-per-gb: {wrong}") from wrong
    if options.json:
        print(json.dumps(result, indent=2))
        return
    print(f"{result['processors']} processors, cryptography {result['cryptography']}; median (lowest to highest)")
    for name, row in result["figures"].items():
        said = [
            f"{key} {value[0]}" + (f" ({value[1]} to {value[2]})" if value[1:] else "") for key, value in row.items()
        ]
        print(f"{name:<28}", "; ".join(said))


if __name__ == "__main__":
    main()
