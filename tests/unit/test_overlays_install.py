"""Getting an overlay's programs: what counts as there, what is run, what the user is told."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import EntryPoint, version
from pathlib import Path

import pytest
from click.testing import CliRunner

from harness.commands.install import install_command
from harness.errors import CommandFailed, MissingPrerequisite
from harness.overlay import install, registry
from harness.overlay.budget import MemoryBudget
from harness.overlay.contract import CrateBuild, GoBuild, Requirement, Wheel
from harness.overlay.search_path import programs_folder, search_path


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a machine with nothing but a folder `bin`, in which a test puts the programs that it wants there to be."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr("harness.overlay.search_path._ADMIN_PATHS", ())
    return folder


def script(folder: Path, name: str, body: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{body}\n")
    (folder / name).chmod(0o755)


def module(tmp_path: Path, text: str = "module m\n") -> GoBuild:
    folder = tmp_path / "module"
    folder.mkdir(exist_ok=True)
    (folder / "go.mod").write_text(text)
    (folder / "go.sum").write_text("")
    return GoBuild(module=str(folder), package="example.invalid/tool")


def tool(build: GoBuild) -> Requirement:
    return Requirement(program="tool", install="overlaybench install x", go=build)


def get(*requirements: Requirement, say: Callable[[str, str], None] = lambda _who, _line: None) -> None:
    """Install, and raise what went wrong first."""
    for error in install.install(requirements, say).values():
        raise error


# Stands for the compiler: writes what `-o` names, and says how often it was called.
GO = 'while [ $# -gt 1 ]; do [ "$1" = -o ] && out=$2; shift; done; echo "$1"; echo built >"$out"; echo >>"$0.calls"'


def test_built_programs_and_administrators_folders_are_in_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    monkeypatch.setenv("PATH", "/mine")
    assert search_path().split(os.pathsep)[:2] == ["/mine", "/cache/overlaybench/programs"]
    assert "/usr/sbin" in search_path().split(os.pathsep)


def test_a_relative_cache_folder_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the XDG specification asks."""
    monkeypatch.setenv("XDG_CACHE_HOME", "here")
    monkeypatch.setenv("HOME", "/home/u")
    assert programs_folder() == Path("/home/u/.cache/overlaybench/programs")


def test_a_library_counts_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / "plugin.so"
    requirement = Requirement(program=str(path), install="x", debian="p")
    assert not install.is_met(requirement)
    path.touch(0o644)
    assert install.is_met(requirement)


def test_a_build_happens_once(machine: Path, tmp_path: Path) -> None:
    script(machine, "go", GO)
    said: list[str] = []
    os.environ["PATH"] += ":/usr/bin:/bin"
    for _ in range(2):
        get(tool(module(tmp_path)), say=lambda _who, line: said.append(line))
    assert (programs_folder() / "tool").read_text() == "built\n"
    assert (machine / "go.calls").read_text().count("\n") == 1
    assert "example.invalid/tool" in said


def test_other_pins_make_it_missing_again(machine: Path, tmp_path: Path) -> None:
    script(machine, "go", GO)
    os.environ["PATH"] += ":/usr/bin:/bin"
    get(tool(module(tmp_path)))
    assert install.missing([tool(module(tmp_path, "module m\n\ngo 1.26\n"))])


def test_a_failed_build_leaves_nothing_that_looks_built(machine: Path, tmp_path: Path) -> None:
    script(machine, "go", "echo 'undefined: x' >&2; exit 1")
    requirement = tool(module(tmp_path))
    with pytest.raises(CommandFailed, match="undefined: x"):
        get(requirement)
    assert install.missing([requirement])


@pytest.mark.usefixtures("machine")
def test_without_a_compiler_the_error_names_it(tmp_path: Path) -> None:
    with pytest.raises(MissingPrerequisite, match="Go compiler") as raised:
        get(tool(module(tmp_path)))
    assert raised.value.exit_code == 3


@pytest.mark.parametrize(
    ("says", "complaint"),
    [
        ("echo go1.19.8", r"Go 1\.26\.6 for tool \(this is 1\.19\.8\)"),
        ("echo 'go: download go1.26.6: toolchain not available' >&2; exit 1", "toolchain not available"),
    ],
)
def test_a_compiler_that_is_too_old_is_a_lack_of_the_machine(
    machine: Path, tmp_path: Path, says: str, complaint: str
) -> None:
    script(machine, "go", says)
    with pytest.raises(MissingPrerequisite, match=complaint) as raised:
        get(tool(module(tmp_path, "module m\n\ngo 1.26.6\n")))
    assert raised.value.exit_code == 3


def test_a_compiler_may_fetch_the_one_that_the_module_asks_for(machine: Path, tmp_path: Path) -> None:
    """As Go does from 1.21 on, unless the distribution's setting forbids it."""
    script(machine, "go", f'[ "$1" = env ] && {{ [ "$GOTOOLCHAIN" = auto ] && echo go1.26.6; exit; }}\n{GO}')
    os.environ["PATH"] += ":/usr/bin:/bin"
    get(tool(module(tmp_path, "module m\n\ngo 1.26.6\n")))
    assert (programs_folder() / "tool").read_text() == "built\n"


