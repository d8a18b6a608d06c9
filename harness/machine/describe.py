"""What a result depends on besides the scenario: the machine, the programs, the settings. Goes into the manifest."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import harness
from harness.overlay.contract import Overlay, Requirement
from harness.overlay.search_path import search_path

_SYSCTLS = (
    "net/ipv4/tcp_congestion_control",
    "net/core/rmem_max",
    "net/core/wmem_max",
    "net/ipv4/tcp_rmem",
    "net/ipv4/tcp_wmem",
    "kernel/unprivileged_userns_clone",
)
_CODE = frozenset({".py", ".c", ".h", ".yaml", ".go", ".rs"})
_TOOLS = {
    "nft": (("nft", "--version"), r"v(\S+)"),
    "iperf3": (("iperf3", "--version"), r"iperf (\S+)"),
    "irtt": (("irtt", "version"), r"irtt version: (\S+)"),
    "ping": (("ping", "-V"), r"iputils (\S+)"),
    "iproute2": (("ip", "-V"), r"iproute2-(\S+?),"),
}


def describe_machine() -> dict[str, Any]:
    """Return kernel, CPU, load, memory and relevant sysctls."""
    cpuinfo = Path("/proc/cpuinfo").read_text()
    model = re.search(r"^model name\s*:\s*(.+)$", cpuinfo, re.MULTILINE)
    memory = re.search(r"^MemTotal:\s*(\d+) kB", Path("/proc/meminfo").read_text(), re.MULTILINE)
    return {
        "kernel": platform.release(),
        "kernel_version": platform.version(),
        "architecture": platform.machine(),
        "distribution": _distribution(),
        "python": platform.python_version(),
        "cpu_model": model.group(1) if model else platform.processor(),
        "cpus": os.cpu_count(),
        "load_1min": os.getloadavg()[0],
        "memory_mib": int(memory.group(1)) // 1024 if memory else None,
        "sysctls": {
            name.replace("/", "."): " ".join(path.read_text().split())
            for name in _SYSCTLS
            if (path := Path("/proc/sys", name)).exists()
        },
    }


def standing() -> str | None:
    """Return a digest by which programs know that they share this machine and its network; None: nothing tells.

    It is another one after each start of the machine, and in each network namespace.
    """
    try:
        boot, network = Path("/proc/sys/kernel/random/boot_id").read_text(), Path("/proc/self/ns/net").stat().st_ino
    except OSError:
        return None
    return hashlib.sha256(f"{boot.strip()} {network}".encode()).hexdigest()[:16]


def tool_versions() -> dict[str, str | None]:
    """Return the measuring tools' versions, as they print them."""
    return {name: _version(argv, pattern) for name, (argv, pattern) in _TOOLS.items()}


def overlay_version(overlay: Overlay) -> str | None:
    """Return the version that the overlay's first program reports; the harness's own for overlays without programs."""
    for requirement in overlay.requirements():
        if requirement.version_argv:
            return requirement_version(requirement)
    own = getattr(overlay, "version", None)
    return str(own) if own else None


def other_versions(overlays: Iterable[Overlay]) -> dict[str, str | None]:
    """Return the versions of the overlays' programs besides the first of each, by program.

    That is what the program says, the version of its Debian package or wheel, or the start of its file's SHA-256.
    """
    found: dict[str, str | None] = {}
    for overlay in overlays:
        requirements = overlay.requirements()
        first = next((one for one in requirements if one.version_argv), None)
        for requirement in requirements:
            if requirement is not first:
                found[Path(requirement.program).name] = _identity(requirement)
    return found


def _identity(requirement: Requirement) -> str | None:
    if requirement.version_argv:
        return requirement_version(requirement)
    if requirement.wheel is not None:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            return importlib.metadata.version(requirement.wheel.package)
    if requirement.debian is not None:
        package = _version(("dpkg-query", "-W", "-f=${Version}", requirement.debian), r"^(\d\S*)$")
        if package is not None:
            return package
    path = shutil.which(requirement.program, path=search_path())
    path = path or (requirement.program if Path(requirement.program).is_file() else None)
    if path is None:
        return None
    with Path(path).open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()[:16]}"


def requirement_version(requirement: Requirement) -> str | None:
    """Run the program's version command; None when it cannot be run, hangs, or says nothing of the kind."""
    return _version(requirement.version_argv, requirement.version_pattern)


def _version(argv: Sequence[str], pattern: str) -> str | None:
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(pattern, done.stdout + done.stderr)
    return found.group(1) if found else None


def git_commit(folder: Path) -> str | None:
    """Return the commit of the checkout that runs, with `+changes` when its files differ from it."""
    try:
        head = subprocess.run(
            ["git", "-C", str(folder), "describe", "--always", "--dirty=+changes", "--abbrev=12", "--exclude=*"],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return head.stdout.strip() or None


def harness_commit() -> str | None:
    """Return the commit of the harness that runs; None where it is no checkout."""
    return git_commit(Path(harness.__file__).parent)


def code_digest(commit: str | None) -> str | None:
    """Return a SHA-256 of the program's own files where a commit does not tell what they are; None where it does."""
    if commit is not None and not commit.endswith("+changes"):
        return None
    root, digest = Path(harness.__file__).parents[1], hashlib.sha256()
    for package in ("harness", "overlays", "scenarios", "topologies"):
        for path in sorted((root / package).rglob("*")):
            if path.suffix in _CODE and path.is_file():
                digest.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()


def _distribution() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return "unknown"
