"""What the probe of rounds keeps the processors busy with, as a share of a round's time; asked: below 2 %.

    python -m bench.rounds_probe [--json] [--runs 3]

Ten parties 4 ms apart exchange 4,000 small rounds. Its own code counts, not what it asks of the kernel, which is what
rounds are made of. The least of the runs decides: a busy machine makes the same work dearer. It ends with 1 above 2 %.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from harness.machine.describe import harness_commit
from tests.lab.test_rounds_lab import probe_share, ten_parties

MOST = 0.02


def main() -> None:
    """Run the benchmark and print the share of each run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one line of JSON")
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    shares, to_kernel = [], []
    for _ in range(options.runs):
        with tempfile.TemporaryDirectory() as folder:
            found = ten_parties(Path(folder))
        shares.append(probe_share(found))
        to_kernel.append(found["chatty_probe_cpu_ms"] / found["chatty_probe_kernel_ms"])
    if options.json:
        print(json.dumps({"commit": harness_commit(), "share": shares, "to_kernel": to_kernel, "asked": MOST}))
    else:
        for share, ratio in zip(shares, to_kernel, strict=True):
            print(f"{100 * share:.2f} % of a round; {100 * ratio:.0f} % of what it asks of the kernel")
    if min(shares) >= MOST:
        raise SystemExit(f"{100 * min(shares):.2f} % of a round at least, asked is less than {100 * MOST:g} %")


if __name__ == "__main__":
    main()
