"""Content without an overlay: what an overlay's content is compared to, a file by HTTP between two addresses."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from itertools import permutations
from pathlib import Path

from harness.model.family import Address
from harness.overlay import http_file
from harness.overlay.contract import ContentEndpoint

_PROGRAM = (sys.executable, "-I", "-S", str(Path(http_file.__file__).resolve()))


def plain_contents(addresses: Mapping[str, Address]) -> tuple[ContentEndpoint, ...]:
    """Return contents from every member to every other: the publisher serves a file once, at its own address."""
    return tuple(
        ContentEndpoint(
            src=src,
            dst=dst,
            publish=(*_PROGRAM, "publish", "{file}", str(addresses[src])),
            fetch=(*_PROGRAM, "fetch", "{id}", "{file}"),
        )
        for src, dst in permutations(addresses, 2)
    )
