"""What a build is made of: tags, C, source of our own, crates, and wheels; each of these is a pin."""

from __future__ import annotations

import os
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from install_requests import get, module, script, tool

from harness.errors import MissingPrerequisite
from harness.overlay import install
from harness.overlay.contract import CrateBuild, Requirement, Wheel
from harness.overlay.search_path import programs_folder

# Stands for a compiler that says how it was called, and makes what `-o` or `--root` and `--bin` name.
TELLING = """\
echo "CGO_ENABLED=$CGO_ENABLED $*" >>"$0.calls"
while [ $# -gt 0 ]; do
    case "$1" in -o) out=$2;; --root) root=$2;; --bin) out="$root/bin/$2"; mkdir -p "$root/bin";; esac; shift
done
echo built >"$out"
"""


def test_tags_and_c_are_passed_on_and_are_pins(machine: Path, tmp_path: Path) -> None:
    script(machine, "go", TELLING)
    script(machine, "cc", "")
    os.environ["PATH"] += ":/usr/bin:/bin"
    tagged = module(tmp_path).model_copy(update={"tags": ("noweb", "x"), "cgo": True})
    get(tool(tagged))
    calls = (machine / "go.calls").read_text()
    assert "CGO_ENABLED=1 build" in calls
    assert "-tags noweb,x " in calls
    assert install.is_met(tool(tagged))
    for other in ({"tags": ("noweb",)}, {"cgo": False}):
        assert not install.is_met(tool(tagged.model_copy(update=other)))


def test_strings_are_linked_in_and_are_pins(machine: Path, tmp_path: Path) -> None:
    script(machine, "go", TELLING)
    os.environ["PATH"] += ":/usr/bin:/bin"
    stamped = module(tmp_path).model_copy(update={"strings": {"m/version.build": "v1"}})
    get(tool(stamped))
    assert "-ldflags=-s -w -X m/version.build=v1 " in (machine / "go.calls").read_text()
    assert install.is_met(tool(stamped))
    assert not install.is_met(tool(stamped.model_copy(update={"strings": {"m/version.build": "v2"}})))


def test_what_stands_in_for_a_module_is_a_pin(machine: Path, tmp_path: Path) -> None:
    script(machine, "go", TELLING)
    os.environ["PATH"] += ":/usr/bin:/bin"
    theirs = module(tmp_path)
    stand_in = Path(theirs.module) / "protect" / "protect.go"
    stand_in.parent.mkdir()
    stand_in.write_text("package protect")
    get(tool(theirs))
    assert install.is_met(tool(theirs))
    stand_in.write_text("package protect // changed")
    assert not install.is_met(tool(theirs))


def test_c_needs_a_c_compiler(machine: Path, tmp_path: Path) -> None:
    script(machine, "go", TELLING)
    with pytest.raises(MissingPrerequisite, match="C compiler to build tool; to get it: apt-get install -y gcc"):
        get(tool(module(tmp_path).model_copy(update={"cgo": True})))


def test_a_package_of_our_own_is_pinned_by_its_source(machine: Path, tmp_path: Path) -> None:
    script(machine, "go", TELLING)
    os.environ["PATH"] += ":/usr/bin:/bin"
    ours = module(tmp_path).model_copy(update={"package": "."})
    source = Path(ours.module) / "main.go"
    source.write_text("package main")
    get(tool(ours))
    assert install.is_met(tool(ours))
    source.write_text("package main // changed")
    assert not install.is_met(tool(ours))


def test_a_crate_is_installed_pinned_and_locked(machine: Path) -> None:
    for name in ("cargo", "cc"):
        script(machine, name, TELLING)
    os.environ["PATH"] += ":/usr/bin:/bin"
    crate = CrateBuild(crate="some-tool", version="1.2.3", binary="st")
    requirement = Requirement(program="tool", install="overlaybench install x", crate=crate)
    get(requirement)
    call = (machine / "cargo.calls").read_text()
    assert "install --locked" in call
    assert call.rstrip().endswith("--bin st --version =1.2.3 some-tool")
    assert (programs_folder() / "tool").read_text() == "built\n"
    assert sorted(path.name for path in programs_folder().iterdir()) == [".tool.lock", ".tool.pins", "tool"]
    newer = crate.model_copy(update={"version": "1.2.4"})
    assert not install.is_met(requirement.model_copy(update={"crate": newer}))


def test_a_crate_of_ours_says_which_rust_it_needs(machine: Path, tmp_path: Path) -> None:
    script(machine, "cc", "")
    (tmp_path / "Cargo.toml").write_text('[package]\nname = "tool"\nrust-version = "1.91"\n')
    requirement = Requirement(program="tool", install="x", crate=CrateBuild(crate="tool", folder=str(tmp_path)))
    script(machine, "cargo", "echo cargo 1.100.0")
    assert install.obstacle(requirement) is None
    script(machine, "cargo", "echo cargo 1.63.0")
    too_old = install.obstacle(requirement)
    assert too_old is not None
    assert "Rust 1.91 (this is cargo 1.63.0) to build tool; to get it: install Rust" in str(too_old)


def test_a_crate_is_of_a_version_or_ours() -> None:
    for wrong in ({}, {"version": "1.0.0", "folder": "x"}):
        with pytest.raises(ValueError, match="either a version or a folder"):
            CrateBuild.model_validate({"crate": "c", **wrong})


@pytest.mark.usefixtures("machine")
def test_a_wheel_that_is_not_published_for_this_python_is_named() -> None:
    wheel = Wheel(package="no-such-package", version="1.0", pythons=("3.1", "3.2"))
    requirement = Requirement(program="no_such_module", install="pip install no-such-package", wheel=wheel)
    own = f"{sys.version_info.major}.{sys.version_info.minor}"
    with pytest.raises(MissingPrerequisite, match=rf"no-such-package==1.0 for Python {own}; .*3.1 or 3.2"):
        get(requirement)


def test_another_version_of_a_wheel_is_missing() -> None:
    click_is = Requirement(program="click", install="pip", wheel=Wheel(package="click", version=version("click")))
    assert install.is_met(click_is)
    assert not install.is_met(click_is.model_copy(update={"wheel": Wheel(package="click", version="0.0.1")}))
