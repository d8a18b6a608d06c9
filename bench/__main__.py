"""`make bench`: every benchmark after the other, each a JSON line under its name. Ratios within one run, no verdict."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def main() -> None:
    """Run them all; exit 1 when one could not run."""
    failed = False
    for file in sorted(Path(__file__).parent.glob("[a-z]*.py")):
        if "def main" not in file.read_text():
            continue  # a part of another one
        print(f"# {file.stem}", flush=True)
        failed |= subprocess.run([sys.executable, "-m", f"bench.{file.stem}", "--json"], check=False).returncode != 0
    sys.exit(failed)


if __name__ == "__main__":
    main()
