"""What the command line says of itself: examples that can be pasted, names that a shell completes."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

import click
import pytest
from click.shell_completion import BashComplete
from click.testing import CliRunner

from harness.cli import cli, main
from harness.scenario.load import SCENARIOS, TOPOLOGIES, bundled


def _leaves(group: click.Group, *path: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from _leaves(command, *path, name)
        else:
            yield (*path, name), command


LEAVES = dict(_leaves(cli))


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_help_has_examples_with_options_that_exist(path: tuple[str, ...]) -> None:
    text = CliRunner().invoke(cli, [*path, "--help"]).output
    lines = [line.strip() for line in text[text.index("Examples:") :].splitlines()]
    examples = [line for line in lines if line.startswith("overlaybench ")]
    assert examples
    options = {name for param in LEAVES[path].params for name in param.opts}
    for example in examples:
        words = shlex.split(example.partition("|")[0].partition("   ")[0])
        assert tuple(words[1 : 1 + len(path)]) == path
        assert {word for word in words if word.startswith("--")} <= options, example


def _completed(*words: str) -> list[str]:
    *before, incomplete = words
    return [item.value for item in BashComplete(cli, {}, "overlaybench", "_X").get_completions(before, incomplete)]


def test_a_shell_completes_commands_bundled_names_and_options() -> None:
    assert _completed("re") == ["report"]
    assert _completed("calibrate", "n") == ["nat"]
    assert _completed("run", "") == [*bundled(SCENARIOS), ""]  # the last one: whatever files there are
    assert _completed("shell", "two") == [*(name for name in bundled(TOPOLOGIES) if name.startswith("two")), "two"]
    assert _completed("report", "--fo") == ["--format"]
    assert _completed("install", "openvpn", "neb") == ["nebula", "nebula-go"]


def test_the_table_of_commands_is_the_commands() -> None:
    listed = CliRunner().invoke(cli, ["--help"]).output
    for path, command in LEAVES.items():
        assert f"  {path[0]} " in listed
        assert command.help


def test_stopped_by_ctrl_c_is_exit_130(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A code of its own: no expectation failed, no input was wrong, and the harness did as it was told."""

    def stopped(*_arguments: object, **_options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "main", stopped)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 130
    assert "stopped" in capsys.readouterr().err
