"""The commands of `refmesh`. Exit codes: 0 done, 2 the input is wrong, 3 the machine lacks something, 4 our fault."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import click

# Each command imports what it needs when it runs: `status` should not pay for a tunnel.
# ruff: noqa: PLC0415
from overlays.refmesh.cli_authority import authority_key, authority_option, issue, renew
from overlays.refmesh.daemon import run_node, run_server
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
    """Return a small mesh VPN: WireGuard on the wire, direct where NATs let it, over a relay where not."""


@cli.command()
@_config_option
def up(config: Path) -> None:
    """Run a node in the foreground."""
    run_node(config)


@cli.command()
@_config_option
def server(config: Path) -> None:
    """Run a server (coordination, STUN, relay, hub) in the foreground."""
    run_server(config)


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


@cli.command()
@_config_option
@click.argument("name")
@click.option("--count", default=4, show_default=True, help="How many checks.")
def ping(config: Path, name: str, count: int) -> None:
    """Check the path to peer NAME, inside the tunnel's own protocol."""
    from overlays.refmesh.driver.status import ask

    path = _status_socket(config)
    answered = 0
    for number in range(count):
        before = ask(path, {"ping": name})
        if before is None:
            raise click.ClickException(f"no peer of that name is known: {name}")
        deadline = time.monotonic() + 1.0
        now = before
        while time.monotonic() < deadline and now["answered"] == before["answered"]:
            time.sleep(0.02)
            now = next(peer for peer in ask(path, {})["peers"] if peer["name"] == name)
            now["answered"] = sum(candidate["answered"] for candidate in now["candidates"])
        if now["answered"] > before["answered"]:
            answered += 1
            click.echo(f"{name}: {now['path']} by {now['endpoint']} rtt {now['rtt_ms']} ms")
        else:
            click.echo(f"{name}: no answer ({now['path']})")
        if number + 1 < count:
            time.sleep(0.3)
    if not answered:
        sys.exit(1)


@cli.command()
@_config_option
def down(config: Path) -> None:
    """End a running node or server, and wait until it has given everything back."""
    from overlays.refmesh.driver.status import ask, gone

    path = _status_socket(config)
    ask(path, {"down": True})
    gone(path)


@cli.command()
@_config_option
def reload(config: Path) -> None:
    """Have a running node read its configuration again: static peers, certificate, network document, log level.

    What else has changed needs a new start; then nothing is taken, and the command says what it is.
    """
    from overlays.refmesh.driver.status import ask
    from overlays.refmesh.errors import ConfigError

    answer = ask(_status_socket(config), {"reload": True})
    if answer["problems"]:
        raise ConfigError(answer["problems"])
    click.echo(", ".join(answer["changed"]) or "nothing has changed", err=True)


@cli.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--member", "members", multiple=True, required=True, help="Name of a node; may be repeated.")
@click.option("--server", "servers", multiple=True, required=True, help="NAME=HOST or NAME=HOST:PORT; repeatable.")
@click.option("--prefix", default="10.77.0.0/16", show_default=True, help="Overlay addresses.")
@click.option("--mode", default="mesh", show_default=True, help="mesh, direct, relay or hub.")
@click.option("--system", is_flag=True, help="With the paths of a system service (see the README).")
def init(
    *, folder: Path, members: tuple[str, ...], servers: tuple[str, ...], prefix: str, mode: str, system: bool
) -> None:
    """Make a network: an authority, and a configuration for every member and server, in FOLDER."""
    from overlays.refmesh import keys
    from overlays.refmesh.driver.files import write_new
    from overlays.refmesh.network import Site, make_network, to_yaml

    sites = []
    for text in servers:
        name, _, host = text.partition("=")
        host, _, port = host.partition(":")
        if not name or not host or not (port or "1").isdigit():
            raise click.BadParameter(f"{text!r} is not NAME=HOST or NAME=HOST:PORT", param_hint="--server")
        sites.append(Site(name, host, int(port)) if port else Site(name, host))
    network = make_network(members, sites, prefix=prefix)

    def places(name: str) -> dict[str, str]:
        if system:
            return {"status_socket": f"/run/refmesh/{name}.sock", "state_dir": f"/var/lib/refmesh/{name}"}
        return {"status_socket": f"{name}.sock", "state_dir": f"{name}.state"}

    hub = {"hub": True, "interface": "refmesh0"} if mode == "hub" else {}
    files = {folder / "authority.key": keys.encode(network.authority_private) + "\n"}
    for name in members:
        options = {"mode": mode, **places(name)}
        files[folder / f"{name}.yaml"] = to_yaml(network.node_config(name, **options))
    for site in sites:
        options = {**places(site.name), "policy_file": "policy"}
        files[folder / f"{site.name}.yaml"] = to_yaml(network.server_config(site.name, **options, **hub))
    write_new(files | {folder / "policy": network.policy + "\n"})
    click.echo(
        f"{folder}: authority.key (keep it offline), policy, {', '.join(f'{n}.yaml' for n in members)}", err=True
    )


