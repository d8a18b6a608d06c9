"""Getting an overlay's programs: what counts as there, what is run, what the user is told."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from click.testing import CliRunner
from install_requests import GO, get, module, script, tool, two_modules

from harness.commands.install import install_command
from harness.errors import CommandFailed, MissingPrerequisite
from harness.overlay import install, registry
from harness.overlay.contract import Requirement
from harness.overlay.search_path import programs_folder, search_path


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
    assert (there.exit_code, "everything is installed" in there.output) == (0, True)
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
    assert "long: not installed, because its build takes long: overlaybench install long" in done.output
    assert "vendors: not installed: no-such-program has to be got by hand: ask its vendor" in done.output
    assert "quick: ready" in done.output
    assert (programs_folder() / "one").exists()
    assert not (programs_folder() / "two").exists()
    asked = CliRunner().invoke(install_command, ["long"])
    assert (asked.exit_code, (programs_folder() / "two").exists()) == (0, True)
