"""Runs a node or a server from its configuration file: what `refmesh up` and `refmesh server` do."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

# A node does not pay for a server, nor a server for a node.
# ruff: noqa: PLC0415


def run_node(path: Path) -> None:
    """Run a node until SIGTERM or SIGINT. RefmeshError when the configuration or the machine does not allow it."""
    from overlays.refmesh.config_file import load_node
    from overlays.refmesh.driver.descriptors import raise_limit
    from overlays.refmesh.driver.node import NodeDriver

    config = load_node(path)
    raise_limit()
    _log_to_stderr(config.log_level)
    NodeDriver(config).run()


def run_server(path: Path) -> None:
    """Run a server until SIGTERM or SIGINT. RefmeshError when the configuration or the machine does not allow it."""
    from overlays.refmesh.config_file import load_server
    from overlays.refmesh.driver.server import ServerDriver

    config = load_server(path)
    _log_to_stderr(config.log_level)
    ServerDriver(config).run()


def _log_to_stderr(level: str) -> None:
    logging.basicConfig(stream=sys.stderr, level=level.upper(), format="%(asctime)s %(levelname)s %(message)s")
