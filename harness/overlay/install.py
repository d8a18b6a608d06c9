"""Gets an overlay's programs: Debian packages by apt-get, Go programs by a build that go.mod and go.sum pin.

Built programs live in the user's cache folder, outside the repository, and are built again only when their pins change.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from harness.errors import CommandFailed, MissingPrerequisite
from harness.overlay.contract import GoBuild, Requirement
from harness.overlay.go_toolchain import go_environment, require_go
from harness.overlay.search_path import programs_folder, search_path

Say = Callable[[str], None]


def is_met(requirement: Requirement) -> bool:
    """Whether the program is there; a path counts as it is, a built program only if it is of the pinned version."""
    if requirement.go is not None and (programs_folder() / requirement.program).exists():
        return _stamp(requirement.program).exists() and _stamp(requirement.program).read_text() == _pins(requirement.go)
    if requirement.pip is not None:
        importlib.invalidate_caches()
        return importlib.util.find_spec(requirement.program) is not None
    if "/" in requirement.program:
        return Path(requirement.program).exists()
    return shutil.which(requirement.program, path=search_path()) is not None


def missing(requirements: Sequence[Requirement]) -> list[Requirement]:
    """Those that are not met, in order."""
    return [requirement for requirement in requirements if not is_met(requirement)]


def install(requirements: Sequence[Requirement], say: Say) -> None:
    """Get what is missing.

    Args:
        say: told what happens, one line at a time.

    Raises:
        MissingPrerequisite: something can be had only by a command that the user must run; it is named.
        CommandFailed: apt-get or go failed.
    """
    wanted = missing(requirements)
    packages = list(dict.fromkeys(one.debian for one in wanted if one.debian is not None))
    if packages:
        _install_packages(packages, say)
    for one in wanted:
        if one.pip is not None:
            argv = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", one.pip]
            say(" ".join(argv))
            _run(argv, dict(os.environ), None, say)
        if one.go is not None:
            _build(one.program, one.go, say)
    left = missing(requirements)
    if left:
        raise MissingPrerequisite(f"the program `{left[0].program}`", left[0].install)


def _install_packages(packages: Sequence[str], say: Say) -> None:
    command = ["apt-get", "install", "-y", "--no-install-recommends", *packages]
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise MissingPrerequisite(f"Debian packages: {' '.join(packages)}", " ".join(["sudo", *command]))
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for argv in (["apt-get", "update", "-qq"], command):
        say(" ".join(argv))
        _run(argv, environment, None, say)


def _build(program: str, build: GoBuild, say: Say) -> None:
    require_go(program, Path(build.module))
    folder = programs_folder()
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder / ".lock", say):
        if is_met(Requirement(program=program, install="", go=build)):
            return
        say(f"building {program} from {build.package}; the first program of a module takes minutes")
        new = folder / f".{program}.new"
        # -p 1 and -v: few processes at once, and a line a package as progress.
        argv = ["go", "build", "-p", "1", "-v", "-mod=readonly", "-trimpath", "-ldflags=-s -w", "-o", str(new)]
        _run([*argv, build.package], go_environment(), Path(build.module), say)
        _stamp(program).unlink(missing_ok=True)
        new.replace(folder / program)
        _stamp(program).write_text(_pins(build))
        say(f"{folder / program} is ready")


def _run(argv: Sequence[str], environment: dict[str, str], cwd: Path | None, say: Say) -> None:
    tail: list[str] = []
    with subprocess.Popen(
        argv, env=environment, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            tail = [*tail[-20:], line]
            say(line.rstrip())
    if process.returncode != 0:
        raise CommandFailed(argv, process.returncode, "".join(tail))


@contextlib.contextmanager
def _locked(path: Path, say: Say) -> Iterator[None]:
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another build")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _stamp(program: str) -> Path:
    return programs_folder() / f".{program}.pins"


def _pins(build: GoBuild) -> str:
    digest = hashlib.sha256(build.package.encode())
    for name in ("go.mod", "go.sum"):
        digest.update((Path(build.module) / name).read_bytes())
    return digest.hexdigest()
