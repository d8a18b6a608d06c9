"""`overlaybench list WHAT`."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import click
from rich.table import Table

from harness.commands.arguments import examples
from harness.commands.console import Console
from harness.model.document import parse
from harness.model.link import PRESETS
from harness.model.nat import ALIASES
from harness.model.probes import declared_probes
from harness.model.timeline import declared_events
from harness.overlay.registry import load_overlay, overlay_names
from harness.overlay.support import kinds_of, underlays_of
from harness.scenario.load import POPULATIONS, SCENARIOS, TOPOLOGIES, bundled, load_topology

Rows = list[dict[str, Any]]


def _scenarios() -> Rows:
    rows = []
    for name in bundled(SCENARIOS):
        data = parse((SCENARIOS / f"{name}.yaml").read_text(), f"{name}.yaml").data
        rows.append({"name": name, "topology": str(data.get("topology")), "description": data.get("description")})
    return rows


def _populations() -> Rows:
    rows = []
    for name in bundled(POPULATIONS):
        data = parse((POPULATIONS / f"{name}.yaml").read_text(), f"{name}.yaml").data
        rows.append({"name": name, "access": ", ".join(data.get("access")), "description": data.get("description")})
    return rows


def _topologies() -> Rows:
    rows = []
    for name in bundled(TOPOLOGIES):
        source = load_topology(name)
        parameters = [
            f"{key} ({p.type}{', required' if p.required else f', default {p.default}'})"
            for key, p in source.parameters.items()
        ]
        rows.append(
            {"name": name, "description": source.template.header.description, "parameters": ", ".join(parameters)}
        )
    return rows


def _overlays() -> Rows:
    rows = []
    for name in overlay_names():
        overlay = load_overlay(name)
        programs = [requirement.program for requirement in overlay.requirements()]
        rows.append(
            {
                "name": name,
                "layer": overlay.layer,
                "endpoints": sorted(kinds_of(overlay)),
                "modes": sorted(overlay.modes),
                "underlays": sorted(underlays_of(overlay)),
                "programs": programs,
            }
        )
    return rows


def _nats() -> Rows:
    return [
        {"name": alias.name, "axes": alias.behaviour.axes_label, "stands for": alias.stands_for}
        for alias in ALIASES.values()
    ]


def _links() -> Rows:
    return [
        {
            "name": preset.name,
            "up": preset.profile.up.describe(),
            "down": preset.profile.down.describe(),
            "source": preset.source,
        }
        for preset in PRESETS.values()
    ]


def _probes() -> Rows:
    rows = []
    for name, probe in declared_probes().items():
        settings = [f"{key}={value.default}" for key, value in probe.settings.model_fields.items()]
        about = (probe.settings.__doc__ or "").splitlines()[0]
        rows.append({"name": name, "settings": ", ".join(settings), "description": about})
    return rows


def _events() -> Rows:
    rows = []
    for name, event in declared_events().items():
        settings = [
            f"{key}{'' if value.is_required() else f'={value.default}'}"
            for key, value in event.settings.model_fields.items()
        ]
        about = (event.settings.__doc__ or "").splitlines()[0]
        rows.append({"name": name, "settings": ", ".join(settings), "for_s": event.can_be_undone, "description": about})
    return rows


_LISTS: dict[str, Callable[[], Rows]] = {
    "scenarios": _scenarios,
    "populations": _populations,
    "topologies": _topologies,
    "overlays": _overlays,
    "nats": _nats,
    "links": _links,
    "probes": _probes,
    "events": _events,
}


_EPILOG = examples(
    "overlaybench list scenarios",
    "overlaybench list nats --json | jq .",
)


@click.command("list", epilog=_EPILOG)
@click.argument("what", type=click.Choice(list(_LISTS)))
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def list_command(what: str, as_json: bool) -> None:
    """List what there is to put into a scenario."""
    rows = _LISTS[what]()
    if as_json:
        click.echo(json.dumps(rows, indent=1))
        return
    table = Table(box=None, pad_edge=False)
    for key in rows[0] if rows else ():
        table.add_column(key, overflow="fold", no_wrap=key == "name")
    for row in rows:
        table.add_row(*(", ".join(value) if isinstance(value, list) else str(value) for value in row.values()))
    console = Console()
    if not console.is_terminal:
        console.width = 160
    console.print(table)
