"""What several files of lab tests stand on."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab.running import machine_state, overlaybench, processes_naming, records


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tell links in a sandbox by SCRATCH where their helper's log goes."""
    monkeypatch.setenv("SCRATCH", str(tmp_path))


@pytest.fixture(scope="session")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a run of the scenario `smoke`, which left nothing else behind; to be read alone."""
    out = tmp_path_factory.mktemp("smoke") / "run"
    before = machine_state()
    done = overlaybench("run", "smoke", "--label", "commit=1a2b", "--out", str(out))
    ends = [line for line in records(out) if line["probe"] == "trial"]
    # A busy machine delivers late, which makes a trial invalid and leaves its figures; it is not as expected then.
    late = [line["trial"] for line in ends if line["outcome"] == "invalid" and "us late" in line["error"]]
    assert len(ends) == 2 and all(line["outcome"] == "ok" or line["trial"] in late for line in ends), done.stderr
    assert done.returncode == (1 if late else 0), done.stderr
    assert all(f"{trial}: expected direct, but the trial shows nothing" in done.stderr for trial in late), done.stderr
    assert machine_state() == before
    assert processes_naming(str(out)) == []
    return out
