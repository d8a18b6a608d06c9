"""Installation of overlays' programs: Debian packages, Python wheels, source builds pinned by Go's and cargo's files.

Built programs live in the user's cache folder, outside the repository, and are built again only when their pins change.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib
import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from harness.errors import CommandFailed, MissingPrerequisite, OverlaybenchError
from harness.overlay.budget import MemoryBudget, available_mib
from harness.overlay.builds import lacking, pins, recipe
from harness.overlay.go_toolchain import require_go
from harness.overlay.requirement import CrateBuild, GoBuild, Requirement, Wheel
from harness.overlay.search_path import programs_folder, search_path

# Told what happens: who it is about (a program, `apt-get`, `pip`), and a line.
Say = Callable[[str, str], None]

BEGUN, READY = "building", "ready"


def is_met(requirement: Requirement) -> bool:
    """Tell whether the program is there; a path counts as it is, a pinned one only in the pinned version."""
    if requirement.build is not None and (programs_folder() / requirement.program).exists():
        return _is_built(requirement.program, requirement.build)
    if requirement.wheel is not None:
        importlib.invalidate_caches()
        return importlib.util.find_spec(requirement.program) is not None and _version(requirement.wheel) in (
            None,  # laid there in another way than by pip: the user's business
            requirement.wheel.version,
        )
    if "/" in requirement.program:
        return Path(requirement.program).exists()
    return shutil.which(requirement.program, path=search_path()) is not None


def missing(requirements: Sequence[Requirement]) -> list[Requirement]:
    """Return the requirements that are not met, in order."""
    return [requirement for requirement in requirements if not is_met(requirement)]


def obstacle(requirement: Requirement) -> MissingPrerequisite | None:
    """Return what keeps `install` from getting it on this machine, and the remedy; None: nothing does."""
    program = f"the program `{requirement.program}`"
    if not requirement.is_installable:
        return MissingPrerequisite(program, requirement.install)
    if requirement.build is not None and (tool := lacking(requirement.build)) is not None:
        return MissingPrerequisite(f"{tool.missing} to build {requirement.program}", tool.remedy)
    if requirement.wheel is not None and requirement.wheel.pythons:
        own, fit = f"{sys.version_info.major}.{sys.version_info.minor}", requirement.wheel.pythons
        if own not in fit:
            remedy = f"set up again with Python {' or '.join(fit)}"
            return MissingPrerequisite(f"a wheel of {requirement.wheel} for Python {own}", remedy)
    if requirement.debian is not None and (os.geteuid() != 0 or shutil.which("apt-get") is None):
        return MissingPrerequisite(program, f"sudo {' '.join(_APT_GET)} {requirement.debian}")
    return None


def install(requirements: Sequence[Requirement], say: Say, at_once: int | None = None) -> dict[str, OverlaybenchError]:
    """Get what is missing: packages first, then builds, side by side where processors and memory allow.

    Args:
        at_once: how many processes may compile at the same time; as many as there are processors by default.

    Returns:
        Why something could not be had, by program; whatever could be had was. MissingPrerequisite: a command is
        named that the user must run. CommandFailed: apt-get, pip, go or cargo failed.
    """
    wanted = list({one.program: one for one in missing(requirements)}.values())
    failures: dict[str, OverlaybenchError] = {}
    for one in wanted:
        if (why := obstacle(one)) is not None:
            failures[one.program] = why
    can = [one for one in wanted if one.program not in failures]
    if packages := list(dict.fromkeys(one.debian for one in can if one.debian is not None)):
        with _collected(failures, [one.program for one in can if one.debian is not None]):
            _install_packages(packages, say)
    for one in can:
        if one.wheel is not None:
            with _collected(failures, [one.program]):
                argv = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--only-binary=:all:"]
                _run([*argv, str(one.wheel)], dict(os.environ), None, lambda line: say("pip", line))
    _build_all([one for one in can if one.build is not None], say, at_once or os.cpu_count() or 1, failures)
    for one in missing(can):
        failures.setdefault(one.program, MissingPrerequisite(f"the program `{one.program}`", one.install))
    return failures


_APT_GET = ("apt-get", "install", "-y", "--no-install-recommends")


def _install_packages(packages: Sequence[str], say: Say) -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for argv in (("apt-get", "update", "-qq"), (*_APT_GET, *packages)):
        say("apt-get", " ".join(argv))
        _run(argv, environment, None, lambda line: say("apt-get", line))


def _build_all(wanted: Sequence[Requirement], say: Say, at_once: int, failures: dict[str, OverlaybenchError]) -> None:
    """Build modules in parallel, but programs of one module in turn: they share most of their packages."""
    modules: dict[object, list[Requirement]] = {}
    for one in wanted:
        modules.setdefault(one.go.module if one.go else one.program, []).append(one)
    if not modules:
        return
    budget, parallel = MemoryBudget(available_mib()), min(at_once, len(modules))

    def build(programs: Sequence[Requirement]) -> None:
        for one in programs:
            assert one.build is not None
            with _collected(failures, [one.program]), budget.lend(one.build.memory_mib):
                _build(one.program, one.build, max(1, at_once // parallel), say)

    with ThreadPoolExecutor(parallel) as pool:
        # The largest first: it would be the last to end.
        largest_first = sorted(modules.values(), key=_memory_mib, reverse=True)
        for done in [pool.submit(build, programs) for programs in largest_first]:
            done.result()


def _memory_mib(programs: Sequence[Requirement]) -> int:
    return max(one.build.memory_mib for one in programs if one.build is not None)


def _build(program: str, build: GoBuild | CrateBuild, jobs: int, say: Say) -> None:
    folder = programs_folder()
    folder.mkdir(parents=True, exist_ok=True)
    with (
        _locked(folder / f".{program}.lock", lambda: say(program, "waiting for another build of it")),
        # Not in /tmp, which may be small and in memory; and next to the programs, so that `replace` is one step.
        tempfile.TemporaryDirectory(dir=folder, prefix=f".{program}.") as new,
    ):
        if _is_built(program, build):  # by the process that held the lock
            return
        say(program, BEGUN)
        if isinstance(build, GoBuild):
            require_go(program, Path(build.module))
        plan = recipe(program, build, Path(new), jobs)
        _run(plan.argv, plan.env, plan.cwd, lambda line: say(program, line))
        _stamp(program).unlink(missing_ok=True)
        plan.product.replace(folder / program)
        _stamp(program).write_text(pins(build))
        say(program, READY)


def _is_built(program: str, build: GoBuild | CrateBuild) -> bool:
    stamp = _stamp(program)
    return (programs_folder() / program).exists() and stamp.exists() and stamp.read_text() == pins(build)


def _run(argv: Sequence[str], environment: Mapping[str, str], cwd: Path | None, say: Callable[[str], None]) -> None:
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
def _collected(failures: dict[str, OverlaybenchError], programs: Sequence[str]) -> Iterator[None]:
    """Note what fails in the block, so that everything else is still fetched."""
    try:
        yield
    except OverlaybenchError as error:
        failures.update(dict.fromkeys(programs, error))


@contextlib.contextmanager
def _locked(path: Path, on_wait: Callable[[], None]) -> Iterator[None]:
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            on_wait()
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _stamp(program: str) -> Path:
    return programs_folder() / f".{program}.pins"


def _version(wheel: Wheel) -> str | None:
    try:
        return importlib.metadata.version(wheel.package)
    except importlib.metadata.PackageNotFoundError:
        return None
