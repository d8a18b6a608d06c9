"""`overlaybench new KIND NAME`: a skeleton that works, to be made into something else step by step."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import click

from harness.commands.arguments import examples
from harness.errors import Problem, ScenarioError, storage_errors

_SKELETONS: Final = Path(__file__).with_name("skeletons")
_NAME: Final = re.compile(r"[a-z][a-z0-9]*([_-][a-z0-9]+)*$")
_LONGEST: Final = 24
_EPILOG = examples(
    "overlaybench new overlay myvpn",
    "overlaybench new overlay myvpn --yaml",
    "overlaybench new probe hops",
    "overlaybench new scenario mine",
)


@click.command("new", epilog=_EPILOG)
@click.argument("kind", type=click.Choice(["overlay", "probe", "event", "scenario"]))
@click.argument("name")
@click.option("--yaml", "as_yaml", is_flag=True, help="Write an overlay adapter as YAML, without Python.")
def new_command(kind: str, name: str, as_yaml: bool) -> None:
    """Write a skeleton of an overlay, a probe, an event or a scenario that works as it stands.

    An overlay or a scenario is one file in the present folder; a probe or an event is a folder with a package, which
    `pip install -e` registers.
    """
    if as_yaml and kind != "overlay":
        raise click.UsageError("--yaml is for overlays: all scenarios are YAML, and probes and events are Python")
    if not _NAME.match(name) or len(name) > _LONGEST:
        text = f"expected at most {_LONGEST} small letters, digits, and - or _ between them, got {name!r}"
        raise ScenarioError([Problem("new", 0, kind, text)])
    made = _written(kind, name, as_yaml)
    for path in made:
        click.echo(f"written: {path}")
    for line in _next(kind, name, made[0]):
        click.echo(line)


def _written(kind: str, name: str, as_yaml: bool) -> list[Path]:
    """Write the files; nothing is overwritten, and where one is there already, none is written."""
    module = name.replace("-", "_")
    if kind == "overlay":
        wanted = {Path(f"{name}.yaml" if as_yaml else f"{module}.py"): f"overlay.{'yaml' if as_yaml else 'py'}.in"}
    elif kind == "scenario":
        wanted = {Path(f"{name}.yaml"): "scenario.yaml.in"}
    else:
        wanted = {Path(name, f"{module}.py"): f"{kind}.py.in", Path(name, "pyproject.toml"): "pyproject.toml.in"}
    if there := [path for path in wanted if path.exists()]:
        raise ScenarioError([Problem(str(path), 0, "new", "exists already, and is left as it is") for path in there])
    for path, skeleton in wanted.items():
        words = {"NAME": name, "CLASS": class_of(name), "MODULE": module, "KIND": kind, "FILE": str(path)}
        text = re.sub(r"@([A-Z]+)@", lambda word: words[word[1]], (_SKELETONS / skeleton).read_text(encoding="utf-8"))  # noqa: B023
        with storage_errors(path):
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
    return list(wanted)


def class_of(name: str) -> str:
    """Return the name of the class in a skeleton: `my-vpn` is MyVpn."""
    return "".join(part.capitalize() for part in re.split(r"[-_]", name))


def _next(kind: str, name: str, path: Path) -> list[str]:
    if kind == "scenario":
        return [f"next: overlaybench check {path}", f"      overlaybench run {path}"]
    if kind == "overlay":
        named = f"./{path}" if path.suffix == ".yaml" else f"./{path}:{class_of(name)}"
        return [
            f"next: overlaybench contract {named}",
            f"      name it in a scenario: overlays: {{{named}: hub}}",
        ]
    where = "`probes`" if kind == "probe" else "`timeline`"
    return [f"next: pip install -e ./{name}", f"      name it in a scenario, below {where}: {path.stem}"]
