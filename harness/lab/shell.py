"""A lab and Mininet's CLI on it, run inside a sandbox for `overlaybench shell`."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import NoReturn

import mininet.log
from mininet.cli import CLI

from harness.errors import LabError, StorageError
from harness.lab.names import serve_names, serve_synthesised_names
from harness.lab.network import Lab
from harness.model.topology import Topology
from harness.sandbox.mounts import make_private
from harness.sandbox.program import ending_in_one_line
from harness.sandbox.unshare import run_as_init_check


class _Cli(CLI):  # type: ignore[misc]  # Mininet has no types
    """Mininet's own, which takes names with hyphens too for names of nodes."""

    identchars = f"{CLI.identchars}-."


def _read(descriptor: int) -> str:
    with os.fdopen(descriptor) as file:
        return file.read()


def main() -> None:
    """Run `python -m harness.lab.shell FD [COMMANDS_FILE]`, the topology as JSON readable from file descriptor FD."""
    run_as_init_check()
    topology = Topology.model_validate_json(_read(int(sys.argv[1])))
    commands = sys.argv[2] if len(sys.argv) > 2 else None
    # Mininet logs to stderr, the output of commands included; data belongs on stdout.
    for handler in mininet.log.lg.handlers:
        handler.setStream(sys.stdout)
        handler.handleError = _raise
    make_private(None)
    workdir = Path("/run/overlaybench")
    workdir.mkdir()
    # Mininet keeps its command history there; the user's own home is read-only in here.
    os.environ["HOME"] = str(workdir)
    serve_names(topology, workdir)
    lab = Lab(topology, seed=0, link_choice="auto", workdir=workdir)
    lab.start()
    serve_synthesised_names(topology, lab.nodes, workdir)
    _Cli(lab.net, script=commands)
    lab.stop()


def _raise(record: logging.LogRecord) -> NoReturn:
    """Raise what kept a line from being written, where `logging` would print a traceback and go on."""
    error = sys.exc_info()[1]
    what = f"cannot print {record.getMessage()!r}: {error}"
    raise StorageError.of(error, "standard output") if isinstance(error, OSError) else LabError(what)


if __name__ == "__main__":
    with ending_in_one_line():
        main()
