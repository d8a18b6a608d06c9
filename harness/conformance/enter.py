"""Makes the sandbox of the contract's worker, as whoever calls, and becomes it.

Apart from the worker, whose imports take seconds of a busy processor: outside the sandbox nothing needs them.
"""

from __future__ import annotations

import os
import sys

from harness.sandbox.program import ending_in_one_line
from harness.sandbox.unshare import sandbox_argv


def main() -> None:
    """Hand the worker's own arguments on."""
    argv = sandbox_argv([sys.executable, "-m", "harness.conformance.worker", *sys.argv[1:]])
    os.execvp(argv[0], argv)


if __name__ == "__main__":
    with ending_in_one_line():
        main()
