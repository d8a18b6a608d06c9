"""What this machine can do, what is missing, and the command that gets it. Everything is tried, not guessed."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from harness.errors import MissingPrerequisite
from harness.link.choose import netem_missing
from harness.link.helper import helper_argv
from harness.machine.describe import tool_versions
from harness.machine.requirements import MEASURING_TOOLS, TUN, tun_remedy
from harness.nat.acceptance import samples
from harness.nat.programs import MINIUPNPD, TAYGA
from harness.overlay.install import is_met, obstacle
from harness.overlay.registry import load_overlay, overlay_names
from harness.sandbox.unshare import is_privileged, sandbox_argv, why_no_user_namespaces

_SANDBOX_S = 120


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. `needed` says whether nothing runs without it."""

    what: str
    ok: bool
    detail: str
    remedy: str = ""
    needed: bool = True

    def as_dict(self) -> dict[str, Any]:
        """Return it JSON-ready."""
        return asdict(self)


def examine() -> Iterator[Finding]:
    """Yield all findings, the most basic first."""
    yield Finding("kernel", True, f"{platform.release()} on {platform.machine()}, {os.cpu_count()} processors")
    yield _sandbox()
    for program, package in MEASURING_TOOLS.items():
        where = shutil.which(program)
        yield Finding(f"program {program}", where is not None, where or "missing", f"apt-get install -y {package}")
    yield from _inside()
    yield _rulesets()
    yield _tun()
    yield _netem()
    yield _helper()
    for what, router_program in (("port mapping", MINIUPNPD), ("NAT64", TAYGA)):
        where = router_program.path()
        said = where or f"{router_program.name} is missing"
        yield Finding(f"{what} in routers", where is not None, said, router_program.install, needed=False)
    for name in overlay_names():
        yield _overlay(name)


def _sandbox() -> Finding:
    forbidden = why_no_user_namespaces()
    how = "as root" if is_privileged() else "in an unprivileged user namespace"
    if forbidden is not None:
        return Finding("sandbox", False, forbidden.missing, forbidden.remedy)
    try:
        error = _try_in_sandbox("import os; assert os.getpid() == 1")
    except MissingPrerequisite as missing:
        return Finding("sandbox", False, missing.missing, missing.remedy)
    return Finding("sandbox", not error, error or f"works {how}", "see the message; containers need --privileged")


# A probe a line: what it shows, a Python program that fails where it does not work, and what a user can do then.
_INSIDE = (
    (
        "private mounts",
        "from harness.sandbox.mounts import make_private; make_private(None)",
        "Linux 5.12 or later (mount_setattr)",
    ),
    (
        "veth and bridge",
        "from pyroute2 import IPRoute; ip = IPRoute(); ip.link('add', ifname='v0', kind='veth', peer='v1'); "
        "ip.link('add', ifname='br', kind='bridge')",
        "sudo modprobe veth bridge",
    ),
    (
        "nftables counters on bridges",
        "import subprocess; from pyroute2 import IPRoute; IPRoute().link('add', ifname='v0', kind='veth', peer='v1');"
        " subprocess.run(['nft', 'add table netdev t; "
        "add chain netdev t c { type filter hook ingress device v0 priority 0; }'], check=True)",
        "a kernel with CONFIG_NF_TABLES_NETDEV and CONFIG_NETFILTER_INGRESS",
    ),
)


def _inside() -> Iterator[Finding]:
    for what, program, remedy in _INSIDE:
        if what.startswith("nftables") and shutil.which("nft") is None:
            yield Finding(
                what, False, "not tested, because nft is missing", f"apt-get install -y {MEASURING_TOOLS['nft']}"
            )
            continue
        try:
            error = _try_in_sandbox(program)
        except MissingPrerequisite as missing:
            yield Finding(what, False, missing.missing, missing.remedy)
        else:
            yield Finding(what, not error, error or "works", remedy)


def _rulesets() -> Finding:
    """Tell whether nft takes the ruleset of every alias and axis; `calibrate nat` proves what a router does with it."""
    what, install = "nftables rulesets", f"apt-get install -y {MEASURING_TOOLS['nft']}"
    if shutil.which("nft") is None:
        return Finding(what, False, "not tested, because nft is missing", install)
    version = f"nft {tool_versions()['nft'] or 'of unknown version'}"
    try:
        error, said = _run_in_sandbox("from harness.nat.acceptance import main; main()")
    except MissingPrerequisite as missing:
        return Finding(what, False, missing.missing, missing.remedy)
    if error:
        return Finding(what, False, f"{version}: {error}", "see the message")
    refused: dict[str, str] = json.loads(said)
    if not refused:
        return Finding(what, True, f"{version} accepts the rulesets of all aliases and axes")
    name, complaint = next(iter(refused.items()))
    return Finding(
        what,
        False,
        f"{version} refuses {len(refused)} of {len(samples())} behaviours, the first {name}: {complaint}",
        f"sudo modprobe -a nft_chain_nat nft_ct nft_hash nft_numgen nft_connlimit; else another nft ({install}): "
        "docs/releases.md names versions that are known to work",
    )


def _try_in_sandbox(program: str) -> str:
    """Return the last line of a Python program's complaint in a sandbox; empty when it runs through."""
    return _run_in_sandbox(program)[0]


def _run_in_sandbox(program: str) -> tuple[str, str]:
    """Return the last line of a Python program's complaint in a sandbox, empty when it runs through, and its output."""
    argv = sandbox_argv([sys.executable, "-c", program])
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=_SANDBOX_S, check=False)
    except subprocess.TimeoutExpired:
        return f"it did not end within {_SANDBOX_S} s", ""
    if done.returncode == 0:
        return "", done.stdout
    lines = [line for line in done.stderr.strip().splitlines() if line.strip()]
    return (lines[-1].strip() if lines else f"status {done.returncode}"), done.stdout


def _tun() -> Finding:
    remedy = tun_remedy()
    if remedy is None:
        return Finding(str(TUN), True, "usable")
    detail = "no permission to open it; udev's default rule sets mode 0666" if TUN.exists() else "missing"
    return Finding(str(TUN), False, detail, remedy)


def _netem() -> Finding:
    missing = netem_missing()
    if missing is None:
        return Finding("link backend netem", True, "works", needed=False)
    return Finding("link backend netem", False, missing.missing, missing.remedy, needed=False)


def _helper() -> Finding:
    built = helper_argv() is not None
    detail = "built" if built else "not built, so that links use the slower Python backend"
    return Finding(
        "link backend userlink", built, detail, "apt-get install -y gcc libc6-dev && make setup", needed=False
    )


def _overlay(name: str) -> Finding:
    try:
        overlay = load_overlay(name)
    except MissingPrerequisite as error:
        return Finding(f"overlay {name}", False, error.missing, error.remedy, needed=False)
    absent = [requirement for requirement in overlay.requirements() if not is_met(requirement)]
    named = ", ".join(requirement.program for requirement in absent)
    detail = f"missing: {named}" if absent else f"ready: {', '.join(sorted(overlay.modes))}"
    # Where the installer would need something first (a compiler, another Python), that is the remedy to name.
    ways = [f"overlaybench install {name}" if (why := obstacle(one)) is None else why.remedy for one in absent]
    return Finding(f"overlay {name}", not absent, detail, "; ".join(dict.fromkeys(ways)), needed=False)
