"""Looks at whether an adapter keeps the overlay contract: two labs of it side by side, one as an ordinary user.

What is seen in a lab is `harness.conformance.worker`'s, what it says of the contract `harness.conformance.judge`'s.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

from harness.conformance.judge import complaints
from harness.conformance.ordinary import closed_to_nobody, uid_of_prefix, unprivileged_prefix
from harness.errors import LabError
from harness.model.probes import Probes
from harness.model.trial import Trial
from harness.model.words import Mode
from harness.overlay.contract import AsksForPorts, Overlay
from harness.overlay.search_path import programs_folder
from harness.overlay.support import helpers_of
from harness.scenario.load import load_topology
from harness.trial.messages import Job

_DEADLINE_S = 20.0
_LONGEST_S = 110.0
Seen = dict[str, Any]


def contract_trial(overlay: Overlay, mode: Mode, options: Mapping[str, Any] | None = None) -> Trial:
    """Return two sites whose NATs any traversal of UDP passes; for an overlay that depends on it they map ports."""
    source = load_topology("two-sites")
    nats: dict[str, object] = {"nat_a": "port-restricted", "nat_b": "port-restricted"}
    if isinstance(overlay, AsksForPorts):
        nats = {key: {"port_mapping": ["upnp-igd"]} for key in nats}
    return Trial(
        id="contract",
        scenario="contract",
        repeat=1,
        seed=7,
        overlay=overlay.name,
        mode=mode,
        options=dict(options or {}),
        topology=source.resolve(source.complete(nats | {"helpers": helpers_of(overlay, mode)})),
        probes=Probes.model_validate({"path": {"deadline_s": _DEADLINE_S}}),
    )


def look(
    trial: Trial,
    overlay: Overlay,
    folder: Path,
    *,
    what: Literal["all", "paths"] = "all",
    prefix: Sequence[str] = (),
    cache: Path | None = None,
    longest_s: float = _LONGEST_S,
) -> Seen:
    """Deploy in a sandbox of its own, with its evidence in `folder`, and return what its worker saw.

    Args:
        what: `paths`: no more than whether streams or contents come, and which way.
        prefix: what makes an ordinary user of the caller.
        cache: what stands for the user's cache folder, in which built programs lie.

    Raises:
        LabError: the worker ended otherwise than by saying what it saw.
    """
    (folder / "job.json").write_text(Job(trial=trial, deployment=overlay.render(trial)).model_dump_json())
    argv = [*prefix, sys.executable, "-m", "harness.conformance.enter", str(folder), overlay.layer, what]
    environment = {**os.environ, **({} if cache is None else {"XDG_CACHE_HOME": str(cache), "HOME": str(folder)})}
    try:
        done = subprocess.run(
            argv, capture_output=True, text=True, timeout=longest_s, env=environment, check=False, cwd=folder
        )
    except subprocess.TimeoutExpired:
        return {"error": f"was not done within {longest_s:g} s; what its daemons said is in {folder}"}
    if done.returncode != 0:
        raise LabError(f"the look at {overlay.name} ended with status {done.returncode}: {done.stderr[-3000:].strip()}")
    seen: Seen = json.loads(done.stdout)
    return seen


def examine(
    overlay: Overlay,
    mode: Mode,
    folder: Path,
    *,
    home: Path | None = None,
    options: Mapping[str, Any] | None = None,
    cache: Path | None = None,
    take: Callable[..., Seen] = look,
) -> list[str]:
    """Return what of the contract an adapter breaks in a mode, one sentence each: twice at once, once as a user.

    Args:
        folder: where the evidence goes, a folder an instance.
        home: the folder of the adapter's own file, where it is named by one.
        options: what a scenario would say of the overlay.
        cache: a copy of the built programs (`copy_programs`) that outlives this; None: one is made for this alone.
        take: how one instance is looked at; called as `look` is.

    Raises:
        LabError: a lab could not be had.
    """
    folder = folder.resolve()
    closed = closed_to_nobody(folder, *([home] if home else []))
    trial, owners = contract_trial(overlay, mode, options), (os.geteuid(), uid_of_prefix(closed))
    folders = [folder / name for name in ("mine", "nobodys")]
    for one, owner in zip(folders, owners, strict=True):
        one.mkdir(parents=True)
        if owner != os.geteuid():
            os.chown(one, owner, owner)
    before = traces(folders)
    made = programs_for_all() if cache is None else contextlib.nullcontext(cache)
    with made as programs, ThreadPoolExecutor(2) as pool:
        prefixes: tuple[list[str], list[str]] = ([], unprivileged_prefix(closed))
        instances = [
            pool.submit(take, trial, overlay, one, prefix=prefix, cache=programs)
            for one, prefix in zip(folders, prefixes, strict=True)
        ]
        seen = [instance.result() for instance in instances]
    found = [text for one in seen for text in complaints(one, overlay, mode)]
    after = traces(folders)
    found += [f"leaves traces on the machine: {key}: {after[key]}" for key in before if after[key] != before[key]]
    return list(dict.fromkeys(found))


@contextlib.contextmanager
def programs_for_all() -> Iterator[Path]:
    """Copy the built programs to where any user can read them, for as long as the block runs."""
    with tempfile.TemporaryDirectory(prefix="overlaybench-cache-") as name:
        copy_programs(Path(name))
        yield Path(name)


def copy_programs(cache: Path) -> None:
    """Copy the built programs to a cache folder that any user can read: the user's own may be below /root."""
    cache.chmod(0o755)
    if programs_folder().is_dir():
        shutil.copytree(programs_folder(), cache / "overlaybench" / "programs")


def traces(folders: Sequence[Path]) -> dict[str, object]:
    """Return what labs with evidence in these folders could leave behind on the machine."""
    held = [str(path) for path in Path("/proc").glob("[0-9]*") if _stands_in(path, folders)]
    return {
        "processes": held,
        "interfaces": sorted(path.name for path in Path("/sys/class/net").iterdir()),
        "resolv.conf": Path("/etc/resolv.conf").stat().st_mtime_ns if Path("/etc/resolv.conf").exists() else None,
        "control sockets": sorted(map(str, Path("/run").glob("wireguard/*"))),
    }


def _stands_in(process: Path, folders: Sequence[Path]) -> bool:
    try:
        return any((process / "cwd").readlink().is_relative_to(folder) for folder in folders)
    except OSError:
        return False
