"""Files of hosts that ssh leads to, for clusters that never come up."""

from __future__ import annotations

import copy
import datetime
from pathlib import Path

import pytest

from harness.errors import MissingPrerequisite
from harness.hosts.certificates import make_files
from harness.hosts.registry import kind_of


def hosts_file(folder: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> Path:
    """Write a file of hosts beside the TLS files that this process is to use."""
    make_files(folder / "tls", datetime.datetime.now(datetime.UTC))
    monkeypatch.setenv("OVERLAYBENCH_TLS", str(folder / "tls"))
    path = folder / "hosts.yaml"
    path.write_text(text)
    return path


def require_refused(path: Path, said: str) -> None:
    """Open the hosts of a file, which must fail with what matches; Dask's settings are those of before then."""
    dask = pytest.importorskip("dask", reason="pip install -e '.[dask]'")
    kept = dask.config.set({"distributed": copy.deepcopy(dask.config.get("distributed"))})
    with kept, pytest.raises(MissingPrerequisite, match=said):
        kind_of(str(path)).open(str(path), label="x", jobs=1, overlays={})