cli.add_command(issue)
cli.add_command(renew)


@cli.command()
@authority_option
@click.argument("name")
@click.argument("address")
@click.option("--group", "groups", multiple=True)
@click.option("--days", default=7, show_default=True, type=click.IntRange(1, 36500))
@click.option("--server", "server_name", required=True, help="Name of the server that takes it; it needs a state_dir.")
def invite(*, authority: Path, name: str, address: str, groups: tuple[str, ...], days: int, server_name: str) -> None:
    """Print a one-time join key for member NAME with overlay ADDRESS (with prefix length).

    It works once, with one key and at one server, which writes that down in its state_dir before it lets the node in.
    Other servers refuse it. Whoever deletes that state_dir, or names a second server the same, makes it work again.
    """
    import ipaddress

    from overlays.refmesh import credentials

    try:
        ipaddress.ip_interface(address)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="ADDRESS") from None
    until = int(time.time()) + days * 86400
    click.echo(
        credentials.invite(
            authority_key(authority),
            name,
            [address],
            groups=groups,
            not_after=until,
            issued=int(time.time()),
            server=server_name,
            rng=os.urandom,
        )
    )


@cli.command()
@authority_option
@click.option("--version", required=True, type=int, help="Higher than the one in force.")
@click.option("--rules", type=click.Path(dir_okay=False, path_type=Path), help="YAML list of rules.")
@click.option(
    "--from",
    "before",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The network document in force: its revocations stay, and its rules unless --rules has others.",
)
@click.option("--revoke", "revoked", multiple=True, help="Serial of a certificate; `refmesh show` tells it.")
def policy(authority: Path, version: int, rules: Path | None, before: Path | None, revoked: tuple[str, ...]) -> None:
    """Print a signed network document: access rules and revocations. Servers read it from their `policy_file`."""
    from overlays.refmesh import yaml_file
    from overlays.refmesh.errors import ConfigError
    from overlays.refmesh.policy import next_policy

    if rules is None and before is None:
        raise click.UsageError(
            "give --rules, or --from to keep those in force: a document without rules allows nothing"
        )
    try:
        text = None if before is None else before.read_text().strip()
    except (OSError, ValueError) as error:
        raise ConfigError([f"{before}:0: file: {error}"]) from None
    wanted = None if rules is None else yaml_file.load(rules) or []
    click.echo(next_policy(authority_key(authority), version, rules=wanted, revoked=revoked, before=text))


@cli.command()
@_config_option
def show(config: Path) -> None:
    """Print what the certificate of a configuration says."""
    from overlays.refmesh.config_file import load_node
    from overlays.refmesh.driver.node import own_certificate
    from overlays.refmesh.errors import CredentialError

    certificate = own_certificate(load_node(config), time.time())
    if certificate is None:
        raise CredentialError(f"{config}: has no certificate")
    click.echo(f"name {certificate.name}\nserial {certificate.serial}\naddresses {', '.join(certificate.addresses)}")
    click.echo(f"groups {', '.join(certificate.groups) or '-'}\nvalid until {time.ctime(certificate.not_after)}")


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
    from overlays.refmesh import yaml_file
    from overlays.refmesh.errors import ConfigError

    said = yaml_file.load(config)
    value = said.get("status_socket") if isinstance(said, dict) else None
    if not value:
        raise ConfigError([f"{config}:1: status_socket: is missing; `refmesh status` needs it"])
    return config.parent / str(value)


def main() -> None:
    """Run a command: errors as one line each on stderr."""
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
