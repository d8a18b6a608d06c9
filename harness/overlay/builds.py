"""How a program is built from source: the compiler's command, what pins its outcome, what the machine must have."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.errors import MissingPrerequisite
from harness.overlay.go_toolchain import go_environment
from harness.overlay.requirement import CrateBuild, GoBuild

_GO = ("a Go compiler", "install Go 1.21 or later, which fetches what it lacks, and put its bin folder into PATH")
_RUST = ("a Rust compiler with cargo", "install Rust 1.94 or later and put its bin folder into PATH")
_RUST_WANTED = re.compile(r'^rust-version = "(\d+)\.(\d+)', re.MULTILINE)
_C = ("a C compiler", "apt-get install -y gcc libc6-dev")


@dataclass(frozen=True)
class Recipe:
    """A command that builds one program, in `cwd`; the program then stands at `product`."""

    argv: tuple[str, ...]
    env: dict[str, str]
    cwd: Path
    product: Path


def recipe(program: str, build: GoBuild | CrateBuild, folder: Path, jobs: int) -> Recipe:
    """Return the command for one build.

    Args:
        folder: empty, for what the build makes.
        jobs: how many processes it may use at once.
    """
    if isinstance(build, GoBuild):
        product = folder / program
        # -v: a line a package, which is all the progress that there is to tell.
        linked = " ".join(("-s", "-w", *(f"-X {name}={text}" for name, text in build.strings.items())))
        flags = (
            "-p",
            str(jobs),
            "-v",
            "-mod=readonly",
            "-trimpath",
            f"-ldflags={linked}",
            "-tags",
            ",".join(build.tags),
        )
        compiled = ("go", "build", *flags, "-o", str(product), build.package)
        return Recipe(compiled, go_environment(build.cgo), Path(build.module), product)
    binary = build.binary or program
    source = ("--path", build.folder) if build.folder else ("--version", f"={build.version}", build.crate)
    argv = ("cargo", "install", "--locked", "--no-track", "--jobs", str(jobs), "--root", str(folder), "--bin", binary)
    return Recipe(
        (*argv, *source),
        {**os.environ, "CARGO_TARGET_DIR": str(folder / "target"), "CARGO_TERM_PROGRESS_WHEN": "never"},
        folder,
        folder / "bin" / binary,
    )


def lacking(build: GoBuild | CrateBuild) -> MissingPrerequisite | None:
    """Return the first compiler that this machine lacks or has too old; None: it can build."""
    needed = {"go": _GO} if isinstance(build, GoBuild) else {"cargo": _RUST}
    if isinstance(build, CrateBuild) or build.cgo:
        needed["cc"] = _C
    absent = next((MissingPrerequisite(*said) for tool, said in needed.items() if shutil.which(tool) is None), None)
    if absent is not None or isinstance(build, GoBuild) or build.folder is None:
        return absent
    wanted = _RUST_WANTED.search((Path(build.folder) / "Cargo.toml").read_text())
    said = subprocess.run(["cargo", "--version"], capture_output=True, text=True, check=False).stdout
    found = re.match(r"cargo (\d+)\.(\d+)", said)
    if wanted is None or (found is not None and tuple(map(int, found.groups())) >= tuple(map(int, wanted.groups()))):
        return None
    return MissingPrerequisite(
        f"Rust {'.'.join(wanted.groups())} (this is {said.strip() or 'of no version'})", _RUST[1]
    )


def pins(build: GoBuild | CrateBuild) -> str:
    """Return a digest of all that decides the outcome: our sources, and versions and sums of all dependencies."""
    if isinstance(build, GoBuild):
        digest = hashlib.sha256(build.package.encode())
        if build.tags or build.cgo:
            digest.update(f" {build.tags} {build.cgo}".encode())
        if build.strings:
            digest.update(repr(build.strings).encode())
    else:
        digest = hashlib.sha256(f"{build.crate} {build.version} {build.binary}".encode())
    for path in _sources(build):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _sources(build: GoBuild | CrateBuild) -> Iterator[Path]:
    if isinstance(build, GoBuild):
        module = Path(build.module)
        yield from (module / name for name in ("go.mod", "go.sum"))
        # Of ours: the package itself, or what stands in for a module that go.mod replaces.
        yield from sorted(module.rglob("*.go"))
    elif build.folder is not None:
        crate = Path(build.folder)
        yield from (crate / name for name in ("Cargo.toml", "Cargo.lock"))
        yield from sorted((crate / "src").rglob("*.rs"))
