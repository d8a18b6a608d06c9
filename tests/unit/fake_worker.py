"""What a Dask worker of tests loads first (`--preload`): its stations stand on a machine that only pretends."""

from __future__ import annotations

import os
import sys

from harness.hosts import relay

relay.STATION[:] = [sys.executable, os.environ["FAKE_STATION"]]
