"""The commands of who holds an authority's key: certificates for those who make their keys themselves, and new ones."""

from __future__ import annotations

import ipaddress
import os
import time
from pathlib import Path

import click

from overlays.refmesh import credentials, keys, yaml_file
from overlays.refmesh.config_file import read_key
from overlays.refmesh.driver.files import write_atomically
from overlays.refmesh.errors import ConfigError, MachineError

DAY_S = 86400
authority_option = click.option(
    "--authority", required=True, type=click.Path(dir_okay=False, path_type=Path), help="The authority's key file."
)
_days_option = click.option("--days", default=365, show_default=True, type=click.IntRange(1, 36500))


def authority_key(path: Path) -> bytes:
    """Return the authority's private key. ConfigError when the file has none, or others can read it."""
    try:
        return read_key(path)
    except (OSError, ValueError) as error:
        raise ConfigError([f"{path}:1: authority: {error}"]) from None


@click.command()
@authority_option
@click.argument("name")
@click.argument("address")
@click.argument("public_key")
@click.option("--group", "groups", multiple=True)
@click.option("--server", "is_server", is_flag=True, help="Of a server; without it, of a node.")
@_days_option
def issue(
    *, authority: Path, name: str, address: str, public_key: str, groups: tuple[str, ...], is_server: bool, days: int
) -> None:
    """Print a certificate: PUBLIC_KEY (as `wg pubkey` prints it) is member NAME with overlay ADDRESS (with prefix)."""
    try:
        ipaddress.ip_interface(address)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="ADDRESS") from None
    try:
        key = keys.decode(public_key)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="PUBLIC_KEY") from None
    text = credentials.issue(
        authority_key(authority),
        name,
        key,
        [address],
        role="server" if is_server else "node",
        groups=groups,
        not_after=int(time.time()) + days * DAY_S,
        issued=int(time.time()),
        rng=os.urandom,
    )
    click.echo(text)


@click.command()
@authority_option
@click.argument("configs", nargs=-1, required=True, type=click.Path(dir_okay=False, path_type=Path))
@_days_option
def renew(authority: Path, configs: tuple[Path, ...], days: int) -> None:
    """Put a new certificate, the same but for serial and expiry, into CONFIGS; nothing else in them changes.

    A running node takes it by `refmesh reload`.
    """
    private = authority_key(authority)
    renewed = [(path, *_renewed(path, private, days)) for path in configs]  # all of them, or none
    for path, text, until in renewed:
        try:
            write_atomically(path, text)
        except OSError as error:
            raise MachineError(f"cannot write {path}: {error.strerror}") from None
        click.echo(f"{path}: valid until {time.ctime(until)}", err=True)


def _renewed(path: Path, private: bytes, days: int) -> tuple[str, int]:
    config = yaml_file.load(path)
    text = path.read_text()
    old = config.get("certificate") if isinstance(config, dict) else None
    if not isinstance(old, str) or text.count(old) != 1:
        raise ConfigError([f"{path}:0: certificate: is missing (a node with a join key gets a new one by `invite`)"])
    # Of an expired one too: that is when it is needed most.
    held = credentials.verify(old, keys.signing_public(private), 0.0)
    until = int(time.time()) + days * DAY_S
    new = credentials.issue(
        private,
        held.name,
        held.key,
        held.addresses,
        role=held.role,
        groups=held.groups,
        not_after=until,
        issued=max(int(time.time()), held.issued + 1),  # it must supersede the one held, whatever this clock says
        rng=os.urandom,
    )
    return text.replace(old, new), until
