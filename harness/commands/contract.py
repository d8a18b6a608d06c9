"""`overlaybench contract OVERLAY...`: the test that every adapter passes, on one of yours."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import yaml

from harness.commands.arguments import examples, pairs
from harness.conformance.examination import copy_programs, examine
from harness.conformance.rendering import option_problems, rendering_complaints, requirement_complaints
from harness.errors import EXIT_EXPECTATION, MissingPrerequisite, Problem, ScenarioError, storage_errors
from harness.model.document import did_you_mean
from harness.model.words import MODES, Mode
from harness.overlay.contract import Overlay
from harness.overlay.install import missing
from harness.overlay.named_file import load_named_file, names_a_file
from harness.overlay.registry import load_overlay, overlay_names
from harness.sandbox.scratch import scratch_folder
from harness.sandbox.unshare import why_no_user_namespaces

_EPILOG = examples(
    "overlaybench contract ./myvpn.py:MyVpn",
    "overlaybench contract ./myvpn.yaml --mode hub --out evidence",
    "overlaybench contract refmesh --pure",
)


@click.command("contract", epilog=_EPILOG)
@click.argument("overlays", nargs=-1, required=True, metavar="OVERLAY...")
@click.option("--mode", "modes", multiple=True, type=click.Choice(MODES[1:]), help="Only this mode; may be repeated.")
@click.option(
    "--set", "settings", multiple=True, metavar="OPTION=VALUE", help="Option of the overlay; may be repeated."
)
@click.option(
    "--pure", is_flag=True, help="Only check what the adapter renders; starts nothing and needs no privileges."
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep configuration, logs and captures in this folder.",
)
@click.pass_context
def contract_command(  # noqa: PLR0917  # click passes them by name
    ctx: click.Context,
    overlays: tuple[str, ...],
    modes: tuple[Mode, ...],
    settings: tuple[str, ...],
    pure: bool,
    out: Path | None,
) -> None:
    """Check that OVERLAYs (./file.py:Class, ./file.yaml or a registered name) keep the contract, in each mode.

    First what holds of the rendering; then two labs side by side, one as an ordinary user: readiness in time, pings
    both ways, 10 MB intact, the path that the mode promises, a direct session that outlives the server, ARP and
    multicast on L2, an end on request, no packet to outside the lab, and no trace on the machine.
    """
    loaded = {name: _load(name) for name in overlays}
    options = {key: _value(key, values[-1]) for key, values in pairs(settings, "--set").items()}
    wanted = {name: _modes(name, overlay, modes) for name, (overlay, _) in loaded.items()}
    refused = [
        problem
        for name, (overlay, _) in loaded.items()
        for problem in option_problems(overlay, wanted[name], options, name)
    ]
    if refused:
        raise ScenarioError(refused)
    scratch = None
    if not pure:
        _require(loaded.values())
        scratch = _scratch()
    try:
        broken = sum(_broken(*one, wanted[name], _Asked(options, out, scratch)) for name, one in loaded.items())
    finally:
        if scratch is not None:
            shutil.rmtree(scratch, ignore_errors=True)
    if broken and not pure and out is None:
        click.echo("to keep configuration, logs and captures, repeat it with --out DIR", err=True)
    ctx.exit(EXIT_EXPECTATION if broken else 0)


def _scratch() -> Path:
    """Make a folder that is gone when this process is, killed or not, with the built programs in `cache`."""
    with storage_errors(tempfile.gettempdir()):
        scratch = scratch_folder("overlaybench-contract-")
        scratch.chmod(0o755)
        (scratch / "cache").mkdir()
        copy_programs(scratch / "cache")
    return scratch


@dataclass(frozen=True)
class _Asked:
    """Options of the overlay, where evidence is kept, and where labs are; None: nowhere."""

    options: dict[str, object]
    out: Path | None
    scratch: Path | None


def _broken(overlay: Overlay, home: Path | None, modes: Sequence[Mode], asked: _Asked) -> int:
    """Look at an overlay in its modes, in labs too where there is a scratch folder; return how much is broken."""
    broken = _tell(overlay.name, requirement_complaints(overlay), "")
    for mode in modes:
        found = rendering_complaints(overlay, mode, asked.options)
        what, took = "what it renders keeps the contract", ""
        if not found and asked.scratch is not None:
            what, begun = "keeps the contract", time.monotonic()
            found = _in_labs(overlay, mode, home, asked, asked.scratch)
            took = f" ({time.monotonic() - begun:.0f} s)"
        broken += _tell(f"{overlay.name} {mode}", found, f"{what}{took}")
    return broken


def _value(option: str, text: str) -> object:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        what = getattr(error, "problem", None) or str(error)
        raise click.UsageError(f"--set {option}: {text!r} is no value of YAML: {what}") from None


def _modes(name: str, overlay: Overlay, asked: tuple[Mode, ...]) -> list[Mode]:
    wanted = [mode for mode in MODES if mode in overlay.modes and (not asked or mode in asked)]
    if not wanted:
        text = f"has no mode {' or '.join(asked)}; there is {', '.join(sorted(overlay.modes))}"
        raise ScenarioError([Problem(name, 0, "--mode", text)])
    return wanted


def _load(name: str) -> tuple[Overlay, Path | None]:
    """Return an overlay, and the folder of its file where it is named by one."""
    if names_a_file(name):
        file = load_named_file(name)
        return file.overlay, file.path.parent.resolve()
    if name not in overlay_names() or name == "underlay":
        text = f"no such overlay{did_you_mean(name, overlay_names())}; a file is named ./file.py:Class or ./file.yaml"
        raise ScenarioError([Problem(name, 0, "overlay", text)])
    return load_overlay(name), None


def _require(loaded: Iterable[tuple[Overlay, Path | None]]) -> None:
    forbidden = why_no_user_namespaces()
    if forbidden is not None:
        raise forbidden
    for overlay, _ in loaded:
        for one in missing(overlay.requirements()):
            raise MissingPrerequisite(f"{overlay.name} needs the program {one.program}", one.install)


def _in_labs(overlay: Overlay, mode: Mode, home: Path | None, asked: _Asked, scratch: Path) -> list[str]:
    folder = (asked.out or scratch) / f"{overlay.name}-{mode}"
    with storage_errors(folder):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        if asked.out is None:
            folder.chmod(0o755)
    try:
        return examine(overlay, mode, folder, home=home, options=asked.options, cache=scratch / "cache")
    finally:
        if asked.out is None:
            shutil.rmtree(folder, ignore_errors=True)


def _tell(subject: str, found: Sequence[str], kept: str) -> int:
    """Print what is broken, or that nothing is; return how much is broken."""
    for text in found:
        click.echo(f"{subject}: BROKEN: {text}")
    if not found and kept:
        click.echo(f"{subject}: {kept}")
    return len(found)