def test_apt_get_is_run_by_root_alone(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    requirement = Requirement(program="tool", install="apt-get install -y p", debian="p")
    script(
        machine,
        "apt-get",
        f'[ "$1" = install ] && printf "#!/bin/sh\\n" >{machine}/tool && /bin/chmod +x {machine}/tool; exit 0',
    )
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(MissingPrerequisite, match=r"sudo apt-get install -y --no-install-recommends p"):
        get(requirement)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    get(requirement)
    assert install.is_met(requirement)


def test_what_nobody_carries_ends_with_its_own_remedy() -> None:
    requirement = Requirement(program="no-such-program", install="ask its vendor")
    with pytest.raises(MissingPrerequisite, match="ask its vendor"):
        get(requirement)


def test_the_command_says_what_is_there_and_what_is_unknown() -> None:
    runner = CliRunner()
    there = runner.invoke(install_command, ["underlay"])
    assert (there.exit_code, "everything is here" in there.output) == (0, True)
    unknown = runner.invoke(install_command, ["openvpm"])
    assert (unknown.exit_code, "openvpn" in unknown.output) == (2, True)


def test_an_entry_point_that_leads_nowhere_is_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    """As after an update whose `pip install` was forgotten."""
    for value, said in (("overlays.addressing:Nobody", "Nobody"), ("overlays.nobody:Nobody", "overlays.nobody")):
        point = EntryPoint("moved", value, registry.GROUP)
        monkeypatch.setattr(registry, "_found", lambda point=point: {"moved": point})
        registry.load_overlay.cache_clear()
        with pytest.raises(MissingPrerequisite, match=rf"moved.*cannot be loaded: .*{said}.*pip install -e"):
            registry.load_overlay("moved")
    registry.load_overlay.cache_clear()


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


# Two of these end only when both run: each waits until it sees the other's mark.
MEETING = """\
while [ $# -gt 1 ]; do [ "$1" = -o ] && out=$2; shift; done
touch "$MEET/$1"
for _ in $(seq 200); do [ "$(ls "$MEET" | wc -l)" = 2 ] && { echo built >"$out"; exit 0; }; sleep 0.05; done
echo alone >&2; exit 1
"""


def two_modules(tmp_path: Path, memory_mib: int) -> list[Requirement]:
    made = []
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        for file in ("go.mod", "go.sum"):
            (folder / file).write_text("")
        build = GoBuild(module=str(folder), package=name, memory_mib=memory_mib)
        made.append(Requirement(program=name, install="overlaybench install x", go=build))
    return made


def test_modules_are_built_side_by_side(machine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script(machine, "go", MEETING)
    os.environ["PATH"] += ":/usr/bin:/bin"
    (tmp_path / "meet").mkdir()
    monkeypatch.setenv("MEET", str(tmp_path / "meet"))
    assert install.install(two_modules(tmp_path, 1), lambda _who, _line: None, at_once=2) == {}


def test_memory_decides_how_many_are_built_at_once() -> None:
    """What fits is let in; what would never fit waits for the others, and then has everything."""
    budget = MemoryBudget(1000)
    entered = threading.Event()

    def large() -> None:
        with budget.lend(5000):
            entered.set()

    with budget.lend(400):
        with budget.lend(600):
            waiting = threading.Thread(target=large)
            waiting.start()
            assert not entered.wait(0.05)
        assert not entered.wait(0.05)
    assert entered.wait(5)
    waiting.join()


def test_one_failure_does_not_keep_the_others_from_being_built(machine: Path, tmp_path: Path) -> None:
    script(machine, "go", GO.replace('echo "$1"', '[ "$1" = one ] && exit 1; echo "$1"'))
    os.environ["PATH"] += ":/usr/bin:/bin"
    failures = install.install(two_modules(tmp_path, 1), lambda _who, _line: None)
    assert list(failures) == ["one"]
    assert isinstance(failures["one"], CommandFailed)
    assert (programs_folder() / "two").exists()


@dataclass
class Fake:
    """An overlay as far as `install` sees it."""

    needs: tuple[Requirement, ...]

    def requirements(self) -> tuple[Requirement, ...]:
        return self.needs


def test_all_leaves_out_what_takes_long_or_comes_from_elsewhere(
    machine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(machine, "go", GO)
    os.environ["PATH"] += ":/usr/bin:/bin"
    one, two = two_modules(tmp_path, 1)
    overlays = {
        "quick": Fake((one,)),
        "long": Fake((two.model_copy(update={"on_request": True}),)),
        "vendors": Fake((Requirement(program="no-such-program", install="ask its vendor"),)),
    }
    monkeypatch.setattr("harness.commands.install.overlay_names", lambda: list(overlays))
    monkeypatch.setattr("harness.commands.install.load_overlay", overlays.__getitem__)
    done = CliRunner().invoke(install_command, ["--all"])
    assert done.exit_code == 0, done.output
    assert "long: left out, its build takes long: overlaybench install long" in done.output
    assert "vendors: left out, no-such-program comes from elsewhere: ask its vendor" in done.output
    assert "quick: ready" in done.output
    assert (programs_folder() / "one").exists()
    assert not (programs_folder() / "two").exists()
    asked = CliRunner().invoke(install_command, ["long"])
    assert (asked.exit_code, (programs_folder() / "two").exists()) == (0, True)
