"""What an overlay needs on the machine, and how it gets there. Data alone; `harness.overlay.install` acts on it."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class GoBuild(_Strict):
    """A program that comes as Go source: `package`, at the version that the module in folder `module` pins.

    The folder holds a go.mod and go.sum of the adapter's own, one a system, so that other versions do not interfere.
    A package of ours that stands in the module's folder is named as Go does: `.`, or `./` and a path.

    `tags` are build tags; `strings` sets variables by the linker (`-X`), as the makers' builds do with their version;
    `cgo` says that C is compiled too; `memory_mib` is what the build's largest process takes.
    """

    module: str
    package: str
    tags: tuple[str, ...] = ()
    strings: dict[str, str] = {}
    cgo: bool = False
    memory_mib: int = Field(default=700, gt=0)


class CrateBuild(_Strict):
    """A program that comes as Rust source: a crate from the registry, or one of ours in `folder`; always `--locked`.

    `crate` names it, `version` pins it. A crate in `folder` has a Cargo.toml and a Cargo.lock, and needs no version.
    `binary` is its program, where that is not the requirement's; `memory_mib` what the build's largest process takes.
    """

    crate: str
    version: str | None = None
    folder: str | None = None
    binary: str | None = None
    memory_mib: int = Field(default=2000, gt=0)

    @model_validator(mode="after")
    def _is_pinned(self) -> Self:
        if (self.version is None) == (self.folder is None):
            raise ValueError(f"crate {self.crate} needs either a version or a folder")
        return self


class Wheel(_Strict):
    """A Python package at one version, as a wheel: nothing is compiled here.

    `pythons` names the Python versions ("3.11") for which its makers publish one; empty: for all.
    """

    package: str
    version: str
    pythons: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.package}=={self.version}"


class Requirement(_Strict):
    """A program that must be on the machine, and the command that gets it.

    `debian` names the package that carries it, `go` and `crate` how it is built, `wheel` the Python package (`program`
    is then the module's name); `overlaybench install` acts on any of them. With none, all that it can do is to show
    `install`. What is `on_request` takes so long that `install --all` leaves it out.
    """

    program: str
    install: str
    debian: str | None = None
    go: GoBuild | None = None
    crate: CrateBuild | None = None
    wheel: Wheel | None = None
    on_request: bool = False
    version_argv: tuple[str, ...] = ()
    version_pattern: str = r"(\d+(?:\.\d+)+)"

    @property
    def build(self) -> GoBuild | CrateBuild | None:
        """How it is built here, if it is."""
        return self.go or self.crate

    @property
    def is_installable(self) -> bool:
        """Whether `overlaybench install` can get it, on a machine that has what it takes."""
        return any(way is not None for way in (self.debian, self.go, self.crate, self.wheel))
