"""`overlaybench enter TRIAL NODE`: a shell in a node of a trial that `run --pause-on` has left standing."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any, Final

import click

from harness.commands.arguments import examples
from harness.errors import Problem, ScenarioError, StorageError
from harness.model.document import did_you_mean
from harness.overlay.search_path import search_path
from harness.sandbox.inside import entering_argv, outer_pid
from harness.trial.pause import GO_ON, RECORD

_EPILOG: Final = examples(
    "overlaybench enter refmesh_mesh_r1 a",
    "overlaybench enter runs/mine/trials/refmesh_mesh_r1 ra nft list ruleset",
    "overlaybench enter refmesh_mesh_r1 --go-on",
)


@click.command("enter", epilog=_EPILOG, context_settings={"ignore_unknown_options": True})
@click.argument("trial")
@click.argument("node", required=False)
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@click.option("--go-on", is_flag=True, help="End the trial and let the run continue.")
def enter_command(trial: str, node: str | None, command: tuple[str, ...], go_on: bool) -> None:
    """Open a shell, or run COMMAND, in NODE of a paused TRIAL: its folder, or its id below ./runs.

    It ends with the lab, and the lab with the run that holds it. Without NODE the nodes are named.
    """
    folder = _folder(trial)
    paused: dict[str, Any] = json.loads((folder / RECORD).read_text())
    if go_on:
        _let_go_on(folder)
        return
    nodes: dict[str, int] = paused["nodes"]
    if node is None:
        if not any(outer_pid(inner, folder) for inner in nodes.values()):
            raise _gone(folder)
        click.echo("\n".join(nodes))
        return
    if node not in nodes:
        hint = did_you_mean(node, nodes) or f"; there is {', '.join(nodes)}"
        raise ScenarioError([Problem(str(folder), 0, "NODE", f"no such node: {node}{hint}")])
    pid = outer_pid(nodes[node], folder)
    if pid is None:
        raise _gone(folder)
    place = folder / "nodes" / node
    os.environ |= {"PATH": search_path(), "HOME": str(place if place.is_dir() else folder)}
    shell = os.environ.get("SHELL", "/bin/sh")
    if not command:
        os.environ["PS1"] = f"{node}# "
        command = (shell, "--norc") if Path(shell).name == "bash" else (shell,)
    argv = entering_argv(pid, command, place)
    os.execvp(argv[0], argv)


def _let_go_on(folder: Path) -> None:
    """Write to the FIFO at whose other end the trial waits; a run that was killed has left it without anybody there."""
    try:
        waiting = os.open(folder / GO_ON, os.O_WRONLY | os.O_NONBLOCK)
    except OSError as error:
        if error.errno not in {errno.ENXIO, errno.ENOENT}:
            raise StorageError.of(error, folder) from error
        raise _gone(folder) from None
    try:
        os.write(waiting, b"x")
    finally:
        os.close(waiting)


def _gone(folder: Path) -> ScenarioError:
    return ScenarioError([Problem(str(folder), 0, "TRIAL", "its lab has ended, or belongs to another user")])


def _folder(trial: str) -> Path:
    """Return the folder of a paused trial."""
    direct = Path(trial)
    found = [direct] if (direct / RECORD).is_file() else sorted(Path("runs").glob(f"*/trials/{trial}/{RECORD}"))
    found = [path.parent if path.name == RECORD else path for path in found]
    if len(found) == 1:
        return found[0].resolve()
    waiting = sorted(str(path.parent) for path in Path("runs").glob(f"*/trials/*/{RECORD}"))
    if found:
        text = f"several trials of that name are paused: {', '.join(map(str, found))}"
    elif direct.is_dir():
        text = "is not paused: `run --pause-on failed` leaves the lab of a failed trial standing while it runs"
    else:
        text = f"no such folder, and no paused trial of that name{f'; there is {waiting}' if waiting else ''}"
    raise ScenarioError([Problem(trial, 0, "TRIAL", text)])
