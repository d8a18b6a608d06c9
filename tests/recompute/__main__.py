"""The command line."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.recompute.check import check


def main() -> None:
    """Check each folder named on the command line."""
    bad = False
    for name in sys.argv[1:] or sys.exit("usage: python -m tests.recompute RUN_DIR..."):
        if not Path(name, "manifest.json").is_file():
            sys.exit(f"{name}: not a result folder (it has no manifest.json)")
        found = check(Path(name))
        for difference in found.differences:
            print(difference)
        compared = ", ".join(f"{metric} {count}" for metric, count in sorted(found.compared.items()))
        untold = ", ".join(f"{metric} {count}" for metric, count in sorted(found.untold.items()))
        print(f"{name}: {sum(found.compared.values())} figures compared ({compared})")
        print(f"{name}: {sum(found.untold.values())} of which no evidence tells ({untold})")
        bad |= bool(found.differences) or not sum(found.compared.values())
    sys.exit(bad)


if __name__ == "__main__":
    main()
