"""The `refmesh` command. Exit codes: 0 done, 2 the input is wrong, 3 the machine lacks something, 4 our fault."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Any

import click

# Each command imports what it needs when it runs: `status` should not pay for a tunnel.
# ruff: noqa: PLC0415
from overlays.refmesh.errors import RefmeshError

_config_option = click.option(
    "--config",
    "-c",
    "config",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="Configuration file.",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """A small mesh VPN: WireGuard on the wire, direct where NATs let it, over a relay where not."""


@cli.command()
@_config_option
def up(config: Path) -> None:
    """Run a node in the foreground."""
    from overlays.refmesh.config_file import load_node
    from overlays.refmesh.driver.node import NodeDriver

    loaded = load_node(config)
    _log_to_stderr(loaded.log_level)
    NodeDriver(loaded).run()


@cli.command()
@_config_option
def server(config: Path) -> None:
    """Run a server (coordination, STUN, relay, hub) in the foreground."""
    from overlays.refmesh.config_file import load_server
    from overlays.refmesh.driver.server import ServerDriver

    loaded = load_server(config)
    _log_to_stderr(loaded.log_level)
    ServerDriver(loaded).run()


@cli.command()
@_config_option
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def status(config: Path, as_json: bool) -> None:
    """Show servers, peers and paths of a running node (or the members of a running server)."""
    from overlays.refmesh.driver.status import ask

    state = ask(_status_socket(config), {})
    if as_json:
        click.echo(json.dumps(state, indent=2))
        return
    for line in _table(state):
        click.echo(line)


def _table(state: dict[str, Any]) -> list[str]:
    lines = []
    for entry in state.get("servers", ()):
        lines.append(f"server {entry['name']:<12} {'up' if entry['up'] else 'down':<8} {entry['endpoint']}")
    for peer in state.get("peers", ()):
        rtt = f"{peer['rtt_ms']:.1f} ms" if peer["rtt_ms"] is not None else "-"
        traffic = f"{peer['rx_bytes']} in {peer['tx_bytes']} out"
        lines.append(f"peer   {peer['name']:<12} {peer['path']:<8} {peer['endpoint'] or '-':<24} {rtt:>10}  {traffic}")
    for member in state.get("members", ()):
        lines.append(
            f"member {member['name']:<12} {'online' if member['online'] else 'offline':<8} {member['endpoint']}"
        )
    return lines


def _status_socket(config: Path) -> Path:
    import yaml

    from overlays.refmesh.errors import ConfigError

    try:
        value = (yaml.safe_load(config.read_text()) or {}).get("status_socket")
    except (OSError, yaml.YAMLError, AttributeError) as error:
        raise ConfigError([f"{config}:0: file: {error}"]) from None
    if not value:
        raise ConfigError([f"{config}:1: status_socket: is missing; `refmesh status` needs it"])
    return config.parent / str(value)


def _log_to_stderr(level: str) -> None:
    logging.basicConfig(stream=sys.stderr, level=level.upper(), format="%(asctime)s %(levelname)s %(message)s")


def main() -> None:
    """The entry point: errors as one line each on stderr."""
    try:
        cli(standalone_mode=False)
    except RefmeshError as error:
        click.echo(str(error), err=True)
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)


if __name__ == "__main__":
    main()
