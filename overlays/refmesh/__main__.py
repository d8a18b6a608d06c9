"""`refmesh`, also `python -m overlays.refmesh`: a daemon at once, everything else by way of click.

`refmesh up -c FILE` and `refmesh server -c FILE` are what machines start, fifty at a time in a lab, and click takes as
long to import as the rest of the command line.
"""

from __future__ import annotations

import sys
from pathlib import Path

from overlays.refmesh.daemon import run_node, run_server
from overlays.refmesh.errors import RefmeshError

_DAEMONS = {"up": run_node, "server": run_server}


def main() -> None:
    """Return the entry point: errors as one line each on stderr, exit codes as `cli` tells them."""
    match sys.argv[1:]:
        case [("up" | "server") as command, ("--config" | "-c"), path]:
            try:
                _DAEMONS[command](Path(path))
            except RefmeshError as error:
                print(error, file=sys.stderr)
                sys.exit(error.exit_code)
            except KeyboardInterrupt:
                sys.exit(130)
        case _:
            from overlays.refmesh.cli import main as by_click  # noqa: PLC0415

            by_click()


if __name__ == "__main__":
    main()
