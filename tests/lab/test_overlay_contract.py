"""One contract for all: every adapter in every mode that it has, twice at once, once of them as nobody.

Run one adapter's part with `pytest tests/lab/test_overlay_contract.py -k NAME`, or `overlaybench contract NAME`; an
adapter outside this repository is found by its entry point like all others.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.conformance.examination import Seen, examine, look, programs_for_all
from harness.model.trial import Trial
from harness.model.words import Mode
from harness.overlay.contract import Overlay
from harness.overlay.install import missing, obstacle
from harness.overlay.registry import load_overlay, overlay_names
from tests.lab.running import without_privileges

# On links without any delay an offer in ten of NetBird's comes before its receiver is ready, whether connections are
# lazy or not, and the next one 30 to 45 s later.
TRIES = {("netbird", "mesh"): 3}

# Tor builds its circuits one after the other, and waits for each as long as others have taken.
LONGEST_S = {"tor": 200.0}

LARGE_BUILDS = {"ethereum", "ipfs", "iroh", "nebula-go", "netbird", "openziti", "tailscale", "yggdrasil"}

CASES = [(name, mode) for name in overlay_names() if name != "underlay" for mode in sorted(load_overlay(name).modes)]


@pytest.fixture(scope="session")
def programs() -> Iterator[Path]:
    """Return a copy of the built programs that any user can read: hundreds of megabytes, so one for all cases."""
    with programs_for_all() as cache:
        yield cache


@pytest.fixture
def folder() -> Iterator[Path]:
    """Return a folder for evidence below a path that everybody may enter."""
    with tempfile.TemporaryDirectory(prefix="overlaybench-contract-") as made:
        Path(made).chmod(0o755)
        yield Path(made)


def look_until_direct(trial: Trial, overlay: Overlay, folder: Path, *, prefix: list[str], cache: Path) -> Seen:
    """Look once; oftener where the product is known to miss its first chance, until its path is direct."""
    longest = {"longest_s": LONGEST_S[trial.overlay]} if trial.overlay in LONGEST_S else {}
    for number in range(TRIES.get((trial.overlay, trial.mode), 1)):
        own = folder / f"try-{number}"
        own.mkdir()
        shutil.chown(own, folder.stat().st_uid, folder.stat().st_gid)
        seen = look(trial, overlay, own, prefix=prefix, cache=cache, **longest)
        if seen.get("path") == "direct":
            break
    return seen


@pytest.mark.lab
@pytest.mark.waits
@pytest.mark.timeout(240)
@pytest.mark.parametrize(("name", "mode"), CASES, ids=[f"{name}-{mode}" for name, mode in CASES])
def test_contract(name: str, mode: Mode, folder: Path, programs: Path) -> None:
    """Everything that the contract says, on two instances side by side."""
    overlay = load_overlay(name)
    lacking = missing(overlay.requirements())
    for one in lacking:
        # A compiler or a wheel that this machine cannot have, a vendor's own program, a build of half an hour.
        # Nor the large builds: `make test` would wait half an hour for them; `make test-all` has them.
        hard = one.on_request or not one.is_installable or ((one.build or one.wheel) and obstacle(one))
        if name in LARGE_BUILDS or hard:
            pytest.skip(f"{name} needs {one.program}: {obstacle(one) or one.install}")
    assert not lacking, f"{name} needs {lacking[0].program}: {lacking[0].install}"
    without_privileges()  # warns where nobody can be an ordinary user here
    assert examine(overlay, mode, folder, cache=programs, take=look_until_direct) == []
